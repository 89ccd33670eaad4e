"""Seconds for the 100 best of 8,000 items for 40,000 visitors, rank 64: MLlib's ``recommendForAllUsers`` over ours."""

import sys
from typing import Any

import numpy as np
from pyspark.ml.recommendation import ALSModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from benchmarks.harness import median, report, say, side_by_side
from jobs.spark.session import local_session
from jobs.spark.topk import item_blocks, top_k
from local.jars import fetch

VISITORS, ITEMS, RANK, K = 40_000, 8_000, 64, 100
BLOCK_SIZES = (4096, 16384)
"""MLlib's default block size and a larger one; smaller ones are slower. Its fastest is the comparator."""


def main() -> int:
    """Run the benchmark."""
    # The JVM compiles as it does by default, unlike in short sessions: the comparator computes in it.
    spark = local_session("topk", fetch("delta"), memory="4g", settings={"spark.driver.extraJavaOptions": "-server"})
    rng = np.random.default_rng(42)
    users = rng.normal(size=(VISITORS, RANK)).astype(np.float32)
    items = rng.normal(size=(ITEMS, RANK)).astype(np.float32)

    def factors(rows: np.ndarray) -> DataFrame:
        listed = [(i, row.tolist()) for i, row in enumerate(rows)]
        frame = spark.createDataFrame(listed, "id int, features array<float>").repartition(2).persist()
        frame.count()
        return frame

    user_factors, item_factors = factors(users), factors(items)
    visitors = user_factors.select(
        "id", f.col("features").alias("vector"), f.lit(None).cast("array<int>").alias("left_out")
    )
    jvm: Any = spark._jvm
    java = jvm.org.apache.spark.ml.recommendation.ALSModel("als", RANK, user_factors._jdf, item_factors._jdf)
    java.setUserCol("id").setItemCol("item")

    def mllib(block_size: int) -> DataFrame:
        return ALSModel(java.setBlockSize(block_size)).recommendForAllUsers(K)

    def stored(frame: DataFrame) -> None:
        frame.write.format("noop").mode("overwrite").save()

    def ours() -> DataFrame:
        return top_k(visitors, blocks, K, key="id")

    with item_blocks(spark, items) as blocks:
        same = agreement(ours(), mllib(4096))
        say(f"the lists agree for {same:.4%} of the visitors")
        contenders = {f"mllib_{size}": lambda size=size: stored(mllib(size)) for size in BLOCK_SIZES}
        raw = side_by_side({"ours": lambda: stored(ours()), **contenders})
    spark.stop()
    medians = {name: median(values) for name, values in raw.items()}
    best = min(contenders, key=lambda name: medians[name])
    report(
        "topk",
        round(medians[best] / medians["ours"], 2),
        "times faster",
        "higher",
        f"ALSModel.recommendForAllUsers, its fastest block size of {', '.join(map(str, BLOCK_SIZES))}: {best[6:]}",
        f"{VISITORS:,} visitors x {ITEMS:,} items, rank {RANK}, k = {K}, random normal factors; both read the same "
        "cached factors and write every list to no sink; local[2]; a warm-up, then the median of 3 rounds in turn",
        seconds=raw,
        same_lists=same,
    )
    return 0


def agreement(ours: DataFrame, theirs: DataFrame) -> float:
    """The part of the visitors whose lists hold the same items; others may differ by one, rounded otherwise."""
    both = ours.join(theirs, "id", "inner").select(
        f.size(f.array_intersect("items", f.col("recommendations.item"))).alias("common")
    )
    row = both.agg(f.count("*").alias("n"), f.avg((f.col("common") == K).cast("int")), f.min("common")).first()
    assert row is not None and row["n"] == VISITORS and row[2] >= K - 1, row
    return float(row[1])


if __name__ == "__main__":
    sys.exit(main())
