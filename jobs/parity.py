"""Parity: what the speed layer wrote, row by row against what batch recomputes from the same events.

The speed views are read in full by token range; batch folds the events that the stream was to take: from its topic,
young enough for its horizon. Both must stand at the same offsets: run it once the stream has caught up and ``land``
has landed. Compared are rows that have not expired and whose time is over: tiles and closed sessions before the cut.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import Row

from common.contracts.core import Contract
from common.contracts.operations import PARITY
from common.contracts.sessions import SESSIONS
from common.errors import QualityGateFailed
from common.features.groups import GROUPS, FeatureGroup
from common.features.windows import HORIZON_MS, horizon_start
from common.sessions import SESSION_GAP_MS
from jobs.features import tiles
from jobs.sessionize import sessions
from jobs.spark.args import ARGUMENTS, CassandraArgs, JobArgs, cluster_spec
from jobs.spark.run import run, this_run
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake, wall_clock_ms
from views.connect import ClusterSpec, connected, worker_session
from views.pointer import read_pointer
from views.scan import scan_range, token_ranges
from views.schema import Table
from views.tables import SPEED, tables_of

NUMBERS = ("int", "long", "double", "decimal", "epoch_ms")
WHOLE_ROW = "*"
SPLITS = 8
BATCH_ROWS = 4_096


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs, CassandraArgs):
    """Compare the speed views with a recomputation."""

    generation: str = ""
    """The generation to compare; empty for the live one."""

    topic: str = "events"
    """The topic that the stream reads: events of imports never passed through it."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of rows of a subject that may differ or be missing before the job fails."""

    ttl_seconds: Annotated[int, Field(ge=0)] = 0
    """Lifetime of speed rows; rows older than it are left out. 0 for the views' own."""


@plain_dataclass(frozen=True)
class Compared:
    """How the rows of one subject agree, and each of its columns."""

    subject: str
    features: tuple[tuple[str, dict[str, Any]], ...]

    @property
    def rows(self) -> dict[str, Any]:
        """The figures of whole rows."""
        return dict(self.features)[WHOLE_ROW]


def stored(spark: SparkSession, spec: ClusterSpec, table: Table, contract: Contract) -> DataFrame:
    """All rows of a view's table, read by token range in Spark's workers."""
    schema = struct_type(contract)
    arrow = to_arrow_schema(schema)

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        session = worker_session(spec)
        for batch in batches:
            for low, high in zip(batch.column("low").to_pylist(), batch.column("high").to_pylist(), strict=True):
                rows: list[tuple[Any, ...]] = []
                for row in scan_range(session, table, contract.names, low, high):
                    rows.append(row)
                    if len(rows) == BATCH_ROWS:
                        yield _arrow(rows, arrow)
                        rows = []
                if rows:
                    yield _arrow(rows, arrow)

    ranges = [Row(low=r.low, high=r.high) for r in token_ranges(SPLITS)]
    return spark.createDataFrame(ranges, "low long, high long").repartition(2).mapInArrow(read, schema)


def _arrow(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    return pa.RecordBatch.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )


def taken_by_speed(events: DataFrame, topic: str) -> DataFrame:
    """The events that the stream was to take: from its topic, no older than its horizon when they came."""
    return events.where((f.col("topic") == topic) & (f.col("event_ms") >= f.col("ingest_ms") - HORIZON_MS))


def folded(events: DataFrame, group: FeatureGroup) -> DataFrame:
    """Those that the stream folds into a group: in one about what follows what, late events take no part."""
    return events.where(~f.col("late")) if group.sequential else events


def compare(subject: str, speed: DataFrame, batch: DataFrame, contract: Contract) -> Compared:
    """Join both sides on the contract's key and count, for whole rows and for each other column.

    ``compared`` counts rows on either side; ``differing`` rows on both sides with another value; the largest
    difference is that of the numbers.
    """
    key = list(contract.key)
    values = [field for field in contract.fields if field.name not in key]
    names = [field.name for field in values]
    left = speed.select(*key, f.struct(*names).alias("_speed"))
    right = batch.select(*key, f.struct(*names).alias("_batch"))
    condition = [left[name].eqNullSafe(right[name]) for name in key]
    joined = left.join(right, on=condition, how="full").select("_speed", "_batch")
    both = f.col("_speed").isNotNull() & f.col("_batch").isNotNull()
    equal = {n: both & f.col(f"_speed.{n}").eqNullSafe(f.col(f"_batch.{n}")) for n in names}
    whole: Column = f.lit(True)
    for column in equal.values():
        whole = whole & column
    gap = {
        x.name: f.abs(f.col(f"_speed.{x.name}").cast("double") - f.col(f"_batch.{x.name}").cast("double"))
        for x in values
        if x.kind.name in NUMBERS
    }
    counts = joined.agg(
        f.count("*").alias("compared"),
        f.count_if(f.col("_speed").isNull()).alias("missing_in_speed"),
        f.count_if(f.col("_batch").isNull()).alias("missing_in_batch"),
        f.count_if(whole).alias("equal_whole"),
        *(f.count_if(column).alias(f"equal_{name}") for name, column in equal.items()),
        *(f.coalesce(f.max(column), f.lit(0.0)).alias(f"gap_{name}") for name, column in gap.items()),
    ).first()
    assert counts is not None, "an aggregate without keys has one row"
    largest = max((counts[f"gap_{name}"] for name in gap), default=0.0)
    rows = [(WHOLE_ROW, _figures(counts, counts["equal_whole"], largest))]
    for name in names:
        rows.append((name, _figures(counts, counts[f"equal_{name}"], counts[f"gap_{name}"] if name in gap else 0.0)))
    return Compared(subject, tuple(rows))


def _figures(counts: Row, equal: int, largest: float) -> dict[str, Any]:
    missing = counts["missing_in_speed"] + counts["missing_in_batch"]
    return {
        "compared": counts["compared"],
        "equal": equal,
        "missing_in_speed": counts["missing_in_speed"],
        "missing_in_batch": counts["missing_in_batch"],
        "differing": counts["compared"] - missing - equal,
        "largest_difference": float(largest),
    }


def comparable_tiles(frame: DataFrame, since_ms: int, cut_ms: int) -> DataFrame:
    """Tiles whose span is over at the cut and whose speed row has not expired."""
    return frame.where((f.col("tile_start") >= since_ms) & (f.col("tile_start") < cut_ms))


def comparable_sessions(frame: DataFrame, since_ms: int, cut_ms: int) -> DataFrame:
    """Closed sessions that ended, gap included, before the cut and whose speed row has not expired."""
    over = f.col("session_end") + SESSION_GAP_MS < cut_ms
    return frame.where(f.col("closed") & over & (f.col("session_start") >= since_ms))


def healed(on_time: DataFrame, every: DataFrame) -> int:
    """Sessions of the full recomputation that late events made differ from what the stream could know."""
    return every.exceptAll(on_time).count()


def rows_of(found: Iterable[Compared], args: Args, run_id: str, generation: str) -> list[Row]:
    """Rows of gold/parity."""
    return [
        Row(
            run_id=run_id,
            cut_ms=args.cut,
            generation=generation,
            subject=one.subject,
            feature=feature,
            **figures,
            passed=passes(figures, args.threshold),
        )
        for one in found
        for feature, figures in one.features
    ]


def passes(figures: dict[str, Any], threshold: float) -> bool:
    """Whether the share of rows that are not equal is within the threshold."""
    return figures["compared"] - figures["equal"] <= threshold * figures["compared"]


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Compare every group's tiles and the sessions; keep the table; fail above the threshold."""
    lake, spec = Lake(spark, args.lake), cluster_spec(args)
    generation = args.generation or live_generation(spec)
    tables = tables_of(SPEED.values(), generation)
    events = taken_by_speed(lake.read("silver/events"), args.topic).cache()
    try:
        found = [_group(spark, spec, tables, events, group, args) for group in GROUPS.values()]
        on_time = comparable_sessions(sessions(events.where(~f.col("late")), args.cut), _since(args, 0), args.cut)
        said = stored(spark, spec, tables["sessions"], SESSIONS)
        found.append(compare("sessions", comparable_sessions(said, _since(args, 0), args.cut), on_time, SESSIONS))
        late = healed(on_time, comparable_sessions(sessions(events, args.cut), _since(args, 0), args.cut))
    finally:
        events.unpersist()
    lake.append("gold/parity", spark.createDataFrame(rows_of(found, args, this_run(), generation), struct_type(PARITY)))
    failed = [one for one in found if not passes(one.rows, args.threshold)]
    if failed:
        said_of = "; ".join(
            f"{one.subject}: {one.rows['compared'] - one.rows['equal']} of {one.rows['compared']} rows "
            f"({', '.join(name for name, x in one.features if name != WHOLE_ROW and x['differing']) or 'missing'})"
            for one in failed
        )
        raise QualityGateFailed(f"the layers differ beyond {args.threshold:.2%}: {said_of}; see gold/parity")
    return {"generation": generation, "sessions_healed_by_late_events": late, **{x.subject: x.rows for x in found}}


def _group(
    spark: SparkSession,
    spec: ClusterSpec,
    tables: dict[str, Table],
    events: DataFrame,
    group: FeatureGroup,
    args: Args,
) -> Compared:
    since = _since(args, horizon_start(args.cut))
    said = comparable_tiles(stored(spark, spec, tables[group.table], group.contract()), since, args.cut)
    recomputed = comparable_tiles(tiles(folded(events, group), group, group.tile_ms), since, args.cut)
    return compare(group.table, said, recomputed, group.contract())


def _since(args: Args, oldest_ms: int) -> int:
    """The first instant whose speed rows have not expired: a row's lifetime counts from its start."""
    ttl_s = args.ttl_seconds or min(view.ttl_s for view in SPEED.values() if view.ttl_s)
    return max(oldest_ms, wall_clock_ms() - ttl_s * 1000)


def live_generation(spec: ClusterSpec) -> str:
    """The generation that serving reads; raises QualityGateFailed where none is live."""
    with connected(spec) as session:
        pointer = read_pointer(session, "speed")
    if pointer is None:
        raise QualityGateFailed("no speed generation is live, so there is nothing to compare: start the stream first")
    return pointer.live


if __name__ == "__main__":
    run(main, Args)
