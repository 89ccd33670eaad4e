"""Sessions before the cut, exactly: a visitor's events while the gaps are at most thirty minutes.

The rule and its oracle stand in common/sessions.py. A session is closed where no event before the cut can join it
any more: it ended, gap included, before the cut.

A run costs what has changed since the last one (jobs/spark/increment.py): the sessions within a gap of a changed event
are taken apart and put together again from their events, those that were open are looked at again, and the days of
both are written anew. No other session can change, since it lies more than a gap away.
"""

from datetime import date
from typing import Any

from pydantic.dataclasses import dataclass
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from common.contracts.sessions import BATCH_SESSIONS, SESSIONS
from common.features.expressions import event
from common.features.windows import DAY_MS
from common.sessions import INTENT_HALF, INTENT_MAX, SESSION_GAP_MS
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.increment import Seen, counted, days_of, on_days, one_of, reaches, seen, touched, wanted
from jobs.spark.run import run
from jobs.spark.tables import Lake


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Bring the sessions up to the cut."""


def sessions(events: DataFrame, cut_ms: int) -> DataFrame:
    """Sessions from the events before the cut: the contract ``sessions``."""
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
            "closed": closed_at(cut_ms),
        }
    ).select(*SESSIONS.names)


def closed_at(cut_ms: int) -> Column:
    """Whether no event before the cut can join the session any more."""
    return f.col("session_end") + SESSION_GAP_MS < cut_ms


def dated(rows: DataFrame) -> DataFrame:
    """Rows of gold/sessions; those of one day lie together."""
    day = f.to_date(f.timestamp_millis("session_start"))
    return rows.withColumn("session_date", day).select(*BATCH_SESSIONS.names).hint("rebalance", f.col("session_date"))


def near(old: DataFrame, changed: DataFrame) -> DataFrame:
    """The stored sessions that an event at a changed moment belongs to, or would join."""
    moments = changed.select("visitor_id", "event_ms").distinct()
    close = f.col("event_ms").between(f.col("session_start") - SESSION_GAP_MS, f.col("session_end") + SESSION_GAP_MS)
    return old.join(moments, "visitor_id", how="inner").where(close).select(*old.columns).distinct()


def events_of(events: DataFrame, apart: DataFrame, changed: DataFrame) -> DataFrame:
    """The events of the sessions taken apart, and those at changed moments; each once."""
    spans = apart.select("visitor_id", f.col("session_start").alias("_from"), f.col("session_end").alias("_to"))
    moments = changed.select("visitor_id", f.col("event_ms").alias("_from"), f.col("event_ms").alias("_to"))
    within = f.expr("e.visitor_id = s.visitor_id AND e.event_ms BETWEEN s._from AND s._to")
    return events.alias("e").join(spans.unionByName(moments).distinct().alias("s"), within, how="left_semi")


def days_within(apart: DataFrame, changed: DataFrame) -> set[date]:
    """The UTC days on which events of these sessions, or at changed moments, lie."""
    first, last = (f.to_date(f.timestamp_millis(name)) for name in ("session_start", "session_end"))
    spread = apart.select(f.explode(f.sequence(first, last)).alias("day"))
    return days_of(spread.unionByName(changed.select(f.col("event_date").alias("day"))), "day")


def remake(lake: Lake, now: Seen) -> int:
    """Compute every session; returns how many."""
    return lake.replace("gold/sessions", dated(sessions(counted(lake, now), now.cut_ms)), mark=now.mark).inserted


def go_on(lake: Lake, before: Seen, now: Seen) -> int:
    """Replace the days on which sessions changed; returns the sessions written."""
    old = lake.read("gold/sessions")
    columns = ("visitor_id", "event_ms", "event_date")
    changed = touched(lake, before, now).select(*columns).persist(StorageLevel.MEMORY_AND_DISK)
    # Counted, it has a size: the join with it can leave the sessions where they are.
    changed.count()
    apart = near(old, changed).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        events = events_of(on_days(counted(lake, now), days_within(apart, changed)), apart, changed)
        made = dated(sessions(events, now.cut_ms)).persist(StorageLevel.MEMORY_AND_DISK)
        # Those that were still open: a predicate on a time, so that days long closed are not read.
        were_open = old.where(f.col("session_end") >= before.cut_ms - SESSION_GAP_MS)
        starts = apart.select("session_date").unionByName(made.select("session_date"))
        days = days_of(starts.unionByName(were_open.select("session_date")), "session_date")
        key = ["visitor_id", "session_start"]
        stay = on_days(old, days, "session_date").join(apart.select(*key), key, how="left_anti")
        rows = stay.withColumn("closed", closed_at(now.cut_ms)).unionByName(made)
        where = one_of("session_date", days)
        written = lake.replace("gold/sessions", dated(rows), where=where, mark=now.mark).inserted
        made.unpersist()
        return written
    finally:
        apart.unpersist()
        changed.unpersist()


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Recompute the sessions that are not what they were."""
    lake = Lake(spark, args.lake)
    now = wanted(lake, args.cut)
    before = seen(lake, "gold/sessions")
    if before == now:
        return {"sessions": 0}
    if before is None or not reaches(before, now):
        return {"sessions": remake(lake, now)}
    return {"sessions": go_on(lake, before, now)}


if __name__ == "__main__":
    run(main, Args)
