"""How much each visitor has shown for each item: what models are trained on and judged by."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from common.features.expressions import event


def item_events(events: DataFrame, cut_ms: int) -> DataFrame:
    """Events before the cut that say something about taste, with their ``weight`` (a positive long)."""
    weighed = events.where(f.col("event_ms") < cut_ms).withColumn("weight", f.expr(event.weight.spark()))
    return weighed.where((f.col("weight") > 0) & f.col("item_id").isNotNull())


def pairs(weighed: DataFrame) -> DataFrame:
    """One row per visitor and item with the summed ``weight``: ALS takes each pair once."""
    return weighed.groupBy("visitor_id", "item_id").agg(f.sum("weight").alias("weight"))
