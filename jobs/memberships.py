"""Rule segments at the cut: who is in which, by the declarations that serving evaluates too (common/segments.py)."""

from collections.abc import Mapping
from typing import Any

from pydantic.dataclasses import dataclass
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from common.contracts.profiles import MEMBERSHIPS
from common.features.groups import FeatureGroup
from common.features.windows import DAY_MS, HORIZON_MS, HOUR_MS, duration_ms, tile_start
from common.segments import DERIVED, GROUPS_READ, PERSON, RULES, SESSION, SESSION_RECENT_MS, Window
from jobs.spark.age import age_bands
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.cuts import require_cut
from jobs.spark.run import run
from jobs.spark.schema import data_type
from jobs.spark.tables import Lake

READ = sorted({value for rule in RULES.values() for value in rule.values()})
"""What the rules read, as pairs of source and value."""


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Find the members of every rule segment at the cut."""


def read_of(group: FeatureGroup) -> list[tuple[Window, str]]:
    """What the rules read of a group: each window with the name of a feature."""
    windows = [(Window.of(source), name) for source, name in READ if source not in (SESSION, PERSON)]
    return [(window, name) for window, name in windows if window.group == group]


def windowed(tiles: DataFrame, group: FeatureGroup, cut_ms: int) -> DataFrame:
    """visitor_id and the features that rules read, each over its window before the cut; as common.merge.answer.

    ``tiles`` are the group's; a sum is null of a visitor who has other tiles alone.
    """
    read = read_of(group)
    if group.by:
        tiles = tiles.where(f.col("dim").isin(sorted({window.category for window, _ in read})))
    return tiles.groupBy("visitor_id").agg(*(_over(window, name, cut_ms) for window, name in read))


def _over(window: Window, name: str, cut_ms: int) -> Column:
    group, span = window.group, duration_ms(window.span)
    oldest = tile_start(cut_ms - span, group.tile_ms if span <= HORIZON_MS else DAY_MS)
    within = (f.col("tile_start") >= oldest) & f.col("span").isin(["hour"] if span <= HORIZON_MS else ["hour", "day"])
    if group.by:
        within &= f.col("dim") == window.category
    merge = {"SUM": f.sum, "MIN": f.min, "MAX": f.max}[_function(window, name)]
    kind = data_type(group.contract().field(name).kind)
    return merge(f.when(within, f.col(name))).cast(kind).alias(f"{window.source}/{name}")


def _function(window: Window, name: str) -> str:
    return "SUM" if name == "n" else window.group.aggregates[name].function or "SUM"


def current(sessions: DataFrame, cut_ms: int) -> DataFrame:
    """visitor_id and what rules read of the newest session, of those whose newest ended less than a day ago."""
    names = [name for source, name in READ if source == SESSION]
    fields = sorted({*names, "session_start", "session_end"} - {DERIVED})
    newest = sessions.groupBy("visitor_id").agg(f.max_by(f.struct(*fields), "session_start").alias("s"))
    hour = f.floor(f.pmod(f.col("s.session_start"), f.lit(DAY_MS)) / HOUR_MS).cast("long")
    values = [(hour if n == DERIVED else f.col(f"s.{n}")).alias(f"{SESSION}/{n}") for n in names]
    return newest.where(f.col("s.session_end") > cut_ms - SESSION_RECENT_MS).select("visitor_id", *values)


def visitor_values(tiles: Mapping[str, DataFrame], sessions: DataFrame, bands: DataFrame, cut_ms: int) -> DataFrame:
    """visitor_id and all that rules read, of visitors with an event; as common.segments.visitor_values.

    ``tiles`` are those of the groups that rules read, by name, ``bands`` as of jobs.spark.age.age_bands.
    """
    found = current(sessions, cut_ms)
    for group in GROUPS_READ:
        found = found.join(windowed(tiles[group.name], group, cut_ms), "visitor_id", how="full_outer")
    found = found.join(bands.withColumnRenamed("age_band", f"{PERSON}/age_band"), "visitor_id", how="left")
    sums = {
        f"{window.source}/{name}"
        for group in GROUPS_READ
        for window, name in read_of(group)
        if _function(window, name) == "SUM"
    }
    # A category's dots are no path into a column, so names are quoted.
    filled = {name: f.coalesce(f.col(f"`{name}`"), f.lit(0)) for name in sorted(sums)}
    return found.withColumns(filled)


def members(values: DataFrame, cut_ms: int) -> DataFrame:
    """Rows of gold/memberships from the values of visitors: one for each rule that holds."""
    held = f.array(*(f.when(f.expr(rule.condition.spark()), f.lit(rule.name)) for rule in RULES.values()))
    rows = values.select("visitor_id", f.explode(f.array_compact(held)).alias("rule_segment"))
    return rows.withColumn("cut_ms", f.lit(cut_ms).cast("long")).select(*MEMBERSHIPS.names)


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Evaluate every rule for every visitor; members by rule."""
    lake = Lake(spark, args.lake)
    for table in ("gold/sessions", *(f"gold/{group.table}" for group in GROUPS_READ)):
        require_cut(lake, table, args.cut)
    tiles = {group.name: lake.read(f"gold/{group.table}") for group in GROUPS_READ}
    values = visitor_values(tiles, lake.read("gold/sessions"), age_bands(lake, args.cut), args.cut)
    lake.replace("gold/memberships", members(values, args.cut))
    counted = lake.read("gold/memberships").groupBy("rule_segment").count().collect()
    return dict.fromkeys(RULES, 0) | {row["rule_segment"]: row["count"] for row in counted}


if __name__ == "__main__":
    run(main, Args)
