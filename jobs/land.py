"""Land: the files that the stream archived become rows of bronze, each record once.

The archive is read as a stream of files that ends with the files that are there (availableNow); a checkpoint under
the lake remembers which files were read, and the merge on (topic, partition, offset) makes a second reading harmless.
A file with a line that is no record, such as one that was cut off, is named and nothing of its batch lands.

A cut is complete where every offset before the first record at or after it is in bronze or among the rejections. With
``--kafka`` an incomplete cut is refused, and the chain stops before it counts what is not all there.
"""

import re
from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path
from typing import Annotated, Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from common.contracts.core import Contract
from common.contracts.events import BRONZE_EVENTS, REJECTIONS
from common.errors import ContractError, IncompleteInput, ServerUnavailable
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.run import run
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake

KAFKA_TIMEOUT_S = 15.0


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Append archived events and rejections to bronze."""

    archive: Annotated[str, Field(min_length=1)]
    """Root folder of the stream's archive: a path or a URI."""

    kafka: str = ""
    """HOST:PORT of the broker that is asked whether the cut is complete; empty to land without asking."""

    topic: str = "events"
    """The topic that the stream archives."""


def land(spark: SparkSession, lake: Lake, folder: str, table: str, contract: Contract) -> int:
    """Append the files under ``folder`` to ``table``; returns the rows that were new.

    Files that Flink has not made visible begin with a dot, and Spark passes them over.
    """
    landed = 0
    # Spark calls back in a thread of its own, which does not know what run is under way.
    context = copy_context()

    def append(batch: DataFrame, _: int) -> None:
        nonlocal landed
        landed += context.run(lambda: lake.insert_new(table, once(batch, contract))).inserted

    _drain(spark, folder, contract, f"{lake.root}/_checkpoints/land_{table.replace('/', '_')}", append)
    return landed


def once(rows: DataFrame, contract: Contract) -> DataFrame:
    """The contract's columns, each key once: copies of a record are equal, so any of them serves."""
    return rows.select(*contract.names).dropDuplicates(list(contract.key))


def _drain(
    spark: SparkSession, folder: str, contract: Contract, checkpoint: str, append: Callable[[DataFrame, int], None]
) -> None:
    files = spark.readStream.schema(struct_type(contract)).option("mode", "FAILFAST").json(folder)
    query = (
        files.writeStream.foreachBatch(append)
        .option("checkpointLocation", checkpoint)
        .trigger(availableNow=True)
        .start()
    )
    try:
        query.awaitTermination()
    except StreamingQueryException as error:
        text = str(error)
        if "MALFORMED_RECORD_IN_PARSING" not in text:
            raise
        # Spark's own text quotes the line: it stays out of the message and of the cause.
        named = re.search(r"while reading file (?:file://)?(\S+?)\.?(?:\s|$)", text)
        raise ContractError(
            f"{named[1] if named else f'a file under {folder}'} has a line that is no record, such as one cut off: put "
            "the whole file back, or take that line out (--kafka tells which records are lost then), and land again"
        ) from None


def required_offsets(kafka: str, topic: str, cut_ms: int) -> dict[int, tuple[int, int]]:
    """Per partition the half-open range of offsets that a complete cut must hold.

    It begins with the oldest record the broker still keeps and ends before the first whose timestamp is at or after
    the cut. Raises ServerUnavailable where the broker does not answer.
    """
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "dovetail-land", "log_level": 2})
    try:
        found = consumer.list_topics(topic, timeout=KAFKA_TIMEOUT_S).topics[topic]
        if found.error is not None:
            raise ServerUnavailable(
                f"Kafka at {kafka} has no topic {topic!r}: start the platform, or name it with --topic"
            )
        asked = [TopicPartition(topic, partition, cut_ms) for partition in found.partitions]
        firsts = consumer.offsets_for_times(asked, timeout=KAFKA_TIMEOUT_S)
        ranges = {}
        for first in firsts:
            low, high = consumer.get_watermark_offsets(first, timeout=KAFKA_TIMEOUT_S)
            ranges[first.partition] = (low, first.offset if first.offset >= 0 else high)
        return ranges
    except KafkaException as error:
        raise ServerUnavailable(f"Kafka at {kafka} does not answer: {error.args[0]}; is it up?") from error
    finally:
        consumer.close()


def missing_offsets(lake: Lake, topic: str, required: dict[int, tuple[int, int]]) -> dict[int, int]:
    """Per partition how many of the required offsets are neither in bronze nor among the rejections."""
    key = ["partition", "offset"]
    have = [lake.read_or_empty(name).where(f.col("topic") == topic).select(*key) for name in _LANDED]
    inside = f.lit(False)
    for partition, (low, end) in required.items():
        inside = inside | ((f.col("partition") == partition) & (f.col("offset") >= low) & (f.col("offset") < end))
    rows = have[0].unionByName(have[1]).where(inside).distinct().groupBy("partition").count().collect()
    counts = {row["partition"]: row["count"] for row in rows}
    missing = {p: max(0, end - low) - counts.get(p, 0) for p, (low, end) in required.items()}
    return {partition: count for partition, count in missing.items() if count > 0}


_LANDED = ("bronze/events", "bronze/rejections")


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Land both kinds of files, then ask whether the cut is complete."""
    lake = Lake(spark, args.lake)
    root = args.archive.rstrip("/")
    counts: dict[str, Any] = {}
    for folder, table, contract in (
        ("events", "bronze/events", BRONZE_EVENTS),
        ("rejections", "bronze/rejections", REJECTIONS),
    ):
        where = f"{root}/{folder}"
        if "://" not in where and not Path(where).is_dir():
            # No rejections yet is good news; no events at all is found out by the count below.
            counts[folder] = 0
            continue
        counts[folder] = land(spark, lake, where, table, contract)
    if args.kafka:
        required = required_offsets(args.kafka, args.topic, args.cut)
        missing = missing_offsets(lake, args.topic, required)
        if missing:
            listed = ", ".join(f"{count} of partition {partition}" for partition, count in sorted(missing.items()))
            raise IncompleteInput(
                f"records of topic {args.topic!r} before the cut are not in bronze: {listed}; "
                "wait for the stream's next checkpoint and run land again"
            )
        counts["required"] = sum(max(0, end - low) for low, end in required.values())
    return counts


if __name__ == "__main__":
    run(main, Args)
