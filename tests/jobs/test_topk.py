"""Top-k in Spark: one block or many, the same lists as one product in this process."""

import numpy as np
import pytest

from common.ranking import Cells, best_products
from jobs.spark.topk import item_blocks, top_k

pytestmark = pytest.mark.spark

VISITORS, ITEMS, DIMENSION, K = 90, 70, 5, 12


def test_blocks_of_items_give_the_lists_of_one_product(spark):
    rng = np.random.default_rng(5)
    # Small whole numbers: products are exact, and scores tie often.
    vectors = rng.integers(-2, 3, (VISITORS, DIMENSION)).astype(np.float32)
    factors = rng.integers(-2, 3, (ITEMS, DIMENSION)).astype(np.float32)
    had = [sorted(rng.choice(ITEMS, rng.integers(0, ITEMS), replace=False).tolist()) for _ in range(VISITORS)]
    rows = [(f"v{i}", vectors[i].tolist(), had[i] or None) for i in range(VISITORS)]
    frame = spark.createDataFrame(rows, "visitor_id string, vector array<float>, left_out array<int>")
    left_out = Cells(np.repeat(np.arange(VISITORS), [len(h) for h in had]), np.concatenate(had).astype(np.int64))
    whole = best_products(vectors, factors, K, left_out)
    expected = {f"v{i}": tuple(part.tolist() for part in whole.row(i)) for i in range(VISITORS)}
    for block_bytes, blocks_wanted in ((1 << 20, 1), (30 * 4 * DIMENSION, 3)):
        with item_blocks(spark, factors, block_bytes) as blocks:
            assert len(blocks) == blocks_wanted
            found = {r["visitor_id"]: (r["items"], r["scores"]) for r in top_k(frame, blocks, K).collect()}
        assert found == expected
