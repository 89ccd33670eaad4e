"""Gold tables that carry the cut they were made for: a job's run for a cut reads those of that cut alone."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from common.errors import IncompleteInput
from jobs.spark.increment import seen
from jobs.spark.tables import Lake


def of_this_cut(lake: Lake, table: str, cut_ms: int) -> DataFrame:
    """A gold table that carries its cut; raises IncompleteInput where it was made for another one."""
    frame = lake.read(table)
    other = frame.where(f.col("cut_ms") != cut_ms).select("cut_ms").first()
    if other is not None:
        raise _of_another_cut(table, other["cut_ms"], cut_ms)
    return frame


def require_cut(lake: Lake, table: str, cut_ms: int) -> None:
    """Raise IncompleteInput where a table that is brought up to date was brought to another cut."""
    made = seen(lake, table)
    if made is not None and made.cut_ms != cut_ms:
        raise _of_another_cut(table, made.cut_ms, cut_ms)


def _of_another_cut(table: str, made_ms: int, cut_ms: int) -> IncompleteInput:
    return IncompleteInput(f"{table} was made for the cut {made_ms}, not {cut_ms}: run its job for this cut")
