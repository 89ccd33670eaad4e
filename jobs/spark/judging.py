"""Judging fits by what visitors took up later: who is asked, the lists they would have got, the figures."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as f

from common.errors import IncompleteInput
from common.hybrid import Neighbours
from jobs.spark.als import Fit, Mode, Ratings
from jobs.spark.evaluation import ranking_metrics
from jobs.spark.hybrid import blended_lists
from jobs.spark.topk import item_blocks, top_k

TOP = 10
"""Length of the lists that are judged."""

BANDS = (5, 20)
"""Numbers of items before the split from which a visitor is of the next group: few, some, many."""


def split_instant(weighed: DataFrame, fraction: float) -> int:
    """The instant from which the newest ``fraction`` of the events lies."""
    row = weighed.agg(f.percentile_approx("event_ms", 1 - fraction, 10_000).alias("at")).first()
    if row is None or row["at"] is None:
        raise IncompleteInput("no event before the cut says anything about an item: import history first")
    return int(row["at"])


def liked(test: DataFrame, train: Ratings, mode: Mode) -> DataFrame:
    """The events of the test that speak for an item: all, or where explicit those whose rating is not below the mean of
    the ratings before the split."""
    if mode == "implicit":
        return test
    mean = train.rated.agg(f.avg("rating").alias("mean"))
    return test.join(f.broadcast(mean), f.col("weight") >= f.col("mean"), "left_semi")


def judged_visitors(train: Ratings, test: DataFrame, segments: DataFrame, limit: int) -> DataFrame:
    """Whom a fit is judged by: visitors who took up something after the split that they had not before.

    visitor_id, user, left_out (the item indexes known before) and their weights, relevant (those taken up after) and
    segments: how many items were known, and the visitor's segment where it has one. Items that the fit has not seen
    can't be ranked and are no part of it. At most ``limit`` visitors, chosen by their ids' hash.
    """
    history = f.sort_array(f.collect_list(f.struct("item", f.col("rating").cast("double").alias("weight"))))
    seen = train.rated.groupBy("user").agg(history.alias("history"))
    seen = seen.select("user", f.col("history.item").alias("left_out"), f.col("history.weight").alias("weights"))
    later = (
        test.select("visitor_id", "item_id")
        .join(f.broadcast(train.items), "item_id", "inner")
        .groupBy("visitor_id")
        .agg(f.sort_array(f.collect_set("item")).alias("later"))
    )
    few, many = BANDS
    known = f.size("left_out")
    band = (
        f.when(known < few, f"fewer than {few} items")
        .when(known < many, f"{few} to {many - 1} items")
        .otherwise(f"{many} items or more")
    )
    return (
        later.join(train.visitors, "visitor_id", "inner")
        .join(seen, "user", "inner")
        .withColumn("relevant", f.array_except("later", "left_out"))
        .where(f.size("relevant") > 0)
        .orderBy(f.xxhash64("visitor_id"))
        .limit(limit)
        .join(segments.select("visitor_id", "segment"), "visitor_id", "left")
        .withColumn("segments", f.array_compact(f.array(band, "segment")))
        .select("visitor_id", "user", "left_out", "weights", "relevant", "segments")
    )


def popularity_of(train: Ratings) -> DataFrame:
    """item and n, the visitors that had it."""
    return train.rated.groupBy("item").agg(f.count("*").alias("n"))


def with_vectors(fitted: Fit, judged: DataFrame) -> DataFrame:
    """The judged visitors with ``vector``, theirs in a fit."""
    vectors = fitted.user_factors.select(f.col("id").alias("user"), f.col("features").alias("vector"))
    return judged.join(vectors, "user", "inner")


def lists_of_fit(fitted: Fit, judged: DataFrame, ranking: str) -> DataFrame:
    """ranking, visitor_id and items: the fit's best."""
    with item_blocks(judged.sparkSession, fitted.item_factors) as blocks:
        return _named(top_k(with_vectors(fitted, judged), blocks, TOP), ranking)


def lists_of_popularity(train: Ratings, judged: DataFrame, ranking: str) -> DataFrame:
    """ranking, visitor_id and items: the most popular, by a model of one factor that is the same for all."""
    counts: pd.DataFrame = popularity_of(train).toPandas()
    popularity = np.zeros(len(train.item_ids), np.float32)
    popularity[counts["item"].to_numpy()] = counts["n"].to_numpy()
    alike = judged.withColumn("vector", f.array(f.lit(1.0).cast("float")))
    with item_blocks(judged.sparkSession, popularity[:, None]) as blocks:
        return _named(top_k(alike, blocks, TOP), ranking)


def lists_of_blends(
    fitted: Fit, judged: DataFrame, neighbours: Mapping[str, Neighbours], blends: Mapping[str, Mapping[str, float]]
) -> DataFrame:
    """ranking, visitor_id and items: for each of ``blends`` its weighted sum of sources (jobs.spark.hybrid)."""
    context = judged.sparkSession.sparkContext
    shared = context.broadcast(dict(neighbours))
    visitors = with_vectors(fitted, judged).withColumn("items", f.col("left_out"))
    with item_blocks(judged.sparkSession, fitted.item_factors) as blocks:
        lists = blended_lists(visitors, blocks, shared, blends, TOP).localCheckpoint()
    shared.unpersist()
    return lists.select("ranking", "visitor_id", "items")


def _named(lists: DataFrame, ranking: str) -> DataFrame:
    """The lists, computed while their broadcasts live."""
    return lists.select(f.lit(ranking).alias("ranking"), "visitor_id", "items").localCheckpoint()


def judge(train: Ratings, judged: DataFrame, lists: DataFrame) -> list[Row]:
    """The figures of each ranking of ``lists`` by group, as jobs.spark.evaluation has them."""
    figures = ranking_metrics(lists, judged, popularity_of(train), len(train.item_ids), train.visitors.count(), TOP)
    return figures.collect()
