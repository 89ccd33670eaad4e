"""Deduplicate: silver/events holds each event_id once, the first by (ingest_ms, topic, partition, offset).

The order is total, so the survivor does not hang on when a row reached the lake; a row that comes later but stands
earlier in that order replaces the one that was kept. Only rows cleansed since the last run are read.
"""

from typing import Any

from pydantic.dataclasses import dataclass
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.observing import observed
from jobs.spark.run import run
from jobs.spark.tables import Lake

ORDER = ("ingest_ms", "topic", "partition", "offset")
"""The total order of records; the first of an event_id is kept."""


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Keep each event once: silver/cleansed into silver/events."""


def first_of_each(events: DataFrame) -> DataFrame:
    """The first row of each event_id by :data:`ORDER`."""
    rank = f.row_number().over(Window.partitionBy("event_id").orderBy(*ORDER))
    return events.withColumn("_rank", rank).where("_rank = 1").drop("_rank")


def earlier(source: str, target: str) -> str:
    """SQL that holds where the source's row stands before the target's."""
    left, right = (", ".join(f"{side}.`{name}`" for name in ORDER) for side in (source, target))
    return f"struct({left}) < struct({right})"


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Merge what is newly cleansed into silver/events."""
    lake = Lake(spark, args.lake)
    since = lake.mark("silver/events", "silver/cleansed")
    changed, version = lake.changes("silver/cleansed", since=since)
    if since == version:
        return {"rows_in": 0, "inserted": 0, "replaced": 0, "duplicates": 0}
    counted, seen = observed(changed, f.count("*").alias("rows_in"))
    # No predicate on the date: a producer may send an event again with another time.
    merged = lake.upsert(
        "silver/events",
        first_of_each(counted),
        replace_if=earlier("s", "t"),
        mark={"silver/cleansed": version},
    )
    rows_in = seen.get()["rows_in"]
    return {
        "rows_in": rows_in,
        "inserted": merged.inserted,
        "replaced": merged.updated,
        "duplicates": rows_in - merged.inserted,
    }


if __name__ == "__main__":
    run(main, Args)
