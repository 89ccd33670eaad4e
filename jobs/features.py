"""Feature tiles at a cut: per group and key, ``ever``, UTC days up to 48 hours before the cut, then the group's tiles.

What is computed is declared in common/features/groups.py; the oracle is common.features.tiles.batch_tiles. A run costs
what has changed since the last one (jobs/spark/increment.py): it recomputes the hours, the days that moved past the
horizon, and the days that a late or changed event touched; ``ever`` takes one step further for the keys of those days,
and is folded anew for a key whose older days changed.
"""

from contextlib import ExitStack
from datetime import date
from functools import partial
from typing import Any

from pydantic.dataclasses import dataclass
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from common.features.algebra import Aggregate, Decayed
from common.features.expressions import PREVIOUS_ITEM
from common.features.groups import GROUPS, FeatureGroup
from common.features.tiles import ever_end
from common.features.windows import DAY_MS, EVER, horizon_start, tile_start
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.at_once import at_once
from jobs.spark.increment import Seen, counted, days_between, days_of, on_days, one_of, reaches, seen, touched, wanted
from jobs.spark.previous import INPUTS, with_previous
from jobs.spark.run import run
from jobs.spark.tables import Lake


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Compute the tiles of every feature group before the cut."""


def as_read(events: DataFrame, group: FeatureGroup) -> DataFrame:
    """The events as the group reads them: with the item before, where it asks for it and they do not have it yet."""
    return with_previous(events) if group.sequential and PREVIOUS_ITEM not in events.columns else events


def taken(events: DataFrame, group: FeatureGroup) -> DataFrame:
    """The events that the group folds in: with its key, its dim where it has one, and its condition met."""
    met = as_read(events, group).where(group.where.spark()).where(f.col(group.key).isNotNull())
    return met.where(f.col(group.by).isNotNull()) if group.by else met


def keys_of(group: FeatureGroup) -> list[str]:
    """The columns that key a row of ``ever``."""
    return [group.key, *(["dim"] if group.by else [])]


def _key_columns(group: FeatureGroup) -> list[Column]:
    return [f.col(group.key), *([f.col(group.by).alias("dim")] if group.by else [])]


def tiles(events: DataFrame, group: FeatureGroup, tile_ms: int) -> DataFrame:
    """Fold events into aligned tiles of ``tile_ms``: key, tile_start, dim (where the group has one), n, aggregates."""
    keys = [*_key_columns(group), f.expr(f"event_ms - pmod(event_ms, {tile_ms}L)").alias("tile_start")]
    end = f"(`event_ms` - pmod(`event_ms`, {tile_ms}L) + {tile_ms}L)"
    folded = [f.expr(a.spark(end)).alias(name) for name, a in group.aggregates.items()]
    return taken(events, group).groupBy(*keys).agg(f.count("*").alias("n"), *folded)


def rolled_up(days: DataFrame, group: FeatureGroup) -> DataFrame:
    """``ever``: each key's day tiles, oldest first, folded into the tile of its last day.

    A tile of ``ever`` may stand for the days up to its own.
    """
    decayed = {name: a for name, a in group.aggregates.items() if isinstance(a, Decayed)}
    plain = [f.expr(_merged(name, a)).alias(name) for name, a in group.aggregates.items() if name not in decayed]
    steps = f.array_sort(f.collect_list(f.struct("tile_start", *decayed)))
    last = f.max("tile_start").alias("_last")
    folded = days.groupBy(*keys_of(group)).agg(
        f.sum("n").alias("n"), last, *plain, *([steps.alias("_steps")] if decayed else [])
    )
    if decayed:
        done = f.aggregate(
            f.slice("_steps", 2, f.size("_steps")),
            f.element_at("_steps", 1),
            partial(_step, decayed),
        )
        folded = folded.withColumn("_ever", done).withColumns({name: f.col(f"_ever.{name}") for name in decayed})
    return folded.withColumn("tile_start", f.col("_last")).drop("_last", "_steps", "_ever")


def _merged(name: str, aggregate: Aggregate) -> str:
    # Sums merge by their sum; minima and maxima name their function.
    return f"{aggregate.function or 'SUM'}(`{name}`)"


def _step(decayed: dict[str, Decayed], ever: Column, day: Column) -> Column:
    span = (day["tile_start"] - ever["tile_start"]).cast("double")
    values = []
    for name, aggregate in decayed.items():
        decay = f.pow(f.lit(0.5), span / f.lit(float(aggregate.half_life_ms)))
        scaled = f.floor(ever[name].cast("double") * decay + f.lit(0.5)).cast("long")
        values.append((scaled + day[name]).alias(name))
    return f.struct(day["tile_start"].alias("tile_start"), *values)


def at_cut(rows: DataFrame, group: FeatureGroup, cut_ms: int) -> DataFrame:
    """Rows of gold/tiles_<group> as readers take them: the tile ``ever`` at EVER, relative to ``ever_end(cut_ms)``."""
    ever = f.col("span") == "ever"
    scaled = {
        name: f.when(
            ever, f.expr(a.rescale_sql(f"`{name}`", f"(`tile_start` + {DAY_MS}L)", f"{ever_end(cut_ms)}L"))
        ).otherwise(f.col(name))
        for name, a in group.aggregates.items()
        if isinstance(a, Decayed)
    }
    start = f.when(ever, f.lit(EVER).cast("long")).otherwise(f.col("tile_start"))
    return rows.withColumns(scaled).withColumn("tile_start", start)


def rows_of(group: FeatureGroup, ever: DataFrame, days: DataFrame, hours: DataFrame) -> DataFrame:
    """Rows of gold/tiles_<group> from the three spans; those of a slice lie together."""
    day = f.to_date(f.timestamp_millis("tile_start")).cast("string")
    spans = {"ever": (ever, f.lit("ever")), "day": (days, day), "hour": (hours, f.lit("hour"))}
    columns = group.batch_contract().names
    frames = [
        frame.withColumns({"span": f.lit(span), "slice": part}).select(*columns)
        for span, (frame, part) in spans.items()
    ]
    return frames[0].unionByName(frames[1]).unionByName(frames[2]).hint("rebalance", f.col("slice"))


def batch_tiles(events: DataFrame, group: FeatureGroup, cut_ms: int) -> DataFrame:
    """Rows of gold/tiles_<group> from all events before the cut: spans ever, day and hour (the group's own tile)."""
    border, events = horizon_start(cut_ms), as_read(events, group)
    days = tiles(events.where(f.col("event_ms") < border), group, DAY_MS)
    hours = tiles(events.where((f.col("event_ms") >= border) & (f.col("event_ms") < cut_ms)), group, group.tile_ms)
    return rows_of(group, rolled_up(days, group), days, hours)


def dirty_keys(changed: DataFrame, new_days: DataFrame, group: FeatureGroup, since_ms: int, cut_ms: int) -> DataFrame:
    """The keys whose day tiles are not what they were, each with ``first``: the earliest such day's start.

    ``changed`` are the touched events, ``new_days`` the recomputed day tiles, ``since_ms`` the cut of the last run.
    """
    border, before = horizon_start(cut_ms), tile_start(horizon_start(since_ms), DAY_MS)
    late = taken(changed.where(f.col("event_ms") < border), group).select(
        *_key_columns(group), f.expr(f"event_ms - pmod(event_ms, {DAY_MS}L)").alias("tile_start")
    )
    found = late
    if cut_ms > since_ms:
        found = late.unionByName(new_days.where(f.col("tile_start") >= before).select(late.columns))
    return found.groupBy(*keys_of(group)).agg(f.min("tile_start").alias("first"))


def dirty_in(days: set[date], old: DataFrame, new_days: DataFrame, group: FeatureGroup) -> DataFrame:
    """As :func:`dirty_keys`, where an event also changes what its neighbours are: all keys of the days, old and new."""
    columns = [*keys_of(group), "tile_start"]
    found = old.where(one_of("slice", map(str, days))).select(*columns).unionByName(new_days.select(*columns))
    return found.groupBy(*keys_of(group)).agg(f.min("tile_start").alias("first"))


def ever_of(old: DataFrame, dirty: DataFrame, group: FeatureGroup) -> DataFrame:
    """The dirty keys' rows of ``ever``, from the old rows of gold/tiles_<group>, each with ``first``."""
    columns = [*keys_of(group), "tile_start", *group.columns]
    return old.where("slice = 'ever'").select(*columns).join(dirty, keys_of(group), how="inner")


def next_ever(
    known: DataFrame, old: DataFrame, new_days: DataFrame, dirty: DataFrame, days: set[date], group: FeatureGroup
) -> DataFrame:
    """``ever`` of the dirty keys, from what was ``known`` of them (:func:`ever_of`) and the recomputed day tiles.

    A dirty key whose ``ever`` stops before its first dirty day takes the days since as further steps; another one is
    folded anew from all its day tiles in ``old``, gold/tiles_<group>: a pass over all days.
    """
    keys, columns = keys_of(group), [*keys_of(group), "tile_start", *group.columns]
    goes_on = f.col("tile_start") < f.col("first")
    begun, anew = known.where(goes_on), known.where(~goes_on)
    reached = begun.select(*keys, f.col("tile_start").alias("_reached"))
    steps = new_days.join(dirty.join(reached, keys, how="left"), keys, how="inner").where(
        f.col("_reached").isNull() | (f.col("tile_start") > f.col("_reached"))
    )
    parts = begun.select(*columns).unionByName(steps.select(*columns))
    if not anew.isEmpty():
        kept = old.where((f.col("span") == "day") & ~f.expr(one_of("slice", map(str, days))))
        parts = parts.unionByName(kept.select(*columns).join(anew.select(*keys), keys, how="left_semi"))
    return rolled_up(parts, group).select(*columns)


def remake(lake: Lake, group: FeatureGroup, events: DataFrame, now: Seen) -> int:
    """Compute all of the group's tiles; returns the rows written."""
    return lake.replace(f"gold/{group.table}", batch_tiles(events, group, now.cut_ms), mark=now.mark).inserted


def go_on(
    lake: Lake, group: FeatureGroup, changed: DataFrame, events: DataFrame, days: set[date], before: Seen, now: Seen
) -> int:
    """Replace the slices that changed; returns the rows written.

    ``events`` are those of the dirty days and of all days since the horizon, ``days`` the dirty ones before it.
    """
    border = horizon_start(now.cut_ms)
    old, events = lake.read(f"gold/{group.table}"), as_read(events, group)
    of_days = on_days(events, days).where(f.col("event_ms") < border)
    with ExitStack() as kept:
        new_days = _kept(kept, tiles(of_days, group, DAY_MS))
        if group.sequential:
            dirty = dirty_in(days, old, new_days, group)
        else:
            dirty = dirty_keys(changed, new_days, group, before.cut_ms, now.cut_ms)
        dirty = _kept(kept, dirty)
        # Counted, it has a size: the joins with it can leave ``ever``, most of the table, where it is.
        dirty.count()
        known = _kept(kept, ever_of(old, dirty, group))
        ever = next_ever(known, old, new_days, dirty, days, group)
        stay = old.where("slice = 'ever'").join(dirty, keys_of(group), how="left_anti")
        hours = tiles(events.where(f.col("event_ms") >= border), group, group.tile_ms)
        rows = rows_of(group, ever, new_days, hours).unionByName(stay)
        where = one_of("slice", {"ever", "hour", *map(str, days)})
        return lake.replace(f"gold/{group.table}", rows, where=where, mark=now.mark).inserted


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Compute and write the tiles of each group; rows written by group, and the days that were recomputed."""
    lake = Lake(spark, args.lake)
    now = wanted(lake, args.cut)
    columns = sorted(
        {"event_ms", "ingest_ms", "event_date", *(name for group in GROUPS.values() for name in inputs(group))}
    )
    border = horizon_start(now.cut_ms)
    by_mark: dict[Seen | None, list[FeatureGroup]] = {}
    for group in GROUPS.values():
        before = seen(lake, f"gold/{group.table}")
        by_mark.setdefault(before if reaches(before, now) else None, []).append(group)
    written: dict[str, Any] = {}
    for before, groups in by_mark.items():
        with ExitStack() as kept:
            if before == now:
                written |= dict.fromkeys((group.table for group in groups), 0)
            elif before is None:
                events = _kept(kept, counted(lake, now).select(*columns))
                written |= at_once(spark, {g.table: partial(remake, lake, g, events, now) for g in groups})
            else:
                changed = _kept(kept, touched(lake, before, now).select(*columns))
                days = days_between(horizon_start(before.cut_ms), border)
                days |= days_of(changed.where(f.col("event_ms") < border))
                every = days | days_between(border, now.cut_ms)
                events = _kept(kept, on_days(counted(lake, now), every).select(*columns))
                written |= at_once(
                    spark, {g.table: partial(go_on, lake, g, changed, events, days, before, now) for g in groups}
                )
                written["days"] = len(days)
    return written


def _kept(stack: ExitStack, frame: DataFrame) -> DataFrame:
    frame = frame.persist(StorageLevel.MEMORY_AND_DISK)
    stack.callback(frame.unpersist)
    return frame


def inputs(group: FeatureGroup) -> frozenset[str]:
    """The event's columns that the group reads."""
    return group.inputs - {PREVIOUS_ITEM} | INPUTS if group.sequential else group.inputs


if __name__ == "__main__":
    run(main, Args)
