"""Import history: rows of a file become raw events, pass the same gate as the stream, and land in bronze.

What the gate takes goes to bronze/events, what it refuses to bronze/rejections with its bytes and the reason. A row is
known by its data set and its number: an import that runs again adds nothing, a file that has grown brings what is new,
and one with other rows under known numbers is refused before anything is written. A row that was rejected and is good
now, by a mended mapping or since its line was cut off then, moves to bronze/events.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pyarrow as pa
from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql import types as t
from pyspark.sql.pandas.types import to_arrow_schema

from common.admission import EVENT_COLUMNS, REJECTION_COLUMNS, Policy, admit_batch, policy_from_env
from common.contracts.events import EVENTS, REJECTIONS
from common.errors import ConfigError, ContractError
from jobs.spark.args import ARGUMENTS, EnvName, Instant, LakeArgs, Share
from jobs.spark.readers import Source, read, to_the_end
from jobs.spark.refused import require_most_accepted
from jobs.spark.run import run
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(LakeArgs):
    """Import history from a file."""

    format: Literal["online_retail", "rees46", "events", "mapping"]
    """online_retail (Parquet), rees46 (CSV), events (raw events as JSON lines) or mapping (by a mapping file)."""

    path: Annotated[str, Field(min_length=1)]
    """The file, or a folder of files."""

    mapping: str = ""
    """The mapping file of --format mapping, YAML or JSON."""

    dataset: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{0,64}$")] = ""
    """Name of the data set, once per file: its rows are known by it. Empty for the name of the file or folder."""

    shift_days: Annotated[int, Field(ge=-36_500, le=36_500)] = 0
    """Whole days added to each event's time before the gate sees it."""

    until: Instant | None = None
    """Import only events before this instant (after the shift); rows without a readable time are imported."""

    export: str = ""
    """File that takes the events from --until on, as JSON lines in their time's order; empty for none."""

    most_rejected: Share = 0.5
    """Largest share of the rows that may be rejected; above it the run fails, though all rows were filed."""

    pseudonym_key_env: EnvName = "DOVETAIL_PSEUDONYM_KEY"
    """Environment variable that holds the key of the pseudonyms."""

    pseudonym_key_id: Annotated[str, Field(pattern=r"^[a-z0-9]{1,16}$")] = "k1"
    """Id of that key, kept in each pseudonym."""


def data_set(args: Args) -> str:
    """The data set's name: as given, or the path's last part in small letters, what a name can't hold as _."""
    last = args.path.rstrip("/").rpartition("/")[2]
    return args.dataset or re.sub(r"[^a-z0-9_.-]+", "_", last.lower())[:64]


def admitted_schema() -> t.StructType:
    """One row a record: its offset and fingerprint, the event's columns (null where refused), the rejection's."""
    events = [t.StructField(x.name, x.dataType) for x in struct_type(EVENTS)]
    refused = [t.StructField(x.name, x.dataType) for x in struct_type(REJECTIONS) if x.name in REJECTION_COLUMNS]
    lineage = [
        t.StructField("offset", t.LongType(), False),
        t.StructField("record_ms", t.LongType(), False),
        t.StructField("fingerprint", t.StringType()),
    ]
    return t.StructType([*lineage, *events, *refused])


def admit(records: DataFrame, policy: Policy) -> DataFrame:
    """Pass raw records through the gate; see :func:`admitted_schema`."""
    schema = admitted_schema()
    arrow = to_arrow_schema(schema)
    names = (*EVENT_COLUMNS, *REJECTION_COLUMNS)

    def admit_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            raws = [None if raw is None else raw.encode() for raw in batch.column("raw").to_pylist()]
            columns = admit_batch(raws, batch.column("record_ms").to_pylist(), policy)
            made = [pa.array(columns[name], arrow.field(name).type) for name in names]
            lineage = [batch.column(name) for name in ("offset", "record_ms", "fingerprint")]
            yield pa.RecordBatch.from_arrays([*lineage, *made], schema=arrow)

    return records.select("offset", "record_ms", "fingerprint", "raw").mapInArrow(admit_rows, schema)


def accepted(admitted: DataFrame, topic: str) -> DataFrame:
    """The rows of bronze/events."""
    return admitted.where("reason IS NULL").select(
        *EVENT_COLUMNS,
        f.lit(topic).alias("topic"),
        f.lit(0).alias("partition"),
        "offset",
        f.lit(False).alias("late"),
        f.to_date(f.timestamp_millis("event_ms")).alias("event_date"),
    )


def rejected(admitted: DataFrame, topic: str) -> DataFrame:
    """The rows of bronze/rejections."""
    return admitted.where("reason IS NOT NULL").select(
        *REJECTION_COLUMNS,
        f.lit(topic).alias("topic"),
        f.lit(0).alias("partition"),
        "offset",
        f.col("record_ms").alias("kafka_ms"),
    )


def export_events(records: DataFrame, path: str) -> int:
    """Write raw events to one file of JSON lines, by (event_ms, offset); returns how many."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with target.open("w", encoding="utf-8") as lines:
        for row in records.orderBy("event_ms", "offset").select("raw").toLocalIterator():
            lines.write(row["raw"] + "\n")
            count += 1
    return count


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Read, admit, write; counts of rows by what became of them."""
    lake = Lake(spark, args.lake)
    policy = policy_from_env(args.pseudonym_key_env, args.pseudonym_key_id)
    if args.export and args.until is None:
        raise ConfigError("--export needs --until: it takes the events from that instant on")
    topic = f"import:{data_set(args)}"
    with to_the_end(args.path):
        rows = read(spark, args.format, Source(args.path, args.shift_days, args.mapping))
        later = f.lit(False) if args.until is None else f.coalesce(f.col("event_ms") >= args.until, f.lit(False))
        # Read up to four times: to count copies over the whole file, to find other rows, to export, to admit.
        records = rows.drop("row").persist(StorageLevel.MEMORY_AND_DISK)
        copies = records.agg((f.count("*") - f.count_distinct("fingerprint")).alias("rows")).first()
        assert copies is not None, "an aggregate without keys has one row"
    known = Known(_rows_of(lake, "bronze/events", topic), _rows_of(lake, "bronze/rejections", topic))
    admitted = admit(records.where(~later), policy).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        clashes = other_rows(rows.where(~later), records.where(~later), admitted, known)
        if clashes:
            raise ContractError(
                f"{topic} already has other rows under {clashes} of these numbers (another file, or another mapping or "
                "--shift-days): give this one its own --dataset NAME"
            )
        exported = export_events(records.where(later), args.export) if args.export else 0
        counts = write(lake, admitted, topic, known)
        require_most_accepted(counts, args.most_rejected, topic)
        return counts | {"exact_duplicate_rows": copies["rows"], "exported": exported}
    finally:
        admitted.unpersist()
        records.unpersist()


class Known(NamedTuple):
    """What bronze has of a data set."""

    events: DataFrame
    rejections: DataFrame


def _rows_of(lake: Lake, table: str, topic: str) -> DataFrame:
    return lake.read_or_empty(table).where((f.col("topic") == topic) & (f.col("partition") == 0))


def other_rows(rows: DataFrame, records: DataFrame, admitted: DataFrame, known: Known) -> int:
    """How many records have the number of a row that is known and is another; ``rows`` have their text besides.

    An event is the same by its id and its time. A rejection is the same by its bytes or its event's id; or, where it
    was unreadable then or cut off, by being what the row begins with.
    """
    was = known.events.select("offset", f.col("event_id").alias("was_id"), f.col("event_ms").alias("was_ms"))
    now_id = f.coalesce("event_id", f.get_json_object(_text("raw"), "$.event_id"))
    same = now_id.eqNullSafe(f.col("was_id")) & (f.coalesce("event_ms", "was_ms") == f.col("was_ms"))
    others = admitted.join(was, "offset", how="inner").where(~same).count()

    whole = f.when(f.octet_length("raw") == f.col("size"), _text("raw"))
    kept = known.rejections.select("offset", "sha256", whole.alias("text"))
    known_id, now_id = (f.get_json_object(column, "$.event_id") for column in ("text", "raw"))
    same = (f.sha2("raw", 256) == f.col("sha256")) | f.coalesce(known_id == now_id, f.lit(False))
    doubtful = records.join(kept, "offset", how="inner").where(~same).select("offset", "text").persist()
    try:
        grown = rows.join(doubtful, "offset", how="inner").where(f.startswith("row", "text") & (f.col("text") != ""))
        count = doubtful.count()
        return others + count - (grown.count() if count else 0)
    finally:
        doubtful.unpersist()


def _text(column: str) -> Column:
    return f.try_validate_utf8(f.col(column).cast("string"))


def write(lake: Lake, admitted: DataFrame, topic: str, known: Known) -> dict[str, Any]:
    """Add what is new to bronze, and take out of the rejections what is good now."""
    tally = admitted.agg(
        f.count("*").alias("rows_in"),
        f.count("event_id").alias("accepted"),
        f.count("reason").alias("rejected"),
        f.min(f.to_date(f.timestamp_millis("event_ms"))).alias("first"),
        f.max(f.to_date(f.timestamp_millis("event_ms"))).alias("last"),
    ).first()
    assert tally is not None
    events = accepted(admitted, topic)
    # A known row has its date, too: other dates hold none of the new.
    within = f"t.event_date BETWEEN DATE'{tally['first']}' AND DATE'{tally['last']}'" if tally["accepted"] else "true"
    new_events = lake.insert_new("bronze/events", events, within=within).inserted
    new = rejected(admitted, topic).join(known.events.select("offset"), "offset", how="left_anti")
    new_rejections = lake.insert_new("bronze/rejections", new).inserted
    # First in, then out: a run that fails between the two leaves a copy, and the next run removes it.
    mended = events.join(known.rejections.select("offset"), "offset", how="left_semi")
    moved = mended.count()
    if moved:
        lake.remove("bronze/rejections", mended)
    reasons = admitted.where("reason IS NOT NULL").groupBy("reason").count().collect()
    return {
        "rows_in": tally["rows_in"],
        "accepted": tally["accepted"],
        "rejected": tally["rejected"],
        "new_events": new_events,
        "new_rejections": new_rejections,
        "moved": moved,
        "reasons": {row["reason"]: row["count"] for row in sorted(reasons)},
    }


if __name__ == "__main__":
    run(main, Args)
