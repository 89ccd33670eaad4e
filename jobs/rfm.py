"""Recency, frequency and monetary value at the cut, with scores by fifths.

A score is by value: visitors with equal figures have equal scores, whatever the order of rows.
"""

from functools import reduce
from operator import add
from typing import Any

from pydantic.dataclasses import dataclass
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from common.features.windows import DAY_MS
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.before import events_before
from jobs.spark.run import run
from jobs.spark.tables import Lake

FIFTHS = (0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Compute RFM at the cut."""


def figures(events: DataFrame, cut_ms: int) -> DataFrame:
    """Per visitor with a purchase before the cut: whole days since the last, distinct orders, money spent."""
    spent = f.col("price") * f.col("quantity").cast("decimal(10,0)")
    bought = events.where((f.col("event_type") == "purchase") & (f.col("event_ms") < cut_ms))
    return bought.groupBy("visitor_id").agg(
        f.floor((f.lit(cut_ms) - f.max("event_ms")) / DAY_MS).cast("int").alias("recency_days"),
        f.count_distinct("order_id").alias("frequency"),
        f.sum(spent.cast("decimal(38,4)")).alias("monetary"),
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


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Compute RFM over silver's purchases before the cut."""
    lake = Lake(spark, args.lake)
    rfm = scored(figures(events_before(lake, args.cut), args.cut)).withColumn("cut_ms", f.lit(args.cut).cast("long"))
    return {"visitors": lake.replace("gold/rfm", rfm.coalesce(1)).inserted}


if __name__ == "__main__":
    run(main, Args)
