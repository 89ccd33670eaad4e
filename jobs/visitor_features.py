"""What a visitor did in the thirty days before the cut: counts, baskets, session time by category, engagement.

A run reads the partitions of those days alone, however long the history is, and computes the visitors whose events in
the window are not what they were (jobs/spark/increment.py): those with an event that changed, or that the window has
left, so that its start cuts no session unseen. The other rows stay, but for the cut.
"""

from typing import Any

from pydantic.dataclasses import dataclass
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from common.contracts.events import MONEY
from common.contracts.profiles import VISITOR_FEATURES
from common.features.expressions import event
from common.features.windows import DAY_MS
from common.sessions import SESSION_GAP_MS
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.increment import Seen, counted, days_between, on_days, reaches, seen, touched, wanted
from jobs.spark.run import run
from jobs.spark.schema import data_type
from jobs.spark.tables import Lake

TABLE = "gold/visitor_features"
WINDOW_MS = 30 * DAY_MS
ENGAGEMENT_MAX = 1000
ENGAGEMENT_HALF = 50
"""The weight at which engagement stands at half of its maximum: ten purchases, say."""


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Compute the features of the thirty days before the cut."""


def stays(events: DataFrame) -> DataFrame:
    """Events with ``stay_ms``, the time to the visitor's next event where both are of one session, else 0.

    ``begins`` is 1 where an event is the first of its session in the window, ``session`` the session's number among
    the visitor's, from 1.
    """
    by_time = Window.partitionBy("visitor_id").orderBy("event_ms", "event_id")
    ahead = f.lead("event_ms").over(by_time) - f.col("event_ms")
    behind = f.col("event_ms") - f.lag("event_ms").over(by_time)
    timed = events.withColumns(
        {
            "stay_ms": f.when(ahead <= SESSION_GAP_MS, ahead).otherwise(f.lit(0).cast("long")),
            "begins": f.when(behind <= SESSION_GAP_MS, f.lit(0)).otherwise(f.lit(1)).cast("long"),
        }
    )
    return timed.withColumn("session", f.sum("begins").over(by_time))


def totals(events: DataFrame) -> DataFrame:
    """Per visitor and category: counts, money, the orders' ids, session time. Categories are few, so it folds well."""
    kind, money = f.col("event_type"), data_type(MONEY)
    amount = (f.col("price") * f.col("quantity").cast("decimal(10,0)")).cast(money)
    bought, nothing = kind == "purchase", f.lit(0)
    return events.groupBy("visitor_id", "category").agg(
        f.collect_set("event_date").alias("days"),
        f.count_if(kind == "view").alias("views"),
        f.count_if(kind == "cart").alias("carts"),
        f.count_if(kind == "search").alias("searches"),
        f.collect_set(f.when(bought, f.col("order_id"))).alias("order_ids"),
        f.sum(f.when(bought, f.col("quantity")).otherwise(nothing).cast("long")).alias("units"),
        f.sum(f.when(bought, amount).otherwise(nothing.cast(money))).alias("spend"),
        f.sum(f.when(kind == "refund", amount).otherwise(nothing.cast(money))).alias("refunded"),
        f.sum("begins").alias("sessions"),
        f.size(f.collect_set("session")).alias("sessions_with"),
        f.sum("stay_ms").alias("session_ms"),
        f.sum(f.expr(event.weight.spark())).alias("weight"),
    )


def by_category(value: Column) -> Column:
    """Aggregate: a map of the value by category, of those that took time; ordered, so that equal rows look alike."""
    entry = f.when(f.col("session_ms") > 0, f.struct("category", value))
    return f.map_from_entries(f.array_sort(f.collect_list(entry)))


def features(events: DataFrame, cut_ms: int) -> DataFrame:
    """Rows of gold/visitor_features from the events of the thirty days before the cut."""
    money = data_type(MONEY)
    sums = ("views", "carts", "searches", "units", "spend", "refunded", "sessions", "session_ms", "weight")
    mean = f.col("session_ms").cast("double") / f.col("sessions_with").cast("double")
    folded = (
        totals(stays(events))
        .groupBy("visitor_id")
        .agg(
            f.size(f.array_distinct(f.flatten(f.collect_list("days")))).cast("long").alias("active_days"),
            f.size(f.array_distinct(f.flatten(f.collect_list("order_ids")))).cast("long").alias("orders"),
            by_category(f.col("session_ms")).alias("category_ms"),
            by_category(mean).alias("category_session_ms"),
            *(f.sum(name).alias(name) for name in sums),
        )
    )
    left = f"POWER(0.5D, CAST(weight AS DOUBLE) / {ENGAGEMENT_HALF}D)"
    engagement = f.expr(f"CAST(FLOOR({ENGAGEMENT_MAX}D * (1D - {left}) + 0.5D) AS INT)")
    some = f.col("orders") > 0
    return folded.withColumns(
        {
            "cut_ms": f.lit(cut_ms).cast("long"),
            "spend": f.col("spend").cast(money),
            "refunded": f.col("refunded").cast(money),
            "net": (f.col("spend") - f.col("refunded")).cast(money),
            "basket_value": f.when(some, (f.col("spend") / f.col("orders").cast("decimal(10,0)")).cast(money)),
            "basket_units": f.when(some, f.col("units").cast("double") / f.col("orders").cast("double")),
            "engagement": engagement,
        }
    ).select(*VISITOR_FEATURES.names)


def within(events: DataFrame, start_ms: int, end_ms: int) -> DataFrame:
    """The events of [start, end); only the partitions of its days are read."""
    at = f.col("event_ms")
    return on_days(events, days_between(start_ms, end_ms)).where((at >= start_ms) & (at < end_ms))


def moved(lake: Lake, before: Seen, now: Seen) -> DataFrame:
    """visitor_id: who has an event that changed or newly counts, or one that has left the window, since ``before``."""
    was, since = before.cut_ms - WINDOW_MS, now.cut_ms - WINDOW_MS
    changed = touched(lake, before, now).where(f.col("event_ms") >= was)
    left = within(counted(lake, now), was, since)
    return changed.select("visitor_id").unionByName(left.select("visitor_id")).distinct()


def in_window(lake: Lake, now: Seen) -> DataFrame:
    """The events of the window that ends with the cut."""
    return within(counted(lake, now), now.cut_ms - WINDOW_MS, now.cut_ms)


def remake(lake: Lake, now: Seen) -> int:
    """Compute every visitor; returns how many."""
    return lake.replace(TABLE, features(in_window(lake, now), now.cut_ms), mark=now.mark).inserted


def go_on(lake: Lake, before: Seen, now: Seen) -> dict[str, int]:
    """Compute the visitors who moved and keep the rows of the others; returns the rows written and who moved."""
    changed = moved(lake, before, now).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        told = changed.count()
        made = features(in_window(lake, now).join(changed, "visitor_id", how="left_semi"), now.cut_ms)
        stay = lake.read(TABLE).join(changed, "visitor_id", how="left_anti")
        rows = stay.withColumn("cut_ms", f.lit(now.cut_ms).cast("long")).unionByName(made)
        return {"visitors": lake.replace(TABLE, rows, mark=now.mark).inserted, "changed": told}
    finally:
        changed.unpersist()


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Bring the features up to the cut."""
    lake = Lake(spark, args.lake)
    now = wanted(lake, args.cut)
    before = seen(lake, TABLE)
    if before == now:
        return {"visitors": 0, "changed": 0}
    if before is None or not reaches(before, now):
        visitors = remake(lake, now)
        return {"visitors": visitors, "changed": visitors}
    return go_on(lake, before, now)


if __name__ == "__main__":
    run(main, Args)
