"""What a model was trained on beside what came since: histograms of the input over bins, counted by aggregates."""

from itertools import pairwise

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as f

ITEMS, EVENT_TYPES, ACTIVITY = "items", "event_types", "activity"
"""The measures: events by their item's popularity, events by their type, visitors by their number of events."""

TENTHS = 10
"""Bins of items: each holds about a tenth of the older window's events, the most popular items first."""

UNKNOWN = "unknown"
"""The bin of items that the model has not seen."""

BANDS = (1, 2, 5, 10, 20)
"""Numbers of events in a window from which a visitor is of the next bin."""


def histograms(weighed: DataFrame, trained_ms: int, cut_ms: int, window_ms: int) -> DataFrame:
    """measure, bin, before and now: the window that ends with the live model's cut, and the one that ends with this.

    ``weighed`` has the events before ``cut_ms`` (jobs.spark.interactions); those that happened and came before
    ``trained_ms`` are what the live model was trained on. The windows overlap where the model is younger than they are
    long. What no window has is no bin.
    """
    trained = (f.col("event_ms") < trained_ms) & (f.col("ingest_ms") < trained_ms)
    marked = weighed.select(
        "visitor_id",
        "item_id",
        "event_type",
        trained.alias("trained"),
        (trained & (f.col("event_ms") >= trained_ms - window_ms)).alias("before"),
        (f.col("event_ms") >= cut_ms - window_ms).alias("now"),
    )
    within = marked.where(f.col("before") | f.col("now"))
    measures = {ITEMS: _by_popularity(marked), EVENT_TYPES: _by_type(within), ACTIVITY: _by_activity(within)}
    rows = [bins.select(f.lit(name).alias("measure"), "bin", "before", "now") for name, bins in measures.items()]
    return rows[0].unionByName(rows[1]).unionByName(rows[2])


def _summed(side: str) -> f.Column:
    return f.sum(side).alias(side)


def _counted(side: str) -> f.Column:
    return f.count_if(side).alias(side)


def _by_type(within: DataFrame) -> DataFrame:
    return within.groupBy(f.col("event_type").alias("bin")).agg(_counted("before"), _counted("now"))


def _by_activity(within: DataFrame) -> DataFrame:
    name = f.when(f.col("events") >= BANDS[-1], f"{BANDS[-1]} or more")
    for low, high in reversed(list(pairwise(BANDS))):
        name = name.when(f.col("events") >= low, str(low) if high == low + 1 else f"{low} to {high - 1}")
    visitors = within.groupBy("visitor_id").agg(_counted("before"), _counted("now"))
    active = visitors.unpivot("visitor_id", ["before", "now"], "side", "events").where("events > 0")
    sides = [f.count_if(f.col("side") == side).alias(side) for side in ("before", "now")]
    return active.groupBy(name.alias("bin")).agg(*sides)


def _by_popularity(marked: DataFrame) -> DataFrame:
    """Items of equal counts are in one bin, so the bins hang on the events alone."""
    items = marked.groupBy("item_id").agg(
        f.max("trained").alias("known"), f.count_if("before").alias("events"), _counted("now")
    )
    alike = items.groupBy("known", "events").agg(f.sum("events").alias("before"), _summed("now"))
    whole = Window.partitionBy("known")
    more_popular = whole.orderBy(f.desc("events")).rowsBetween(Window.unboundedPreceding, -1)
    above = f.try_divide(f.coalesce(f.sum("before").over(more_popular), f.lit(0)), f.sum("before").over(whole))
    tenth = f.least(f.floor(above * TENTHS), f.lit(TENTHS - 1)) + 1
    placed = alike.withColumn("bin", f.when(f.col("known"), tenth.cast("string")).otherwise(UNKNOWN))
    return placed.where("before + now > 0").groupBy("bin").agg(_summed("before"), _summed("now"))
