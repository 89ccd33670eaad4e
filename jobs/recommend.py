"""Recommend: the best items of every visitor by the model, packed, and the most similar items of every item.

A visitor's vector is the fold-in of the whole history, which is what MLlib's own user factors are; scores are one
matrix product per chunk of visitors in Spark's workers, against item factors that each worker gets once.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark import Broadcast
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from common.embedding import ItemFactors, fold_in_arrays, load_model, pack_recommendations, top_items
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.before import events_before
from jobs.spark.interactions import item_events
from jobs.spark.models import newest_model
from jobs.spark.run import run
from jobs.spark.tables import Lake

CHUNK = 512
"""Visitors scored at once: bounds the matrix of their scores."""


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Make every visitor's list and every item's similar items."""

    top: Annotated[int, Field(ge=1, le=1000)] = 100
    """Items in a visitor's list."""

    similar: Annotated[int, Field(ge=1, le=1000)] = 50
    """Similar items of an item."""

    exclude_purchased: bool = True
    """Leave out what the visitor has already bought."""


def histories(weighed: DataFrame) -> DataFrame:
    """One row a visitor: the items shown interest in, their summed weights, and whether each was bought."""
    pairs = weighed.groupBy("visitor_id", "item_id").agg(
        f.sum("weight").alias("weight"), f.max(f.col("event_type") == "purchase").alias("bought")
    )
    return pairs.groupBy("visitor_id").agg(f.collect_list(f.struct("item_id", "weight", "bought")).alias("items"))


def recommended(visitors: DataFrame, model: Broadcast[ItemFactors], top: int, exclude_purchased: bool) -> DataFrame:
    """visitor_id and its packed list; visitors of whose items the model knows none are left out."""

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        factors = model.value
        for whole in batches:
            for start in range(0, whole.num_rows, CHUNK):
                batch = whole.slice(start, CHUNK)
                lists = batch.column("items")
                lengths = np.diff(lists.offsets.to_numpy())
                cells = lists.flatten()
                users = np.repeat(np.arange(batch.num_rows), lengths)
                items = factors.indexes(cells.field("item_id").to_pylist())
                weights = cells.field("weight").to_numpy(zero_copy_only=False).astype(np.float64)
                folded = fold_in_arrays(factors, batch.num_rows, users, items, weights)
                left_out: list[Any] = [np.empty(0, dtype=np.int64)] * batch.num_rows
                if exclude_purchased:
                    bought = cells.field("bought").to_numpy(zero_copy_only=False).astype(bool) & (items >= 0)
                    left_out = [items[bought & (users == user)] for user in range(batch.num_rows)]
                best = top_items(folded.vectors.astype(np.float32) @ factors.factors.T, top, left_out)
                known = np.flatnonzero(folded.known)
                blobs = [pack_recommendations(*best[user]) for user in known]
                ids = batch.column("visitor_id").take(pa.array(known))
                yield pa.RecordBatch.from_arrays(
                    [ids, pa.array(blobs, pa.binary())], names=["visitor_id", "recommendations"]
                )

    return visitors.mapInArrow(score, "visitor_id string, recommendations binary")


def similar_items(model: ItemFactors, top: int) -> list[tuple[str, bytes]]:
    """The packed list of the items nearest to each by cosine, itself left out; none for an item without factors."""
    found = []
    for start in range(0, len(model.item_ids), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(model.item_ids)))
        best = top_items(model.unit[rows] @ model.unit.T, top, [np.array([row]) for row in rows])
        for row, (indexes, scores) in zip(rows, best, strict=True):
            if model.factors[row].any():
                found.append((model.item_ids[row], pack_recommendations(indexes, scores)))
    return found


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Recommend with the newest model up to the cut."""
    lake = Lake(spark, args.lake)
    folder, manifest = newest_model(args.lake, args.cut)
    model = load_model(folder)
    shared = spark.sparkContext.broadcast(model)
    weighed = item_events(events_before(lake, args.cut), args.cut)
    lists = recommended(histories(weighed), shared, args.top, args.exclude_purchased).withColumns(
        {"cut_ms": f.lit(args.cut).cast("long"), "model_version": f.lit(manifest.model_version)}
    )
    visitors = lake.replace("gold/recommendations", lists).inserted
    shared.unpersist()
    near = spark.createDataFrame(similar_items(model, args.similar), "item_id string, similar binary")
    items = lake.read("silver/items").join(near, "item_id", how="left")
    items = items.withColumn("model_version", f.lit(manifest.model_version))
    return {
        "model_version": manifest.model_version,
        "visitors": visitors,
        "items": lake.replace("gold/items", items.coalesce(1)).inserted,
    }


if __name__ == "__main__":
    run(main, Args)
