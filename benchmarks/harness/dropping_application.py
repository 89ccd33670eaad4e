"""The application as streaming/run.py composes it, each of its writers replaced by a sink that drops the rows."""

import sys

from pyflink.table import StreamTableEnvironment, Table

from streaming.flink.ddl import quote
from streaming.flink.environment import table_environment
from streaming.flink.sources import read_topic
from streaming.run import arguments, compose, parse

ATTRIBUTES = {"arrival", "settled", "event_time"}
"""Columns of Flink's own time, which no writer reads."""


def dropped(t_env: StreamTableEnvironment, name: str, rows: Table) -> str:
    """The insert of a step's rows into a sink that drops them."""
    schema = rows._j_table.getResolvedSchema()
    columns = [
        (str(column), kind.getLogicalType().asSerializableString())
        for column, kind in zip(schema.getColumnNames(), schema.getColumnDataTypes(), strict=True)
        if str(column) not in ATTRIBUTES
    ]
    declared = ", ".join(f"{quote(column)} {kind}" for column, kind in columns)
    t_env.execute_sql(f"CREATE TEMPORARY TABLE {quote(name)} ({declared}) WITH ('connector' = 'blackhole')")
    return f"INSERT INTO {quote(name)} SELECT {', '.join(quote(column) for column, _ in columns)} FROM {rows}"


def main() -> None:
    """Compose and submit."""
    given = parse(sys.argv[1:])
    args = arguments(given, given.generation, 1)
    t_env = table_environment(args.settings)
    steps = compose(t_env, read_topic(t_env, args.raw), args)
    outputs = {"visitors": steps.visitors, "closed": steps.closed, "rejections": steps.rejections, **steps.tiles}
    statements = t_env.create_statement_set()
    for name, rows in outputs.items():
        statements.add_insert_sql(dropped(t_env, f"dropped_{name}", rows))
    statements.execute()


if __name__ == "__main__":
    main()
