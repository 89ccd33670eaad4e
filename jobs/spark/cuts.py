"""Gold tables that carry the cut they were made for."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from common.errors import IncompleteInput
from jobs.spark.tables import Lake


def of_this_cut(lake: Lake, table: str, cut_ms: int) -> DataFrame:
    """A gold table that carries its cut; raises IncompleteInput where it was made for another one."""
    frame = lake.read(table)
    other = frame.where(f.col("cut_ms") != cut_ms).select("cut_ms").first()
    if other is not None:
        raise IncompleteInput(f"{table} was made for the cut {other['cut_ms']}, not {cut_ms}: run its job for this cut")
    return frame
