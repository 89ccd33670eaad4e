"""Ranked lists judged in Spark: the figures of common.ranking_metrics for each ranking and each group of visitors."""

import math

from pyspark.sql import DataFrame
from pyspark.sql import functions as f

ALL = "all"
"""The group of all visitors."""


def ranking_metrics(
    lists: DataFrame, relevant: DataFrame, popularity: DataFrame, items: int, visitors: int, k: int
) -> DataFrame:
    """A row for each ranking and group: ranking, segment, users and the figures of common.ranking_metrics at ``k``.

    ``lists`` has ranking, visitor_id and items (indexes, best first), for each ranking a row for each visitor of
    ``relevant``, which has visitor_id, relevant (item indexes, at least one) and segments (the names of the groups the
    visitor is in besides :data:`ALL`). ``popularity`` has item and n, how many of the ``visitors`` had it, for each of
    the ``items``. ``lists`` is read twice.
    """
    named = relevant.withColumn("segments", f.concat(f.array(f.lit(ALL)), "segments"))
    seen_by = popularity.select("item", f.greatest("n", f.lit(1)).alias("n"))
    judged = lists.join(named, "visitor_id", "inner").withColumn("items", f.slice("items", 1, k))
    groups = ("ranking", "segment")
    accuracy = _accuracy(judged, items, k).groupBy(*groups).agg(f.count("*").alias("users"), *map(_mean, _ACCURACY))
    listed = (
        judged.select("ranking", f.explode("segments").alias("segment"), "items")
        .select(*groups, f.explode("items").alias("item"))
        .join(seen_by, "item", "inner")
        .groupBy(*groups)
        .agg(
            (f.count_distinct("item") / items).alias("coverage"),
            f.avg(-f.log2(f.col("n") / visitors)).alias("novelty"),
            f.avg("n").alias("_listed"),
        )
    )
    taken = (
        named.select(f.explode("segments").alias("segment"), "relevant")
        .select("segment", f.explode("relevant").alias("item"))
        .join(seen_by, "item", "inner")
        .groupBy("segment")
        .agg(f.avg("n").alias("_taken"))
    )
    bias = f.when(f.col("_listed").isNull(), 0.0).otherwise(f.col("_listed") / f.col("_taken") - 1)
    return (
        accuracy.join(listed, list(groups), "left")
        .join(taken, "segment", "left")
        .select(
            *groups,
            "users",
            *_ACCURACY,
            *(f.coalesce(f.col(name), f.lit(0.0)).alias(name) for name in ("coverage", "novelty")),
            bias.alias("popularity_bias"),
        )
    )


_ACCURACY = ("precision", "recall", "f1", "auc", "ndcg", "map")


def _mean(name: str) -> f.Column:
    return f.avg(name).alias(name)


def _accuracy(judged: DataFrame, items: int, k: int) -> DataFrame:
    """ranking, segment and the figures of each visitor, a row for each group it is in."""
    discounts = [1 / math.log2(place + 2) for place in range(k)]
    ideals = [math.fsum(discounts[: n + 1]) for n in range(k)]
    of_k = f.least(f.size("relevant"), f.lit(k))
    zero = f.lit(0.0)
    hits = f.transform("items", lambda item: f.array_contains("relevant", item).cast("double"))
    gain = f.zip_with("hits", f.slice(f.array(*map(f.lit, discounts)), 1, f.size("hits")), lambda hit, d: hit * d)
    so_far = f.struct(*(zero.alias(name) for name in ("found", "sum", "above", "place")))

    def step(at: f.Column, hit: f.Column) -> f.Column:
        found, place = at["found"] + hit, at["place"] + 1
        return f.struct(
            found.alias("found"),
            (at["sum"] + hit * found / place).alias("sum"),
            (at["above"] + (1 - hit) * found).alias("above"),
            place.alias("place"),
        )

    found, wanted = f.col("down.found"), f.size("relevant")
    others = f.greatest(items - wanted, f.lit(1))
    left = 1 - (f.col("down.place") - found) / others
    return (
        judged.withColumn("hits", hits)
        .withColumn("down", f.aggregate("hits", so_far, step))
        .select(
            "ranking",
            f.explode("segments").alias("segment"),
            (found / k).alias("precision"),
            (found / wanted).alias("recall"),
            (2 * found / (k + wanted)).alias("f1"),
            (f.col("down.above") / (wanted * others) + left * (found / wanted + 1) / 2).alias("auc"),
            (f.aggregate(gain, zero, lambda a, b: a + b) / f.element_at(f.array(*map(f.lit, ideals)), of_k)).alias(
                "ndcg"
            ),
            (f.col("down.sum") / of_k).alias("map"),
        )
    )
