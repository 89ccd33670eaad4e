"""The best items of many rows against a plain sort."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common import ranking
from common.ranking import Best, Cells, best_items, best_products, merged

ITEMS = 20
rows_of_scores = st.lists(st.lists(st.integers(-3, 3), min_size=ITEMS, max_size=ITEMS), max_size=5)
marked = st.sets(st.tuples(st.integers(0, 4), st.integers(0, ITEMS - 1)))


def expected(scores: list[int], k: int, left_out: set[int]) -> list[int]:
    return sorted((i for i in range(len(scores)) if i not in left_out), key=lambda i: (-scores[i], i))[:k]


def cells(pairs: set[tuple[int, int]], rows: int) -> Cells:
    kept = sorted(p for p in pairs if p[0] < rows)
    return Cells(np.array([r for r, _ in kept], np.int64), np.array([i for _, i in kept], np.int64))


@given(st.integers(0, 25), rows_of_scores, marked)
def test_the_best_items_are_those_of_a_stable_sort(
    k: int, rows: list[list[int]], left_out: set[tuple[int, int]]
) -> None:
    scores = np.array(rows, dtype=np.float32).reshape(-1, ITEMS)
    best = best_items(scores.copy(), k, cells(left_out, len(rows)))
    for row, given_scores in enumerate(rows):
        items, values = best.row(row)
        assert items.tolist() == expected(given_scores, k, {i for r, i in left_out if r == row})
        assert values.tolist() == [given_scores[i] for i in items]
        assert best.lengths[row] == len(items)


@given(rows_of_scores, marked, st.integers(1, 12), st.integers(1, 25))
def test_products_in_parts_are_the_whole(
    rows: list[list[int]], left_out: set[tuple[int, int]], k: int, held: int
) -> None:
    vectors = np.array(rows, dtype=np.float32).reshape(-1, ITEMS)[:, :3].copy()
    factors = np.arange(3 * ITEMS, dtype=np.float32).reshape(ITEMS, 3) % 7
    out = cells(left_out, len(rows))
    whole = best_items(vectors @ factors.T, k, out)
    before = ranking.SCORES_BYTES
    ranking.SCORES_BYTES = held * 4 * ITEMS // 8
    try:
        parts = best_products(vectors, factors, k, out)
    finally:
        ranking.SCORES_BYTES = before
    np.testing.assert_array_equal(parts.items, whole.items)
    np.testing.assert_array_equal(parts.scores, whole.scores)


@given(st.integers(1, 25), rows_of_scores, marked, st.integers(1, ITEMS - 1))
def test_the_best_of_two_blocks_merge_to_the_best_of_all(
    k: int, rows: list[list[int]], left_out: set[tuple[int, int]], border: int
) -> None:
    scores = np.array(rows, dtype=np.float32).reshape(-1, ITEMS)
    out = cells(left_out, len(rows))
    scores[out.rows, out.items] = -np.inf
    left, right = best_items(scores[:, :border].copy(), k), best_items(scores[:, border:].copy(), k)
    right = Best(np.where(right.items < 0, -1, right.items + border), right.scores)
    both = Best(np.hstack([right.items, left.items]), np.hstack([right.scores, left.scores]))
    whole, joined = best_items(scores.copy(), k), merged(both, k)
    for row in range(len(rows)):
        assert joined.row(row)[0].tolist() == whole.row(row)[0].tolist()
        assert joined.row(row)[1].tolist() == whole.row(row)[1].tolist()
