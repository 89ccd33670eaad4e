"""Lists of several sources of candidates, blended in Spark's workers (common.hybrid)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import DataFrame

from common.blend import MODEL
from common.hybrid import Neighbours, blended, from_lists, from_neighbours
from jobs.spark.topk import Block, cells, padded, to_batch, top_k

DEPTH = 3
"""Items of the model's list looked at for each one in a blended list."""


def blended_lists(
    visitors: DataFrame,
    blocks: Sequence[Block],
    neighbours: Broadcast[dict[str, Neighbours]],
    blends: Mapping[str, Mapping[str, float]],
    k: int,
) -> DataFrame:
    """ranking, visitor_id, items and scores: for each of ``blends``, named weights of the sources, a list a visitor.

    A source that a blend does not name gives it no items; one of weight 0 fills its lists up.

    ``visitors`` has visitor_id, vector, left_out (as jobs.spark.topk takes them), and the history that items alike are
    looked up for: items (indexes) and weights (doubles), lists of one length.
    """
    model = top_k(visitors, blocks, k * DEPTH).withColumnsRenamed({"items": "best", "scores": "best_scores"})
    joined = visitors.select("visitor_id", "left_out", "items", "weights").join(model, "visitor_id", "inner")
    given = {name: dict(weights) for name, weights in blends.items()}
    size = sum(block.size for block in blocks)

    def blend(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        alike = neighbours.value
        for batch in batches:
            if not batch.num_rows:
                continue
            column = {name: batch.column(name) for name in batch.schema.names}
            history, weights = cells(column["items"]), column["weights"].flatten().to_numpy()
            sources = {name: from_neighbours(history, weights, found) for name, found in alike.items()}
            sources[MODEL] = from_lists(padded(column["best"], column["best_scores"]), size)
            left_out = cells(column["left_out"])
            for name, by_source in given.items():
                used = {source: sources[source] for source in by_source}
                best = blended(used, by_source, batch.num_rows, size, k, left_out)
                made = to_batch(column["visitor_id"], best, "visitor_id")
                ranking = pa.array(np.full(batch.num_rows, name, dtype=object), pa.string())
                yield pa.RecordBatch.from_arrays([ranking, *made.columns], names=["ranking", *made.schema.names])

    return joined.mapInArrow(blend, "ranking string, visitor_id string, items array<int>, scores array<float>")
