"""What a run for a cut counts: the events before it, and the segments that visitors had."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from jobs.spark.tables import Lake


def events_before(lake: Lake, cut_ms: int, version: int | None = None) -> DataFrame:
    """Silver events, at a version or the newest, that happened and were ingested before the cut.

    What came later about an earlier time waits for the next run: so a cut that is run again gives the same tables,
    and of each tile batch has seen no more than the stream, which the merge of the layers rests on.
    """
    return lake.read("silver/events", version).where((f.col("event_ms") < cut_ms) & (f.col("ingest_ms") < cut_ms))


def members_before(lake: Lake, cut_ms: int) -> DataFrame:
    """visitor_id, from_id, from_segment: who was in which segment just before the cut, by the moves until then."""
    last = f.max_by(f.struct("to_id", "to_segment"), "cut_ms").alias("last")
    until = lake.read_or_empty("gold/segment_moves").where(f.col("cut_ms") < cut_ms).groupBy("visitor_id").agg(last)
    return until.where("last.to_id IS NOT NULL").select(
        "visitor_id", f.col("last.to_id").alias("from_id"), f.col("last.to_segment").alias("from_segment")
    )
