"""Recommend: the best items of every visitor by the model, packed, and the most similar items of every item.

A visitor's vector is the fold-in of the whole history, which is what MLlib's own user factors are; the best items are
found by matrix products in Spark's workers (jobs.spark.topk).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass
from pyspark import Broadcast
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from common.contracts.events import EVENT_TYPES
from common.embedding import ItemFactors, fold_in_arrays, load_model, pack_recommendations
from common.ranking import Cells, best_products
from jobs.spark.args import ARGUMENTS, JobArgs, Names
from jobs.spark.before import events_before
from jobs.spark.interactions import item_events
from jobs.spark.models import newest_model
from jobs.spark.run import run
from jobs.spark.tables import Lake
from jobs.spark.topk import item_blocks, top_k

SIMILAR_ROWS = 4_096
"""Items whose neighbours are found at once."""


def _event_types(names: tuple[str, ...]) -> tuple[str, ...]:
    unknown = sorted(set(names) - EVENT_TYPES)
    if unknown:
        raise ValueError(f"{', '.join(unknown)} is no event type; there are {', '.join(sorted(EVENT_TYPES))}")
    return names


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Make every visitor's list and every item's similar items."""

    top: Annotated[int, Field(ge=1, le=1000)] = 100
    """Items in a visitor's list."""

    similar: Annotated[int, Field(ge=1, le=1000)] = 50
    """Similar items of an item."""

    leave_out: Annotated[Names, AfterValidator(_event_types)] = ("purchase",)
    """Event types whose items a visitor has already: they are left out of the list."""


def histories(weighed: DataFrame, leave_out: Sequence[str]) -> DataFrame:
    """One row a visitor: the items shown interest in, their summed weights, and whether each is had already."""
    pairs = weighed.groupBy("visitor_id", "item_id").agg(
        f.sum("weight").alias("weight"), f.max(f.col("event_type").isin(*leave_out)).alias("had")
    )
    return pairs.groupBy("visitor_id").agg(f.collect_list(f.struct("item_id", "weight", "had")).alias("items"))


def folded(visitors: DataFrame, model: Broadcast[ItemFactors]) -> DataFrame:
    """visitor_id, its vector, and the item indexes to leave out; visitors of whose items the model knows none are not
    among them."""

    def fold(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        factors = model.value
        for batch in batches:
            if not batch.num_rows:
                continue
            lists = batch.column("items")
            history = lists.flatten()
            users = np.repeat(np.arange(batch.num_rows), np.asarray(lists.value_lengths()))
            items = factors.indexes(history.field("item_id").to_pylist())
            weights = history.field("weight").to_numpy(zero_copy_only=False).astype(np.float64)
            result = fold_in_arrays(factors, batch.num_rows, users, items, weights)
            had = history.field("had").to_numpy(zero_copy_only=False).astype(bool) & (items >= 0)
            counts = np.bincount(users[had], minlength=batch.num_rows)
            vectors = result.vectors.astype(np.float32)
            made = pa.RecordBatch.from_arrays(
                [
                    batch.column("visitor_id"),
                    _lists(np.full(batch.num_rows, factors.dimension), pa.array(vectors.ravel(), pa.float32())),
                    _lists(counts, pa.array(items[had], pa.int32())),
                ],
                names=["visitor_id", "vector", "left_out"],
            )
            yield made.filter(pa.array(result.known > 0))

    return visitors.mapInArrow(fold, "visitor_id string, vector array<float>, left_out array<int>")


def _lists(lengths: NDArray[Any], values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32()), values)


def packed(lists: DataFrame) -> DataFrame:
    """visitor_id and its packed list."""

    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            blobs = [
                pack_recommendations(items.values.to_numpy(), scores.values.to_numpy())
                for items, scores in zip(batch.column("items"), batch.column("scores"), strict=True)
            ]
            yield pa.RecordBatch.from_arrays(
                [batch.column("visitor_id"), pa.array(blobs, pa.binary())], names=["visitor_id", "recommendations"]
            )

    return lists.mapInArrow(pack, "visitor_id string, recommendations binary")


def similar_items(model: ItemFactors, top: int) -> list[tuple[str, bytes]]:
    """The packed list of the items nearest to each by cosine, itself left out; none for an item without factors."""
    found = []
    for start in range(0, len(model.item_ids), SIMILAR_ROWS):
        rows = np.arange(start, min(start + SIMILAR_ROWS, len(model.item_ids)))
        best = best_products(model.unit[rows], model.unit, top, Cells(rows - start, rows))
        for row in rows[model.factors[rows].any(axis=1)]:
            found.append((model.item_ids[row], pack_recommendations(*best.row(int(row) - start))))
    return found


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Recommend with the newest model up to the cut."""
    lake = Lake(spark, args.lake)
    folder, manifest = newest_model(args.lake, args.cut)
    model = load_model(folder)
    shared = spark.sparkContext.broadcast(model)
    weighed = item_events(events_before(lake, args.cut), args.cut)
    vectors = folded(histories(weighed, args.leave_out), shared)
    with item_blocks(spark, model.factors) as blocks:
        if len(blocks) > 1:
            vectors = vectors.persist()
        lists = packed(top_k(vectors, blocks, args.top)).withColumns(
            {"cut_ms": f.lit(args.cut).cast("long"), "model_version": f.lit(manifest.model_version)}
        )
        visitors = lake.replace("gold/recommendations", lists).inserted
        vectors.unpersist()
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
