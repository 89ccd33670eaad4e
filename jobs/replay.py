"""Replay: rejections come to the gate again, from their own bytes, after the fault was mended.

What passes now moves to bronze/events, under its own topic, partition and offset; what does not stays where it is.
Events that broke a row rule have a job of their own: replay_quarantine.
"""

from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from common.admission import EVENT_COLUMNS, policy_from_env
from jobs.import_events import admit
from jobs.spark.args import ARGUMENTS, EnvName, LakeArgs
from jobs.spark.run import run
from jobs.spark.tables import Lake


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(LakeArgs):
    """Try rejections again."""

    topic: str = ""
    """Only records of this topic, such as events or import:shop; empty for all."""

    reason: str = ""
    """Only what was turned away for this reason; empty for all."""

    pseudonym_key_env: EnvName = "DOVETAIL_PSEUDONYM_KEY"
    """Environment variable that holds the key of the pseudonyms."""

    pseudonym_key_id: Annotated[str, Field(pattern=r"^[a-z0-9]{1,16}$")] = "k1"
    """Id of that key, kept in each pseudonym."""


def admitted_again(rejections: DataFrame, args: Args) -> DataFrame:
    """Rows of bronze/events of those rejections that the gate takes now."""
    policy = policy_from_env(args.pseudonym_key_env, args.pseudonym_key_id)
    key = f.to_json(f.struct("topic", "partition", "offset"))
    # The lineage travels as the row's fingerprint; bytes that are no text can't be JSON, and stay rejected.
    records = rejections.select(
        "offset",
        f.col("kafka_ms").alias("record_ms"),
        key.alias("fingerprint"),
        f.try_validate_utf8(f.col("raw").cast("string")).alias("raw"),
    )
    lineage = f.from_json("fingerprint", "topic string, partition int, offset long")
    passed = admit(records, policy).where("reason IS NULL").withColumn("_lineage", lineage)
    return passed.select(
        *EVENT_COLUMNS,
        f.col("_lineage.topic").alias("topic"),
        f.col("_lineage.partition").alias("partition"),
        f.col("_lineage.offset").alias("offset"),
        f.lit(False).alias("late"),
        f.to_date(f.timestamp_millis("event_ms")).alias("event_date"),
    )


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Try again and move what passes."""
    lake = Lake(spark, args.lake)
    chosen = lake.read("bronze/rejections")
    if args.topic:
        chosen = chosen.where(f.col("topic") == args.topic)
    if args.reason:
        chosen = chosen.where(f.col("reason") == args.reason)
    # Of an oversize record only the first kilobyte was kept: there is nothing whole to try.
    passed = admitted_again(chosen.where(f.octet_length("raw") == f.col("size")), args)
    passed = passed.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        tried, count, moved = chosen.count(), passed.count(), 0
        if count:
            # First in, then out: a run that fails between the two leaves a copy, and the next run removes it.
            moved = lake.insert_new("bronze/events", passed).inserted
            lake.remove("bronze/rejections", passed)
        return {"tried": tried, "passed": count, "moved": moved}
    finally:
        passed.unpersist()


if __name__ == "__main__":
    run(main, Args)
