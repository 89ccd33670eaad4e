"""Recommend: the best items of every visitor by the model, packed, and the most similar items of every item.

A visitor's vector is the fold-in of the whole history, which is what MLlib's own user factors are; the best items are
found by matrix products in Spark's workers (jobs.spark.topk), and blended with items like those of the history by how
accurate each source was when the model was judged (jobs.spark.hybrid).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass
from pyspark import Broadcast
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from common.blend import MODEL, Blend, write_blend
from common.contracts.events import EVENT_TYPES
from common.embedding import ItemFactors, fold_in_arrays, load_model, pack_recommendations
from common.errors import IncompleteInput
from common.hybrid import Neighbours, blended, from_lists, from_neighbours
from common.ranking import Cells, best_products
from jobs.spark.als import Mode
from jobs.spark.args import ARGUMENTS, JobArgs, Names
from jobs.spark.before import events_before
from jobs.spark.cuts import of_this_cut
from jobs.spark.hybrid import blended_lists
from jobs.spark.interactions import item_events, rating
from jobs.spark.models import read_training
from jobs.spark.neighbours import CONTENT, COOCCURRENCE, as_arrays
from jobs.spark.run import run
from jobs.spark.tables import Lake
from jobs.spark.topk import item_blocks
from jobs.spark.tracking import live_model, open_tracking

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

    tracking_uri: str = ""
    """MLflow's tracking server or database, as train_als has it; none to take the newest model."""

    top: Annotated[int, Field(ge=1, le=1000)] = 100
    """Items in a visitor's list."""

    similar: Annotated[int, Field(ge=1, le=1000)] = 50
    """Similar items of an item."""

    leave_out: Annotated[Names, AfterValidator(_event_types)] = ("purchase",)
    """Event types whose items a visitor has already: they are left out of the list."""


def histories(weighed: DataFrame, leave_out: Sequence[str], mode: Mode) -> DataFrame:
    """One row a visitor: the items shown interest in, their summed weights, and whether each is had already.

    Where the mode is explicit the weight is the latest rating, and null of an item that is had and was not rated.
    """
    if mode == "implicit":
        weight = f.sum("weight")
    else:
        weight = f.max_by(rating(), f.when(rating().isNotNull(), f.struct("event_ms", "event_id")))
    pairs = weighed.groupBy("visitor_id", "item_id").agg(
        weight.alias("weight"), f.max(f.col("event_type").isin(*leave_out)).alias("had")
    )
    pairs = pairs.where(f.col("weight").isNotNull() | f.col("had"))
    return pairs.groupBy("visitor_id").agg(f.collect_list(f.struct("item_id", "weight", "had")).alias("items"))


def folded(visitors: DataFrame, model: Broadcast[ItemFactors]) -> DataFrame:
    """visitor_id, its vector, the item indexes to leave out, and its items by index with their weights; visitors of
    whose items the model knows none are not among them."""

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
            known = (items >= 0) & ~np.isnan(weights)
            had = history.field("had").to_numpy(zero_copy_only=False).astype(bool) & (items >= 0)
            vectors = result.vectors.astype(np.float32)
            made = pa.RecordBatch.from_arrays(
                [
                    batch.column("visitor_id"),
                    _lists(np.full(batch.num_rows, factors.dimension), pa.array(vectors.ravel(), pa.float32())),
                    _lists(_counts(users[had], batch.num_rows), pa.array(items[had], pa.int32())),
                    _lists(_counts(users[known], batch.num_rows), pa.array(items[known], pa.int32())),
                    _lists(_counts(users[known], batch.num_rows), pa.array(weights[known], pa.float64())),
                ],
                names=["visitor_id", "vector", "left_out", "items", "weights"],
            )
            yield made.filter(pa.array(result.known > 0))

    told = "visitor_id string, vector array<float>, left_out array<int>, items array<int>, weights array<double>"
    return visitors.mapInArrow(fold, told)


def _counts(rows: NDArray[Any], size: int) -> NDArray[Any]:
    return np.bincount(rows, minlength=size)


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


def similar_items(
    model: ItemFactors, alike: Mapping[str, Neighbours], weights: Mapping[str, float], top: int
) -> list[tuple[str, bytes]]:
    """The packed list of the items most like each, itself left out: nearest by the factors' cosine, and by the other
    sources, each by its weight."""
    found = []
    size = len(model.item_ids)
    for start in range(0, size, SIMILAR_ROWS):
        rows = np.arange(start, min(start + SIMILAR_ROWS, size))
        itself = Cells(rows - start, rows)
        sources = {name: from_neighbours(itself, np.ones(len(rows)), near) for name, near in alike.items()}
        sources[MODEL] = from_lists(best_products(model.unit[rows], model.unit, top, itself), size)
        best = blended({name: sources[name] for name in weights}, weights, len(rows), size, top, itself)
        found += [(model.item_ids[row], pack_recommendations(*best.row(int(row) - start))) for row in rows]
    return found


def neighbours_of(lake: Lake, cut_ms: int, item_ids: Sequence[str]) -> dict[str, Neighbours]:
    """The items like each by source, as gold/similar_items has them for the cut."""
    table = of_this_cut(lake, "gold/similar_items", cut_ms).persist()
    found = {name: as_arrays(table.where(f.col("source") == name), item_ids) for name in (COOCCURRENCE, CONTENT)}
    table.unpersist()
    return found


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Recommend with the live model up to the cut."""
    lake = Lake(spark, args.lake)
    folder, manifest = live_model(args.lake, open_tracking(args.lake, args.tracking_uri), args.cut)
    training = read_training(folder)
    if training is None:
        raise IncompleteInput(f"model {manifest.model_version} is not whole: run train_als again for its cut")
    model, weights = load_model(folder), training["source_weights"]
    alike = neighbours_of(lake, args.cut, model.item_ids)
    # Beside the model, for serving: a version that is published later finds the blend of its own cut.
    write_blend(folder, args.cut, Blend(manifest.model_version, weights, alike))
    shared, shared_alike = spark.sparkContext.broadcast(model), spark.sparkContext.broadcast(alike)
    weighed = item_events(events_before(lake, args.cut), args.cut)
    # Read once by the model and once by the blend.
    visitors = folded(histories(weighed, args.leave_out, manifest.mode), shared).persist()
    with item_blocks(spark, model.factors) as blocks:
        blend = blended_lists(visitors, blocks, shared_alike, {"hybrid": weights}, args.top)
        lists = packed(blend.select("visitor_id", "items", "scores")).withColumns(
            {"cut_ms": f.lit(args.cut).cast("long"), "model_version": f.lit(manifest.model_version)}
        )
        listed = lake.replace("gold/recommendations", lists).inserted
    visitors.unpersist()
    shared.unpersist()
    shared_alike.unpersist()
    near = spark.createDataFrame(similar_items(model, alike, weights, args.similar), "item_id string, similar binary")
    items = lake.read("silver/items").join(near, "item_id", how="left")
    items = items.withColumn("model_version", f.lit(manifest.model_version))
    return {
        "model_version": manifest.model_version,
        "source_weights": weights,
        "visitors": listed,
        "items": lake.replace("gold/items", items.coalesce(1)).inserted,
    }


if __name__ == "__main__":
    run(main, Args)
