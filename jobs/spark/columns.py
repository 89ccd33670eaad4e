"""Columns of any of the lake's tables, for jobs that are told which."""

import difflib
from collections.abc import Iterable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from common.errors import ConfigError
from jobs.spark.tables import TABLES, Lake


def columns_of(lake: Lake, table: str, columns: Iterable[str]) -> DataFrame:
    """The table, which has the columns; raises ConfigError with the nearest name where it does not."""
    if table not in TABLES:
        raise ConfigError(f"--table: the lake has no {table}{_near(table, TABLES)}")
    known = TABLES[table].contract.names
    for column in sorted(columns):
        if column not in known:
            raise ConfigError(f"{table} has no column {column}{_near(column, known)}")
    return lake.read(table)


def _near(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]}?" if found else f"; it has {', '.join(sorted(known))}"


def row_key(table: str) -> Column:
    """What tells the table's rows apart, as one text: its key's values as a JSON list."""
    return f.to_json(f.array(*(f.col(name).cast("string") for name in TABLES[table].contract.key)))
