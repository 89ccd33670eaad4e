"""Sessions before the cut, exactly: a visitor's events while the gaps are at most thirty minutes.

The rule and its oracle stand in common/sessions.py. A session is closed where no event before the cut can join it
any more: it ended, gap included, before the cut.
"""

from typing import Any

from pydantic.dataclasses import dataclass
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from common.contracts.sessions import SESSIONS
from common.features.expressions import event
from common.features.windows import DAY_MS
from common.sessions import INTENT_HALF, INTENT_MAX, SESSION_GAP_MS
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.before import events_before
from jobs.spark.run import run
from jobs.spark.tables import Lake


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Recompute every session before the cut."""


def sessions(events: DataFrame, cut_ms: int) -> DataFrame:
    """Rows of gold/sessions from the events before the cut."""
    by_time = Window.partitionBy("visitor_id").orderBy("event_ms", "event_id")
    gap = f.col("event_ms") - f.lag("event_ms").over(by_time)
    begins = f.when(gap.isNull() | (gap > SESSION_GAP_MS), f.col("event_ms"))
    marked = events.where(f.col("event_ms") < cut_ms).withColumn("_begins", begins)
    started = marked.withColumn("session_start", f.max("_begins").over(by_time))
    moment = f.struct("event_ms", "event_id")
    amount = f.expr((event.price * event.quantity).spark())
    folded = started.groupBy("visitor_id", "session_start").agg(
        f.max("event_ms").alias("session_end"),
        f.count("*").alias("events"),
        f.count_if(f.col("event_type") == "view").alias("pages"),
        f.size(f.collect_set("item_id")).cast("long").alias("items"),
        f.size(f.collect_set("category")).cast("long").alias("categories"),
        f.sum(
            f.when(f.col("event_type") == "purchase", f.coalesce(amount, f.lit(0).cast("decimal(38,4)"))).otherwise(
                f.lit(0).cast("decimal(38,4)")
            )
        ).alias("spend"),
        f.sum(f.expr(event.weight.spark())).alias("weight"),
        f.min_by("item_id", moment).alias("entry"),
        f.max_by("item_id", moment).alias("exit"),
        f.min_by("device", moment).alias("device"),
    )
    intent = f.expr(
        f"CAST(FLOOR({INTENT_MAX}D * (1D - POWER(0.5D, CAST(weight AS DOUBLE) / {INTENT_HALF}D)) + 0.5D) AS INT)"
    )
    return folded.withColumns(
        {
            "intent": intent,
            "suspected_bot": f.col("session_end") - f.col("session_start") > DAY_MS,
            "closed": f.col("session_end") + SESSION_GAP_MS < cut_ms,
        }
    ).select(*SESSIONS.names)


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Recompute the sessions."""
    lake = Lake(spark, args.lake)
    written = lake.replace("gold/sessions", sessions(events_before(lake, args.cut), args.cut))
    return {"sessions": written.inserted}


if __name__ == "__main__":
    run(main, Args)
