"""What a model was trained on beside what came since: histograms of the input over bins, counted by aggregates."""

from itertools import pairwise

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as f

ITEMS, EVENT_TYPES, ACTIVITY = "items", "event_types", "activity"
"""The measures: events by their item's popularity, events by their type, visitors by their number of events."""

TENTHS = 10
"""Bins of items: each holds about a tenth of the older window's events, the most popular items first."""

ADDED = "added"
"""A measure without bins: events that the live model's cut covers and that came to silver after its training, by the
number of events that it was trained on."""

UNKNOWN = "unknown"
"""The bin of items that the model does not have."""

BANDS = (1, 2, 5, 10, 20)
"""Numbers of events in a window from which a visitor is of the next bin."""


def histograms(weighed: DataFrame, known: DataFrame, trained_ms: int, cut_ms: int, window_ms: int) -> DataFrame:
    """measure, bin, before and now: the window that ends with the live model's cut, and the one that ends with this.

    ``weighed`` has at least the events of both windows, of those before ``cut_ms`` (jobs.spark.interactions); in the
    window before are those that happened and came before ``trained_ms``. ``known`` has the ``item_id`` of each of the
    live model's items. The windows overlap where the model is younger than they are long. What no window has is no bin.
    """
    at, came = f.col("event_ms"), f.col("ingest_ms")
    marked = weighed.select(
        "visitor_id",
        "item_id",
        "event_type",
        ((at >= trained_ms - window_ms) & (at < trained_ms) & (came < trained_ms)).alias("before"),
        (at >= cut_ms - window_ms).alias("now"),
    )
    within = marked.where(f.col("before") | f.col("now"))
    measures = {
        ITEMS: _by_popularity(within, known),
        EVENT_TYPES: _by_type(within),
        ACTIVITY: _by_activity(within),
    }
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


def _by_popularity(within: DataFrame, known: DataFrame) -> DataFrame:
    """Items of equal counts are in one bin, so the bins hang on the events and the model's items alone."""
    items = within.groupBy("item_id").agg(f.count_if("before").alias("events"), _counted("now"))
    items = items.join(known.distinct().withColumn("known", f.lit(True)), "item_id", how="left")
    items = items.withColumn("known", f.coalesce("known", f.lit(False)))
    alike = items.groupBy("known", "events").agg(f.sum("events").alias("before"), _summed("now"))
    whole = Window.partitionBy("known")
    more_popular = whole.orderBy(f.desc("events")).rowsBetween(Window.unboundedPreceding, -1)
    above = f.try_divide(f.coalesce(f.sum("before").over(more_popular), f.lit(0)), f.sum("before").over(whole))
    tenth = f.least(f.floor(above * TENTHS), f.lit(TENTHS - 1)) + 1
    placed = alike.withColumn("bin", f.when(f.col("known"), tenth.cast("string")).otherwise(UNKNOWN))
    return placed.groupBy("bin").agg(_summed("before"), _summed("now"))
