"""Blended lists against sums written out cell by cell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.hybrid import Neighbours, blended, from_lists, from_neighbours, weights_by_accuracy
from common.ranking import Best, Cells

ITEMS, NEAR, ROWS = 9, 3, 4
histories = st.lists(
    st.dictionaries(st.integers(0, ITEMS - 1), st.integers(1, 5), max_size=5), min_size=ROWS, max_size=ROWS
)
ranked = st.lists(st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=6), min_size=ROWS, max_size=ROWS)
marked = st.sets(st.tuples(st.integers(0, ROWS - 1), st.integers(0, ITEMS - 1)))


def alike(seed: int) -> Neighbours:
    rng = np.random.default_rng(seed)
    items = np.stack([rng.permutation([j for j in range(ITEMS) if j != i])[:NEAR] for i in range(ITEMS)]).astype(
        np.int32
    )
    items[rng.random(items.shape) < 0.2] = -1
    return Neighbours(items, rng.integers(1, 9, items.shape).astype(np.float32))


@given(histories, ranked, marked, st.integers(0, 9), st.integers(1, 12))
def test_a_blend_is_the_weighted_sum_of_relative_scores(
    history: list[dict[int, int]], lists: list[list[int]], left_out: set[tuple[int, int]], seed: int, k: int
) -> None:
    near, weights = alike(seed), {"near": 0.25, "list": 0.75}
    sums: dict[str, dict[tuple[int, int], float]] = {"near": {}, "list": {}}
    for row, items in enumerate(history):
        for item, weight in items.items():
            for other, likeness in zip(near.items[item], near.scores[item], strict=True):
                if other >= 0:
                    cell = (row, int(other))
                    sums["near"][cell] = sums["near"].get(cell, 0.0) + weight * float(likeness)
    best = Best(np.full((ROWS, 6), -1, np.int32), np.full((ROWS, 6), -np.inf, np.float32))
    for row, listed in enumerate(lists):
        for place, item in enumerate(listed):
            best.items[row, place], best.scores[row, place] = item, 4.0 - place
            sums["list"][row, item] = 4.0 - place
    total: dict[tuple[int, int], float] = {}
    for name, scored in sums.items():
        kept = {cell: score for cell, score in scored.items() if cell not in left_out}
        for (row, item), score in kept.items():
            top = max(0.0, *(s for (r, _), s in kept.items() if r == row))
            share = max(0.0, score) / top if top > 0 else 0.0
            total[row, item] = total.get((row, item), 0.0) + weights[name] * share
    pairs = [(row, item, weight) for row, items in enumerate(history) for item, weight in sorted(items.items())]
    cells = Cells(np.array([p[0] for p in pairs], np.int64), np.array([p[1] for p in pairs], np.int64))
    out = sorted(left_out)
    found = blended(
        {"near": from_neighbours(cells, np.array([float(p[2]) for p in pairs]), near), "list": from_lists(best, ITEMS)},
        weights,
        ROWS,
        ITEMS,
        k,
        Cells(np.array([r for r, _ in out], np.int64), np.array([i for _, i in out], np.int64)),
    )
    for row in range(ROWS):
        listed_items, scores = found.row(row)
        mine = {item: score for (r, item), score in total.items() if r == row}
        assert len(listed_items) == min(k, len(mine)) and set(listed_items.tolist()) <= set(mine)
        np.testing.assert_allclose(scores, [mine[i] for i in listed_items.tolist()], rtol=1e-6)
        np.testing.assert_allclose(scores, sorted(mine.values(), reverse=True)[:k], rtol=1e-6)


def test_weights_follow_what_is_gained_over_popularity() -> None:
    weights = weights_by_accuracy({"a": 0.5, "b": 0.3, "c": 0.1}, baseline=0.1)
    assert weights == pytest.approx({"a": 0.8, "b": 0.2, "c": 0.0})
    assert weights_by_accuracy({"a": 0.1, "b": 0.0}, baseline=0.2) == {"a": 0.5, "b": 0.5}
