"""Recency, frequency and monetary value at the cut, with scores by fifths; what was refunded, and what is left net.

A score is by value: visitors with equal figures have equal scores, whatever the order of rows. A run costs what has
changed since the last one (jobs/spark/increment.py): gold/orders is recomputed for the days that sales touched, the
figures for the visitors whose sales changed. Recency and scores are every visitor's, each run: one narrow pass.
"""

from datetime import date
from functools import reduce
from operator import add
from typing import Any

from pydantic.dataclasses import dataclass
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from common.contracts.profiles import ORDERS
from common.features.windows import DAY_MS
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.increment import Seen, counted, days_of, on_days, one_of, reaches, seen, touched, wanted
from jobs.spark.run import run
from jobs.spark.schema import data_type
from jobs.spark.tables import Lake

FIFTHS = (0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Compute RFM at the cut."""


def sales(events: DataFrame) -> DataFrame:
    """Purchases and refunds."""
    return events.where(f.col("event_type").isin("purchase", "refund"))


def orders(events: DataFrame) -> DataFrame:
    """Rows of gold/orders: what each visitor bought and gave back, by order and UTC day."""
    spent = (f.col("price") * f.col("quantity").cast("decimal(10,0)")).cast(data_type(ORDERS.field("gross").kind))
    nothing = f.lit(0).cast(data_type(ORDERS.field("gross").kind))
    bought = f.col("event_type") == "purchase"
    by_day = sales(events).groupBy("visitor_id", "order_id", f.col("event_date").alias("order_date"))
    return (
        by_day.agg(
            f.count_if(bought).alias("lines"),
            f.sum(f.when(bought, f.col("quantity").cast("long")).otherwise(f.lit(0).cast("long"))).alias("units"),
            f.sum(f.when(bought, spent).otherwise(nothing)).alias("gross"),
            f.sum(f.when(~bought, spent).otherwise(nothing)).alias("refunded"),
            f.max(f.when(bought, f.col("event_ms"))).alias("last_purchase"),
        )
        .withColumn("order_month", month_of("order_date"))
        .select(*ORDERS.names)
        .hint("rebalance", f.col("order_month"))
    )


def month_of(column: str) -> Column:
    """A date's month, as 2026-11."""
    return f.substring(f.col(column).cast("string"), 1, 7)


def figures(rows: DataFrame) -> DataFrame:
    """Per visitor with a purchase, from rows of gold/orders: last one, distinct orders, money spent and refunded."""
    found = rows.groupBy("visitor_id").agg(
        f.max("last_purchase").alias("last_purchase"),
        f.count_distinct(f.when(f.col("lines") > 0, f.col("order_id"))).alias("frequency"),
        f.sum("gross").alias("monetary"),
        f.sum("refunded").alias("refunded"),
    )
    return found.where(f.col("last_purchase").isNotNull())


def at_cut(found: DataFrame, cut_ms: int) -> DataFrame:
    """The figures with whole days since the last purchase, and what is left net."""
    return found.select(
        "visitor_id",
        f.lit(cut_ms).cast("long").alias("cut_ms"),
        f.floor((f.lit(cut_ms) - f.col("last_purchase")) / DAY_MS).cast("int").alias("recency_days"),
        "frequency",
        f.col("monetary").cast("decimal(38,4)").alias("monetary"),
        f.col("refunded").cast("decimal(38,4)").alias("refunded"),
        (f.col("monetary") - f.col("refunded")).cast("decimal(38,4)").alias("net"),
        "last_purchase",
    )


def scored(rfm: DataFrame) -> DataFrame:
    """Add scores from 1 to 5: how many fifths of the visitors a figure leaves behind."""
    measures = ("recency_days", "frequency", "monetary")
    borders = rfm.agg(
        *(f.percentile(f.col(m).cast("double"), f.array(*map(f.lit, FIFTHS))).alias(f"{m}_") for m in measures)
    )

    def above(measure: str) -> Column:
        value = f.col(measure).cast("double")
        return reduce(add, ((value > f.col(f"{measure}_")[i]).cast("int") for i in range(len(FIFTHS))))

    return rfm.crossJoin(f.broadcast(borders)).select(
        *rfm.columns,
        (f.lit(5) - above("recency_days")).alias("r_score"),
        (f.lit(1) + above("frequency")).alias("f_score"),
        (f.lit(1) + above("monetary")).alias("m_score"),
    )


def update_orders(lake: Lake, now: Seen) -> int:
    """Bring gold/orders up to the cut; returns the rows written."""
    before = seen(lake, "gold/orders")
    if before == now:
        return 0
    if before is None or not reaches(before, now):
        return lake.replace("gold/orders", orders(counted(lake, now)), mark=now.mark).inserted
    days = days_of(sales(touched(lake, before, now)))
    months = {str(day)[:7] for day in days}
    rows = orders_of_months(lake.read("gold/orders"), orders(on_days(counted(lake, now), days)), months, days)
    return lake.replace("gold/orders", rows, where=one_of("order_month", months), mark=now.mark).inserted


def orders_of_months(old: DataFrame, made: DataFrame, months: set[str], days: set[date]) -> DataFrame:
    """All rows of these months: the old ones but those of the recomputed days, and these."""
    kept = old.where(f.expr(one_of("order_month", months)) & ~f.expr(one_of("order_date", days)))
    return kept.unionByName(made)


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Bring orders and RFM up to the cut."""
    lake = Lake(spark, args.lake)
    now = wanted(lake, args.cut)
    written = update_orders(lake, now)
    before = seen(lake, "gold/rfm")
    if before == now:
        return {"orders": written, "visitors": 0, "changed": 0}
    every = lake.read("gold/orders")
    if before is None or not reaches(before, now):
        found, changed = figures(every), None
    else:
        changed = sales(touched(lake, before, now)).select("visitor_id").distinct()
        changed = changed.persist(StorageLevel.MEMORY_AND_DISK)
        old = lake.read("gold/rfm").select("visitor_id", "last_purchase", "frequency", "monetary", "refunded")
        found = figures(every.join(changed, "visitor_id", how="left_semi")).unionByName(
            old.join(changed, "visitor_id", how="left_anti")
        )
    try:
        told = None if changed is None else changed.count()
        visitors = lake.replace("gold/rfm", scored(at_cut(found, args.cut)), mark=now.mark).inserted
        return {"orders": written, "visitors": visitors, "changed": visitors if told is None else told}
    finally:
        if changed is not None:
            changed.unpersist()


if __name__ == "__main__":
    run(main, Args)
