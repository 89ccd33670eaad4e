"""The item before each event, for groups about what follows what (common/features/previous.py)."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as f

from common.features.expressions import PREVIOUS_ITEM
from common.features.previous import TAKES_PART
from common.features.windows import DAY_MS
from common.sessions import SESSION_GAP_MS

INPUTS = frozenset({"visitor_id", "event_id", "event_ms", *TAKES_PART.columns()})
"""The columns of events that it reads."""


def with_previous(events: DataFrame) -> DataFrame:
    """The events that have a previous item, with it; the rest are left out, since no group that reads it takes them."""
    day = f.floor(f.col("event_ms") / DAY_MS)
    by_time = Window.partitionBy("visitor_id", day).orderBy("event_ms", "event_id")
    gap = f.col("event_ms") - f.lag("event_ms").over(by_time)
    taken = events.where(TAKES_PART.spark())
    return taken.withColumn(PREVIOUS_ITEM, f.when(gap <= SESSION_GAP_MS, f.lag("item_id").over(by_time))).where(
        f.col(PREVIOUS_ITEM).isNotNull()
    )
