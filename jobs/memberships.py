"""Rule segments at the cut: who is in which, by the declarations that serving evaluates too (common/segments.py)."""

from typing import Any

from pydantic.dataclasses import dataclass
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from common.contracts.profiles import MEMBERSHIPS
from common.features.groups import activity
from common.features.windows import DAY_MS, HORIZON_MS, HOUR_MS, duration_ms, tile_start
from common.segments import DERIVED, RULES, SESSION, SESSION_RECENT_MS
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.run import run
from jobs.spark.tables import Lake

READ = sorted({value for rule in RULES.values() for value in rule.values()})
"""What the rules read, as pairs of source and value."""


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Find the members of every rule segment at the cut."""


def windowed(tiles: DataFrame, cut_ms: int) -> DataFrame:
    """visitor_id and the features that rules read, each over its window before the cut; as common.merge.answer."""
    columns = [_over(window, name, cut_ms) for window, name in READ if window != SESSION]
    return tiles.groupBy("visitor_id").agg(*columns)


def _over(window: str, name: str, cut_ms: int) -> Column:
    span = duration_ms(window)
    oldest = tile_start(cut_ms - span, activity.tile_ms if span <= HORIZON_MS else DAY_MS)
    spans = ["hour"] if span <= HORIZON_MS else ["hour", "day"]
    within = f.when(f.col("span").isin(spans) & (f.col("tile_start") >= oldest), f.col(name))
    function = "SUM" if name == "n" else activity.aggregates[name].function or "SUM"
    merged = {"SUM": f.sum, "MIN": f.min, "MAX": f.max}[function](within)
    filled = f.coalesce(merged, f.lit(0)) if function == "SUM" else merged
    return filled.cast(tiles_type(name)).alias(f"{window}/{name}")


def tiles_type(name: str) -> str:
    """Spark's name of the type of a column of the activity tiles."""
    kind = activity.contract().field(name).kind
    return f"decimal({kind.args[0]},{kind.args[1]})" if kind.name == "decimal" else "long"


def current(sessions: DataFrame, cut_ms: int) -> DataFrame:
    """visitor_id and what rules read of the newest session, of those whose newest ended less than a day ago."""
    names = [name for source, name in READ if source == SESSION]
    fields = sorted({*names, "session_start", "session_end"} - {DERIVED})
    newest = sessions.groupBy("visitor_id").agg(f.max_by(f.struct(*fields), "session_start").alias("s"))
    hour = f.floor(f.pmod(f.col("s.session_start"), f.lit(DAY_MS)) / HOUR_MS).cast("long")
    values = [(hour if n == DERIVED else f.col(f"s.{n}")).alias(f"{SESSION}/{n}") for n in names]
    return newest.where(f.col("s.session_end") > cut_ms - SESSION_RECENT_MS).select("visitor_id", *values)


def members(values: DataFrame, cut_ms: int) -> DataFrame:
    """Rows of gold/memberships from the values of visitors: one for each rule that holds."""
    held = f.array(*(f.when(f.expr(rule.condition.spark()), f.lit(rule.name)) for rule in RULES.values()))
    rows = values.select("visitor_id", f.explode(f.array_compact(held)).alias("rule_segment"))
    return rows.withColumn("cut_ms", f.lit(cut_ms).cast("long")).select(*MEMBERSHIPS.names)


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Evaluate every rule for every visitor; members by rule."""
    lake = Lake(spark, args.lake)
    features = windowed(lake.read(f"gold/{activity.table}"), args.cut)
    values = features.join(current(lake.read("gold/sessions"), args.cut), "visitor_id", how="full_outer")
    lake.replace("gold/memberships", members(values, args.cut))
    counted = lake.read("gold/memberships").groupBy("rule_segment").count().collect()
    return dict.fromkeys(RULES, 0) | {row["rule_segment"]: row["count"] for row in counted}


if __name__ == "__main__":
    run(main, Args)
