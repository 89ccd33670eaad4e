"""How much each visitor has shown for each item: what models are trained on and judged by."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from common.errors import IncompleteInput
from common.features.expressions import event
from jobs.spark.als import Mode


def item_events(events: DataFrame, cut_ms: int) -> DataFrame:
    """Events before the cut that say something about taste, with their ``weight`` (a positive long)."""
    weighed = events.where(f.col("event_ms") < cut_ms).withColumn("weight", f.expr(event.weight.spark()))
    return weighed.where((f.col("weight") > 0) & f.col("item_id").isNotNull())


def rating() -> Column:
    """The ``value`` of a ``rate`` event, double; null where it has none, and of every other event."""
    return f.when(f.col("event_type") == "rate", f.col("value"))


def tastes(weighed: DataFrame, mode: Mode) -> DataFrame:
    """visitor_id, item_id, event_ms and ``weight`` of the item events that a mode is fitted on.

    implicit: all of them, with the weight of their type; explicit: those with a rating, which is the weight then
    (a double), and event_id.
    """
    if mode == "implicit":
        return weighed.select("visitor_id", "item_id", "event_ms", "weight")
    rated = weighed.select("visitor_id", "item_id", "event_ms", "event_id", rating().alias("weight"))
    return rated.where(f.col("weight").isNotNull())


def require_ratings(found: DataFrame, mode: Mode) -> None:
    """Raise IncompleteInput where the mode is explicit and there is no rating among these :func:`tastes`."""
    if mode == "explicit" and found.isEmpty():
        raise IncompleteInput(
            "no rate event before the cut has an item and a value, and --mode explicit fits ratings: "
            "import them first, or take --mode implicit, which goes by everything that visitors did"
        )


def pairs(found: DataFrame, mode: Mode = "implicit") -> DataFrame:
    """One row per visitor and item of :func:`tastes`, since ALS takes each pair once.

    ``weight`` is their sum, or where explicit the latest by (event_ms, event_id).
    """
    weight = f.sum("weight") if mode == "implicit" else f.max_by("weight", f.struct("event_ms", "event_id"))
    return found.groupBy("visitor_id", "item_id").agg(weight.alias("weight"))
