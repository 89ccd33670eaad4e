"""What a visitor did in the thirty days before the cut: counts, baskets, session time by category, engagement.

Only the partitions of those days are read, so a run costs the same however long the history is.
"""

from typing import Any

from pydantic.dataclasses import dataclass
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from common.contracts.events import MONEY
from common.contracts.profiles import VISITOR_FEATURES
from common.features.expressions import event
from common.features.windows import DAY_MS
from common.sessions import SESSION_GAP_MS
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.before import events_before
from jobs.spark.increment import days_between, on_days
from jobs.spark.run import run
from jobs.spark.schema import data_type
from jobs.spark.tables import Lake

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


def counted(events: DataFrame) -> DataFrame:
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
        counted(stays(events))
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


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Compute the features anew from the window's partitions."""
    lake = Lake(spark, args.lake)
    since = args.cut - WINDOW_MS
    events = on_days(events_before(lake, args.cut), days_between(since, args.cut)).where(f.col("event_ms") >= since)
    return {"visitors": lake.replace("gold/visitor_features", features(events, args.cut)).inserted}


if __name__ == "__main__":
    run(main, Args)
