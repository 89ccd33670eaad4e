"""MLlib's ALS on pairs of visitor and item, by a recipe: the one fit that training, tuning and benchmarks share."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from common.errors import IncompleteInput

Mode = Literal["implicit", "explicit"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a fit hangs on besides its data."""

    mode: Mode = "implicit"
    """implicit: a weight says how sure it is that the visitor likes the item; explicit: it is the rating to be met."""
    rank: int = 32
    """Length of an item's factor vector."""
    iterations: int = 10
    """Alternations of the least squares."""
    reg: float = 0.05
    """Regularisation; MLlib scales it by each visitor's number of items."""
    alpha: float = 10.0
    """How fast confidence grows with an item's summed weight: c = 1 + alpha r; of no effect where explicit."""
    seed: int = 42
    """Seed of the first factors."""


@dataclass(frozen=True)
class Ratings:
    """Pairs with ids as numbers; all frames are kept in memory until :meth:`forget`."""

    visitors: DataFrame
    """visitor_id, user (int, the id's place in order)"""
    item_ids: list[str]
    """The items in order: an item's index is its place."""
    rated: DataFrame
    """user, item (int), rating (float)"""

    @property
    def items(self) -> DataFrame:
        """item_id, item (int)."""
        return _index(self.rated.sparkSession, self.item_ids)

    def forget(self) -> None:
        """Let the memory go."""
        self.visitors.unpersist()
        self.rated.unpersist()


@dataclass(frozen=True)
class Fit:
    """A fitted model: the factors of both sides."""

    item_factors: NDArray[np.float32]
    """(items, rank)"""
    user_factors: DataFrame
    """id (int), features"""


def number(spark: SparkSession, pairs: DataFrame) -> Ratings:
    """Number the ids of (visitor_id, item_id, weight), each pair once; raises IncompleteInput where there is none."""
    items = sorted(row[0] for row in pairs.select("item_id").distinct().collect())
    if not items:
        raise IncompleteInput("no event before the cut says anything about an item: import history first")
    visitors = _numbered(pairs.select("visitor_id").distinct(), "visitor_id")
    visitors = visitors.withColumnRenamed("place", "user").persist()
    rated = (
        pairs.join(visitors, "visitor_id", how="inner")
        .join(f.broadcast(_index(spark, items)), "item_id", how="inner")
        .select("user", "item", f.col("weight").cast("float").alias("rating"))
        .persist()
    )
    return Ratings(visitors, items, rated)


def _index(spark: SparkSession, item_ids: list[str]) -> DataFrame:
    """item_id and item, its place."""
    return spark.createDataFrame(list(zip(item_ids, range(len(item_ids)), strict=True)), "item_id string, item int")


def _numbered(frame: DataFrame, column: str) -> DataFrame:
    """The column's values with their ``place`` in order, from 0: sorted in parts, each begun where the last ended."""
    of_part = f.monotonically_increasing_id().bitwiseAND((1 << 33) - 1)
    parts = frame.select(column).orderBy(column).withColumns({"_part": f.spark_partition_id(), "_at": of_part})
    parts = parts.localCheckpoint()
    begin, begins = 0, []
    for row in parts.groupBy("_part").count().orderBy("_part").collect():
        begins += [f.lit(row["_part"]), f.lit(begin)]
        begin += row["count"]
    first = f.create_map(*begins)[f.col("_part")]
    return parts.select(column, (first + f.col("_at")).cast("int").alias("place"))


def fit(ratings: Ratings, recipe: Recipe, blocks: int) -> Fit:
    """Fit ALS in ``blocks`` blocks of visitors and of items, about as many as cores.

    The context needs a checkpoint directory: the lineage is cut every few iterations, or the stack of a long fit
    overflows.
    """
    als = ALS(
        rank=recipe.rank,
        maxIter=recipe.iterations,
        regParam=recipe.reg,
        alpha=recipe.alpha,
        implicitPrefs=recipe.mode == "implicit",
        numUserBlocks=blocks,
        numItemBlocks=blocks,
        seed=recipe.seed,
        userCol="user",
        itemCol="item",
        ratingCol="rating",
        checkpointInterval=5,
        intermediateStorageLevel="MEMORY_AND_DISK",
        finalStorageLevel="MEMORY_AND_DISK",
    )
    model = als.fit(ratings.rated)
    factors = np.zeros((len(ratings.item_ids), recipe.rank), dtype=np.float32)
    found: pd.DataFrame = model.itemFactors.toPandas()
    factors[found["id"].to_numpy()] = np.stack(found["features"].to_list())
    return Fit(factors, model.userFactors)
