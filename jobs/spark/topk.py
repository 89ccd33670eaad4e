"""The best items of every visitor: one matrix product a chunk of visitors, in Spark's workers.

Item factors go to the workers by broadcast. Where they are larger than a block they go as several, and a task holds
one at a time: each visitor's best of every block are brought together by a shuffle and merged.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import Broadcast
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from common.ranking import Best, Cells, best_products, merged

BLOCK_BYTES = 256 << 20
"""Largest part of the item factors that a task holds: a million items of 64 factors."""


class Block(NamedTuple):
    """A run of items: the index of its first, and their factors, float32 (items, dimension)."""

    first: int
    size: int
    factors: Broadcast[NDArray[np.float32]]


@contextmanager
def item_blocks(
    spark: SparkSession, factors: NDArray[np.float32], block_bytes: int = BLOCK_BYTES
) -> Iterator[list[Block]]:
    """The item factors (items, dimension) in blocks of at most ``block_bytes``, shared until the block ends."""
    items, dimension = factors.shape
    step = max(1, block_bytes // (4 * dimension))
    blocks = [
        Block(start, len(factors[start : start + step]), spark.sparkContext.broadcast(factors[start : start + step]))
        for start in range(0, items, step)
    ]
    try:
        yield blocks
    finally:
        for block in blocks:
            block.factors.unpersist()


def top_k(visitors: DataFrame, blocks: Sequence[Block], k: int, key: str = "visitor_id") -> DataFrame:
    """``key``, ``items`` (indexes, best first) and their ``scores`` for each row of ``visitors``.

    ``visitors`` has ``key``, ``vector`` (floats, one a factor) and ``left_out`` (item indexes to pass over). It is
    read once for each block: persist it where it is dear and there are several.
    """
    kind = visitors.schema[key].dataType.simpleString()
    told = f"`{key}` {kind}, items array<int>, scores array<float>"
    best = [visitors.select(key, "vector", "left_out").mapInArrow(_scorer(block, k), told) for block in blocks]
    if len(best) == 1:
        return best[0]
    gathered = (
        reduce(DataFrame.unionAll, best)
        .groupBy(key)
        # Both lists take the rows of a group in one order.
        .agg(*(f.flatten(f.collect_list(name)).alias(name) for name in ("items", "scores")))
    )

    def merge(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                yield to_batch(batch.column(0), merged(padded(batch.column(1), batch.column(2)), k), key)

    return gathered.mapInArrow(merge, told)


def _scorer(block: Block, k: int) -> Any:
    first, size, shared = block

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        factors = shared.value
        for batch in batches:
            if not batch.num_rows:
                continue
            vectors = batch.column(1).flatten().to_numpy().reshape(batch.num_rows, -1).astype(np.float32, copy=False)
            out = cells(batch.column(2))
            here = (out.items >= first) & (out.items < first + size)
            best = best_products(vectors, factors, k, Cells(out.rows[here], out.items[here] - first))
            yield to_batch(
                batch.column(0),
                Best(np.where(best.items < 0, -1, best.items + first), best.scores),
                batch.schema.names[0],
            )

    return score


def cells(lists: pa.ListArray) -> Cells:
    """The cells that a column of lists of item indexes names; a null list names none."""
    lengths = np.asarray(lists.value_lengths().fill_null(0))
    return Cells(np.repeat(np.arange(len(lists)), lengths), lists.flatten().to_numpy().astype(np.int64))


def padded(items: pa.ListArray, scores: pa.ListArray) -> Best:
    """Ragged lists as a matrix, filled up as in :class:`Best`."""
    where = cells(items)
    lengths = np.asarray(items.value_lengths())
    slots = np.arange(len(where.rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    best = Best(
        np.full((len(items), lengths.max(initial=0)), -1, np.int32),
        np.full((len(items), lengths.max(initial=0)), -np.inf, np.float32),
    )
    best.items[where.rows, slots] = where.items
    best.scores[where.rows, slots] = scores.flatten().to_numpy()
    return best


def to_batch(keys: pa.Array, best: Best, key: str) -> pa.RecordBatch:
    """Keys with their lists, as Arrow has them."""
    kept = best.items >= 0
    offsets = pa.array(np.concatenate([[0], np.cumsum(best.lengths)]), pa.int32())
    lists = [
        pa.ListArray.from_arrays(offsets, pa.array(flat[kept], kind))
        for flat, kind in ((best.items, pa.int32()), (best.scores, pa.float32()))
    ]
    return pa.RecordBatch.from_arrays([keys, *lists], names=[key, "items", "scores"])
