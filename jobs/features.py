"""Feature tiles at a cut: per group and key, ``ever``, UTC days up to 48 hours before the cut, then the group's tiles.

What is computed is declared in common/features/groups.py; the oracle is common.features.tiles.batch_tiles.
"""

from typing import Any

from pydantic.dataclasses import dataclass
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from common.features.algebra import Aggregate, Decayed
from common.features.groups import GROUPS, FeatureGroup
from common.features.tiles import ever_end
from common.features.windows import DAY_MS, EVER, horizon_start
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.before import events_before
from jobs.spark.run import run
from jobs.spark.tables import Lake


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Compute the tiles of every feature group before the cut."""


def tiles(events: DataFrame, group: FeatureGroup, tile_ms: int) -> DataFrame:
    """Fold events into aligned tiles of ``tile_ms``: key, tile_start, dim (where the group has one), n, aggregates."""
    taken = events.where(group.where.spark()).where(f.col(group.key).isNotNull())
    keys = [f.col(group.key), f.expr(f"event_ms - pmod(event_ms, {tile_ms}L)").alias("tile_start")]
    if group.by:
        taken = taken.where(f.col(group.by).isNotNull())
        keys.append(f.col(group.by).alias("dim"))
    end = f"(`event_ms` - pmod(`event_ms`, {tile_ms}L) + {tile_ms}L)"
    folded = [f.expr(a.spark(end)).alias(name) for name, a in group.aggregates.items()]
    return taken.groupBy(*keys).agg(f.count("*").alias("n"), *folded)


def rolled_up(days: DataFrame, group: FeatureGroup, at_ms: int) -> DataFrame:
    """Merge day tiles into one at EVER, each first rescaled to ``at_ms``."""
    keys = [group.key, *(["dim"] if group.by else [])]
    values = [f.expr(_rolled(name, a, at_ms)).alias(name) for name, a in group.aggregates.items()]
    return days.groupBy(*keys).agg(f.sum("n").alias("n"), *values).withColumn("tile_start", f.lit(EVER).cast("long"))


def _rolled(name: str, aggregate: Aggregate, at_ms: int) -> str:
    value = f"`{name}`"
    if isinstance(aggregate, Decayed):
        value = aggregate.rescale_sql(value, f"(`tile_start` + {DAY_MS}L)", f"{at_ms}L")
    # Sums merge by their sum; minima and maxima name their function.
    return f"{aggregate.function or 'SUM'}({value})"


def batch_tiles(events: DataFrame, group: FeatureGroup, cut_ms: int) -> DataFrame:
    """Rows of gold/tiles_<group>: spans ever, day and hour (the group's own tile)."""
    border = horizon_start(cut_ms)
    days = tiles(events.where(f.col("event_ms") < border), group, DAY_MS)
    recent = events.where((f.col("event_ms") >= border) & (f.col("event_ms") < cut_ms))
    spans = {
        "ever": rolled_up(days, group, ever_end(cut_ms)),
        "day": days,
        "hour": tiles(recent, group, group.tile_ms),
    }
    columns = group.batch_contract().names
    frames = [frame.withColumn("span", f.lit(span)).select(*columns) for span, frame in spans.items()]
    return frames[0].unionByName(frames[1]).unionByName(frames[2])


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Compute and write the tiles of each group; counts of rows by group."""
    lake = Lake(spark, args.lake)
    needed = {"event_ms", *(name for group in GROUPS.values() for name in inputs(group))}
    events = events_before(lake, args.cut).select(*sorted(needed))
    events = events.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        return {
            group.table: lake.replace(f"gold/{group.table}", batch_tiles(events, group, args.cut).coalesce(1)).inserted
            for group in GROUPS.values()
        }
    finally:
        events.unpersist()


def inputs(group: FeatureGroup) -> set[str]:
    """The event's columns that the group reads."""
    columns = {group.key, *group.where.columns(), *([group.by] if group.by else [])}
    for aggregate in group.aggregates.values():
        columns |= aggregate.of.columns() | aggregate.where.columns()
    return columns


if __name__ == "__main__":
    run(main, Args)
