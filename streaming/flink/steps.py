"""Small helpers of SQL text that several steps share."""

from collections.abc import Iterable

from pyflink.table import Table

from streaming.flink.ddl import quote


def names(table: Table) -> list[str]:
    """The columns of a view."""
    return list(table.get_schema().get_field_names())


def select_list(columns: Iterable[str]) -> str:
    """Columns, quoted, separated by commas."""
    return ", ".join(quote(column) for column in columns)


def running(name: str, partition_by: str) -> str:
    """A WINDOW definition: everything of the partition up to this row, by arrival."""
    return (
        f"{name} AS (PARTITION BY {partition_by} ORDER BY `arrival` ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    )
