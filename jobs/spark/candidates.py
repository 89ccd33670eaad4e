"""Pairs of customers and their patterns of agreement: blocks, then vectorised comparison.

What is drawn together and compared is decided by the pure functions of common/resolution; here they meet Arrow.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.ml.feature import HashingTF, MinHashLSH
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from common.resolution.blocking import PASSES, neighbours
from common.resolution.comparisons import FIELDS, patterns

Batches = Iterable[pa.RecordBatch]

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


def with_lsh_keys(customers: DataFrame, text: Column, bands: int, rows: int, seed: int) -> DataFrame:
    """Add ``lsh_keys``: a hash for each of ``bands`` bands of ``rows`` MinHash values over the text's trigrams.

    Two texts share a band with probability 1 - (1 - J^rows)^bands, J the share of trigrams that both have.
    """
    grams = f.transform(f.sequence(f.lit(1), f.greatest(f.lit(1), f.length("_text") - 2)), _trigram)
    frame = customers.withColumn("_text", text).withColumn("_grams", grams)
    counted = HashingTF(numFeatures=1 << 20, binary=True, inputCol="_grams", outputCol="_vector").transform(frame)
    hasher = MinHashLSH(inputCol="_vector", outputCol="_hashes", numHashTables=bands * rows, seed=seed)
    hashed = hasher.fit(counted).transform(counted)
    value = [vector_to_array(f.col("_hashes")[i])[0] for i in range(bands * rows)]
    keys = [f.xxhash64(f.lit(f"lsh {band}"), *value[band * rows :][:rows]) for band in range(bands)]
    return hashed.withColumn("lsh_keys", f.array(*keys)).drop("_text", "_grams", "_vector", "_hashes")


def _trigram(at: Column) -> Column:
    return f.substring(f.col("_text"), at, f.lit(3))


def candidate_pairs(customers: DataFrame, window: int) -> DataFrame:
    """The pairs (``left`` < ``right``) of customers that share a block, each once.

    ``customers`` has ``node``, the array ``keys`` and ``rank``, by which the rows of a block are sorted.
    """
    rows = customers.select(f.explode("keys").alias("key"), "rank", "node")
    blocks = rows.repartition("key").sortWithinPartitions("key", "rank", "node")
    return blocks.mapInArrow(_pairing(window), "left long, right long").distinct()


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
