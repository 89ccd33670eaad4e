"""Which events a run for a cut counts."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from jobs.spark.tables import Lake


def events_before(lake: Lake, cut_ms: int, version: int | None = None) -> DataFrame:
    """Silver events, at a version or the newest, that happened and were ingested before the cut.

    What came later about an earlier time waits for the next run: so a cut that is run again gives the same tables,
    and of each tile batch has seen no more than the stream, which the merge of the layers rests on.
    """
    return lake.read("silver/events", version).where((f.col("event_ms") < cut_ms) & (f.col("ingest_ms") < cut_ms))
