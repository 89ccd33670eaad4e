"""Pairs of customers and their patterns of agreement: blocks, then vectorised comparison.

What is drawn together and compared is decided by the pure functions of common/resolution; here they meet Arrow.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from common.resolution.blocking import PASSES, neighbours, trigram_bands
from common.resolution.comparisons import FIELDS, patterns

Batches = Iterable[pa.RecordBatch]

_BLOCK = pa.schema([("key", pa.int64()), ("rank", pa.int64()), ("node", pa.int64())])
_PAIR = pa.schema([("left", pa.int64()), ("right", pa.int64())])
_COMPARED = pa.schema([("left", pa.int64()), ("right", pa.int64()), ("pattern", pa.int64())])
_TALLY = pa.schema([("pattern", pa.int64()), ("pairs", pa.int64())])


def pass_keys() -> Column:
    """The blocks of a row of standardised customers as an array: a 64-bit hash a pass, none where a column is empty."""
    keys = []
    for each in PASSES:
        whole = f.lit(True)
        for name in each.columns:
            whole = whole & (f.col(name) != "")
        keys.append(f.when(whole, f.xxhash64(f.lit(each.name), *each.columns)))
    return f.array_compact(f.array(*keys))


@dataclass(frozen=True)
class Bands:
    """How many MinHash bands the column ``text`` is cut into, of how many values each."""

    bands: int
    rows: int
    seed: int


def candidate_pairs(customers: DataFrame, window: int, lsh: Bands) -> DataFrame:
    """The pairs (``left`` < ``right``) of customers that share a block, each once.

    ``customers`` has ``node``, the array ``keys``, ``rank``, by which the rows of a block are sorted, and ``text``, of
    which MinHash bands are further blocks.
    """
    rows = customers.select("node", "rank", "keys", "text").mapInArrow(_spread(lsh), "key long, rank long, node long")
    blocks = rows.repartition("key").sortWithinPartitions("key", "rank", "node")
    return blocks.mapInArrow(_pairing(window), "left long, right long").distinct()


def _spread(lsh: Bands) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """A row for each block of each customer."""

    def spread(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            node, rank = (batch.column(x).to_numpy() for x in ("node", "rank"))
            keys = batch.column("keys")
            per_row = keys.value_lengths().to_numpy()
            key, at = keys.flatten().to_numpy(), np.repeat(np.arange(len(node)), per_row)
            text = batch.column("text").cast(pa.large_string())
            _, where, data = text.buffers()
            if lsh.bands and len(text) and data is not None:
                offsets = np.frombuffer(where, np.int64)[text.offset : text.offset + len(text) + 1]
                bands = trigram_bands(np.frombuffer(data, np.uint8), offsets, lsh.bands, lsh.rows, lsh.seed)
                row, band = np.nonzero(bands)
                key, at = np.concatenate([key, bands[row, band]]), np.concatenate([at, row])
            columns = [pa.array(key), pa.array(rank[at]), pa.array(node[at])]
            yield pa.RecordBatch.from_arrays(columns, schema=_BLOCK)

    return spread


def _pairing(window: int) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    def pair(batches: Batches) -> Iterator[pa.RecordBatch]:
        key, node = np.empty(0, np.int64), np.empty(0, np.int64)
        for batch in batches:
            # A block may go on from one batch to the next.
            kept = len(key)
            key = np.concatenate([key, batch.column("key").to_numpy()])
            node = np.concatenate([node, batch.column("node").to_numpy()])
            one, other = (node[at] for at in neighbours(key, window, kept))
            pair = [pa.array(np.minimum(one, other)), pa.array(np.maximum(one, other))]
            yield pa.RecordBatch.from_arrays(pair, schema=_PAIR)
            key, node = key[-window:], node[-window:]

    return pair


def compared(pairs: DataFrame, customers: DataFrame) -> DataFrame:
    """The pairs with their ``pattern``; ``customers`` has ``node`` and the fields to compare."""
    for side in ("left", "right"):
        fields = customers.select(f.col("node").alias(side), *(f.col(x).alias(f"{side}_{x}") for x in FIELDS))
        pairs = pairs.join(fields, side, how="inner")
    return pairs.mapInArrow(_compare, "left long, right long, pattern long")


def _compare(batches: Batches) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        left, right = ({x: _texts(batch.column(f"{side}_{x}")) for x in FIELDS} for side in ("left", "right"))
        columns = [batch.column("left"), batch.column("right"), pa.array(patterns(left, right))]
        yield pa.RecordBatch.from_arrays(columns, schema=_COMPARED)


def _texts(column: pa.Array) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False)


def random_tally(customers: DataFrame, rows: int, pairs: int, seed: int) -> DataFrame:
    """How often each ``pattern`` comes among about ``pairs`` random pairs of a sample; (pattern, pairs).

    ``rows`` is how many customers there are. Rows stand in the order of a hash, and each meets those behind it.
    """
    sampled = min(rows, SAMPLE_ROWS)
    window = max(1, round(pairs / sampled))
    order = f.xxhash64(f.lit(seed), "node")
    drawn = customers.withColumn("_order", order).where(f.pmod("_order", f.lit(1 << 20)) < (sampled << 20) // rows)
    shuffled = drawn.repartition("_order").sortWithinPartitions("_order").select(*FIELDS)
    return (
        shuffled.mapInArrow(_tallying(window), "pattern long, pairs long")
        .groupBy("pattern")
        .agg(f.sum("pairs").alias("pairs"))
    )


SAMPLE_ROWS = 100_000
"""Most customers that random pairs are drawn from."""

COMPARED_AT_ONCE = 100_000
"""Most random pairs held in memory as texts."""


def _tallying(window: int) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    def tally(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            fields = {x: _texts(batch.column(x)) for x in FIELDS}
            one, other = neighbours(np.zeros(batch.num_rows, np.int64), window)
            found = [
                patterns({x: v[one[at]] for x, v in fields.items()}, {x: v[other[at]] for x, v in fields.items()})
                for at in np.array_split(np.arange(len(one)), 1 + len(one) // COMPARED_AT_ONCE)
            ]
            pattern, pairs = np.unique(np.concatenate(found), return_counts=True)
            yield pa.RecordBatch.from_arrays([pa.array(pattern), pa.array(pairs.astype(np.int64))], schema=_TALLY)

    return tally
