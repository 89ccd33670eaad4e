"""Which items are like which: by the visitors who took up both, and by what the catalogue says of them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pyspark.ml.feature import IDF, HashingTF, Normalizer
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as f

from common.contracts.events import UNKNOWN_CATEGORY
from common.hybrid import Neighbours
from jobs.spark.topk import item_blocks, top_k

COOCCURRENCE, CONTENT = "cooccurrence", "content"
"""The sources."""

NEAREST = 50
"""Neighbours kept of an item."""

MOST_ITEMS = 200
"""Items of a visitor that count together: pairs grow with their square. Those with the greatest weights are taken."""

SHRINKAGE = 10.0
"""Visitors in common by which a likeness is halved: few in common say little."""

POPULARITY = 0.5
"""How far the neighbour's popularity is divided out: 1 gives the lift, 0 the conditional probability."""

FEATURES = 512
"""Dimensions that the words about an item are hashed to."""


def cooccurrence(pairs: DataFrame, n: int = NEAREST) -> DataFrame:
    """item_id, near_id, score: the ``n`` items most often taken up by those who took up the item.

    With c visitors in common, of a, b and all of v visitors the score is (c / a) / (b / v)^p · c / (c + s): a lift
    that is damped by p, :data:`POPULARITY`, and shrunk by s, :data:`SHRINKAGE`. ``pairs`` has visitor_id,
    item_id and weight.
    """
    strongest = Window.partitionBy("visitor_id").orderBy(f.col("weight").desc(), "item_id")
    baskets = pairs.withColumn("_place", f.row_number().over(strongest)).where(f.col("_place") <= MOST_ITEMS)
    baskets = baskets.select("visitor_id", "item_id").persist()
    taken = baskets.groupBy("item_id").agg(f.count("*").alias("n"))
    visitors = baskets.select("visitor_id").distinct().count()
    # Each pair is counted once and stands in both directions then.
    counted = (
        baskets.join(baskets.withColumnRenamed("item_id", "near_id"), "visitor_id", "inner")
        .where(f.col("item_id") < f.col("near_id"))
        .groupBy("item_id", "near_id")
        .agg(f.count("*").cast("double").alias("c"))
        .persist()
    )
    together = counted.unionByName(
        counted.select(f.col("near_id").alias("item_id"), f.col("item_id").alias("near_id"), "c")
    )
    lift = f.col("c") / f.col("a") / f.pow(f.col("b") / float(max(1, visitors)), f.lit(POPULARITY))
    scored = (
        together.join(taken.withColumnRenamed("n", "a"), "item_id", "inner")
        .join(taken.select(f.col("item_id").alias("near_id"), f.col("n").alias("b")), "near_id", "inner")
        .select("item_id", "near_id", (lift * f.col("c") / (f.col("c") + SHRINKAGE)).alias("score"))
    )
    best = Window.partitionBy("item_id").orderBy(f.col("score").desc(), "near_id")
    found = scored.withColumn("_place", f.row_number().over(best)).where(f.col("_place") <= n).drop("_place")
    found = found.localCheckpoint()
    counted.unpersist()
    baskets.unpersist()
    return found


def content(items: DataFrame, n: int = NEAREST) -> DataFrame:
    """item_id, near_id, score: the ``n`` items nearest by the cosine of their TF-IDF vectors, above 0.

    ``items`` has item_id, title, category, price. Words are those of the title, each step of the category's path, and
    the price's band, of which there are two to a doubling.
    """
    spark = items.sparkSession
    if items.isEmpty():  # a model of word frequencies has to see some
        return spark.createDataFrame([], "item_id string, near_id string, score double")
    steps = f.split("category", r"\.")
    paths = f.transform(
        f.sequence(f.lit(1), f.size(steps)),
        lambda depth: f.concat(f.lit("in:"), f.array_join(f.slice(steps, 1, depth), ".")),
    )
    words = f.filter(f.split(f.lower("title"), r"[^\p{L}\p{N}]+"), lambda word: f.length(word) > 1)
    band = f.when(
        f.col("price") > 0, f.concat(f.lit("at:"), f.round(2 * f.log2(f.col("price").cast("double"))).cast("int"))
    )
    described = items.select(
        "item_id",
        f.concat(
            words,
            f.when(f.col("category") == UNKNOWN_CATEGORY, f.array().cast("array<string>")).otherwise(paths),
            f.array_compact(f.array(band)),
        ).alias("words"),
    ).orderBy("item_id")
    counted = HashingTF(inputCol="words", outputCol="counts", numFeatures=FEATURES).transform(described)
    weighted = IDF(inputCol="counts", outputCol="weighted").fit(counted).transform(counted)
    unit = Normalizer(inputCol="weighted", outputCol="unit").transform(weighted)
    rows: pd.DataFrame = unit.select("item_id", vector_to_array(f.col("unit"), "float32").alias("vector")).toPandas()
    vectors = np.stack(rows["vector"].to_list()).astype(np.float32)
    ids = rows["item_id"].to_list()
    numbered = spark.createDataFrame(
        pd.DataFrame({"item": np.arange(len(ids), dtype=np.int32), "vector": list(vectors)}),
        "item int, vector array<float>",
    ).withColumn("left_out", f.array("item"))
    with item_blocks(spark, vectors) as blocks:
        near: pd.DataFrame = top_k(numbered, blocks, n, key="item").toPandas()
    cells = pd.DataFrame(
        {
            "item_id": [ids[i] for i in np.repeat(near["item"].to_numpy(), near["items"].map(len))],
            "near_id": [ids[i] for row in near["items"] for i in row],
            "score": [float(score) for row in near["scores"] for score in row],
        }
    )
    return spark.createDataFrame(cells[cells["score"] > 0], "item_id string, near_id string, score double")


def as_arrays(found: DataFrame, item_ids: Sequence[str], n: int = NEAREST) -> Neighbours:
    """item_id, near_id, score by the indexes of ``item_ids``, best first; other items are left out."""
    index = {item_id: i for i, item_id in enumerate(item_ids)}
    rows: pd.DataFrame = found.select("item_id", "near_id", "score").toPandas()
    rows["item"], rows["near"] = rows["item_id"].map(index), rows["near_id"].map(index)
    rows = rows.dropna(subset=["item", "near"]).sort_values(["item", "score", "near"], ascending=[True, False, True])
    items, place = rows["item"].to_numpy(np.int64), rows.groupby("item").cumcount().to_numpy()
    neighbours = Neighbours(np.full((len(item_ids), n), -1, np.int32), np.zeros((len(item_ids), n), np.float32))
    kept = place < n
    neighbours.items[items[kept], place[kept]] = rows["near"].to_numpy(np.int32)[kept]
    neighbours.scores[items[kept], place[kept]] = rows["score"].to_numpy(np.float32)[kept]
    return neighbours
