"""DBSCAN by cells against scikit-learn on the same points."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from common.density import cells_of, core_points, joined, packed


def clusters_of(x: np.ndarray, eps: float, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Core flags, and a number for each point's cluster, -1 of noise, from one part that holds everything."""
    everyone = np.ones(len(x), bool)
    core = core_points(x, np.ones(len(x), np.int64), everyone, eps, least)
    found = joined(x, core, everyone, eps)
    parent = {int(c): int(c) for c in found.cell if c >= 0}

    def root(cell: int) -> int:
        while parent[cell] != cell:
            cell = parent[cell]
        return cell

    for left, right in found.pairs.tolist():
        parent[root(left)] = root(right)
    return core, np.array([root(int(c)) if c >= 0 else -1 for c in found.cell])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("eps", "least"), [(0.2, 5), (0.35, 10), (0.8, 3)])
def test_clusters_are_those_of_scikit_learn(seed: int, eps: float, least: int) -> None:
    rng = np.random.default_rng(seed)
    blobs = [rng.normal(centre, spread, (60, 3)) for centre, spread in ((0, 0.2), (2, 0.4), (-3, 0.9))]
    x = np.concatenate([*blobs, rng.uniform(-5, 5, (80, 3))])
    core, cluster = clusters_of(x, eps, least)
    theirs = DBSCAN(eps=eps, min_samples=least).fit(x)
    expected = np.zeros(len(x), bool)
    expected[theirs.core_sample_indices_] = True
    np.testing.assert_array_equal(core, expected)
    np.testing.assert_array_equal(cluster == -1, theirs.labels_ == -1)
    # Core points are together or apart alike; a border point may belong to either of two clusters it touches.
    pairs = {(a, b) for a, b in zip(cluster[core].tolist(), theirs.labels_[core].tolist(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_points_of_one_place_count_as_often_as_there_are() -> None:
    x = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]])
    core = core_points(x, np.array([4, 1]), np.ones(2, bool), 1.0, 5)
    assert core.tolist() == [True, True]
    assert core_points(x, np.array([3, 1]), np.ones(2, bool), 1.0, 5).tolist() == [False, False]


def test_a_grid_too_fine_for_its_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="take a larger eps"):
        packed(cells_of(np.array([[1e9, 0.0, 0.0]]), 0.1))
