"""One visitor ranked over all items by the published blend: the same sum as the lists, told item by item."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.blend import KEPT, MODEL, Blend, blend_path, read_blend, relevance, write_blend
from common.errors import ContractError
from common.hybrid import Neighbours, Scored, blended, from_neighbours
from common.ranking import Cells

ITEMS, NEAR = 12, 4
NOBODY = np.empty(0, np.int32)


def alike(seed: int) -> Neighbours:
    rng = np.random.default_rng(seed)
    items = np.stack([rng.permutation(ITEMS)[:NEAR] for _ in range(ITEMS)]).astype(np.int32)
    items[rng.random(items.shape) < 0.2] = -1
    return Neighbours(items, rng.integers(1, 9, items.shape).astype(np.float32))


BLEND = Blend("m1", {MODEL: 0.5, "together": 0.4, "content": 0.1}, {"together": alike(1), "content": alike(2)})


@given(
    st.lists(st.integers(-5, 20), min_size=ITEMS, max_size=ITEMS),
    st.dictionaries(st.integers(0, ITEMS - 1), st.integers(1, 5), min_size=1, max_size=6),
    st.sets(st.integers(0, ITEMS - 1), max_size=3),
)
def test_serving_ranks_by_the_sum_that_batch_lists_are_made_of(
    model: list[int], history: dict[int, int], gone: set[int]
) -> None:
    items = np.array(sorted(history), np.int32)
    weights = np.array([float(history[int(i)]) for i in items])
    found = relevance(np.array(model, np.float32), BLEND, items, weights, np.array(sorted(gone), np.int32))

    cells = Cells(np.zeros(len(items), np.int64), items.astype(np.int64))
    sources = {name: from_neighbours(cells, weights, near) for name, near in BLEND.neighbours.items()}
    sources[MODEL] = Scored(Cells(np.zeros(ITEMS, np.int64), np.arange(ITEMS)), np.array(model, np.float64))
    left_out = Cells(np.zeros(len(gone), np.int64), np.array(sorted(gone), np.int64))
    listed, scores = blended(sources, BLEND.weights, 1, ITEMS, ITEMS, left_out).row(0)
    np.testing.assert_allclose(found.scores[listed], scores, rtol=1e-5, atol=1e-6)
    assert not found.scores[sorted(gone)].any()


def test_each_item_of_the_history_has_its_part_in_each_score() -> None:
    items, weights = np.array([2, 7], np.int32), np.array([1.0, 3.0])
    by_item = np.abs(np.random.default_rng(3).normal(size=(ITEMS, 2)))
    found = relevance(by_item.sum(axis=1), BLEND, items, weights, NOBODY)
    chosen = np.array([5, 0, 11], np.int32)
    parts = found.by_history(chosen, by_item[chosen])
    assert parts.shape == (3, 2)
    np.testing.assert_allclose(parts.sum(axis=1), found.scores[chosen], rtol=1e-5)


def test_without_a_blend_the_model_counts_alone() -> None:
    scores = np.array([4.0, -1.0, 2.0])
    found = relevance(scores, None, np.array([0], np.int32), np.array([1.0]), NOBODY)
    np.testing.assert_allclose(found.scores, [1.0, 0.0, 0.5])


def test_a_blend_is_kept_by_cut_and_the_oldest_go(tmp_path) -> None:
    assert read_blend(tmp_path, 1) is None
    for cut in range(1, KEPT + 3):
        os.utime(write_blend(tmp_path, cut, BLEND), ns=(cut, cut))
    assert [cut for cut in range(1, KEPT + 3) if read_blend(tmp_path, cut)] == list(range(3, KEPT + 3))
    found = read_blend(tmp_path, KEPT)
    assert found is not None and (found.model_version, found.weights) == ("m1", BLEND.weights)
    for name, near in BLEND.neighbours.items():
        np.testing.assert_array_equal(found.neighbours[name].items, near.items)
        np.testing.assert_array_equal(found.neighbours[name].scores, near.scores)


def test_a_torn_blend_is_refused(tmp_path) -> None:
    path = blend_path(tmp_path, 1)
    path.write_bytes(write_blend(tmp_path, 2, BLEND).read_bytes()[:100])
    with pytest.raises(ContractError, match="is not a blend"):
        read_blend(tmp_path, 1)
