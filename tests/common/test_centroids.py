"""Centroids: the nearest, the same from run to run; names that are sensible, unique, steady, whatever the order."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.centroids import HABIT, LEAST_RANGE, PROTOTYPES, name_centroids, nearest, same_centroids


def test_names_are_golden() -> None:
    # Centroids as KMeans finds them on Online Retail: k = 2, 3, 4.
    assert name_centroids([(21, 6.5, 2400), (128, 1.4, 350)]) == ["Loyal Customers", "Lapsed Customers"]
    assert name_centroids([(150, 1.2, 280), (10, 11.0, 5200), (45, 2.6, 800)]) == [
        "Lapsed Customers",
        "Loyal Customers",
        "Occasional Buyers",
    ]
    assert name_centroids([(14, 1.9, 520), (7, 12.0, 6500), (76, 3.9, 1700), (190, 1.2, 300)]) == [
        "Newcomers",
        "Loyal Customers",
        "Lapsing Regulars",
        "Lapsed Customers",
    ]


@pytest.mark.parametrize("prototype", PROTOTYPES, ids=lambda p: p.name)
def test_a_centroid_like_a_prototype_takes_its_name(prototype: Any) -> None:
    corners = [(400.0, 1.0, 50.0), (2.0, 40.0, 20_000.0)]  # lapsed and loyal, so that the range is known
    low, high = np.log1p([2.0, 1.0, 50.0]), np.log1p([400.0, 40.0, 20_000.0])
    at = np.array([1 - prototype.recent, prototype.frequent, prototype.spending])
    centroid = tuple(np.expm1(low + at * (high - low)))
    names = name_centroids([*corners, centroid])
    if prototype.name not in ("Loyal Customers", "Lapsed Customers"):
        assert names == ["Lapsed Customers", "Loyal Customers", prototype.name]


_centroid = st.tuples(st.floats(0, 1000), st.floats(0, 300), st.floats(0, 1e6))


@given(st.lists(_centroid, max_size=11, unique=True), st.randoms(use_true_random=False))
def test_names_are_unique_and_do_not_depend_on_the_order(centroids: list[tuple], rng: Any) -> None:
    names = name_centroids(centroids)
    assert len(set(names)) == len(names) == len(centroids)
    assert all(names)
    order = list(range(len(centroids)))
    rng.shuffle(order)
    assert name_centroids([centroids[i] for i in order]) == [names[i] for i in order]


def test_centroids_that_hardly_differ_are_not_torn_apart() -> None:
    near = name_centroids([(50, 2.0, 500), (51, 2.0, 505)])
    assert "Loyal Customers" not in near and "Lapsed Customers" not in near
    assert LEAST_RANGE > 0
    assert name_centroids([]) == []
    for wrong in ([(1, 2)], [(1, 2, -3)], [(1, 2, float("nan"))]):
        with pytest.raises(ValueError, match="a centroid is"):
            name_centroids(wrong)


@given(st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=1, max_size=6), st.integers(0, 5))
def test_nearest_is_the_smallest_distance(centroids: list[list[int]], count: int) -> None:
    rows = np.random.default_rng(count).normal(size=(count, 3)) * 5
    index, distance = nearest(centroids, rows)
    for row, i, d in zip(rows, index, distance, strict=True):
        each = [float(np.linalg.norm(row - np.array(c))) for c in centroids]
        assert d == pytest.approx(min(each)) and each[i] == pytest.approx(min(each))
    index, distance = nearest(centroids, centroids[-1])
    assert index.tolist() == [centroids.index(centroids[-1])] and distance.tolist() == [0.0]


def test_nearest_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        nearest([[1.0, 2.0]], [[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="do not fit"):
        nearest([], [[1.0]])


def test_a_name_is_kept_until_another_is_clearly_better() -> None:
    corners = [(400.0, 1.0, 50.0), (2.0, 40.0, 20_000.0)]
    low, high = np.log1p([2.0, 1.0, 50.0]), np.log1p([400.0, 40.0, 20_000.0])
    kinds = {p.name: np.array([1 - p.recent, p.frequent, p.spending]) for p in PROTOTYPES}
    spender, occasional = kinds["Big Spenders"], kinds["Occasional Buyers"]
    for part in (0.45, 0.55, 1.0):
        centroid = tuple(np.expm1(low + (occasional + part * (spender - occasional)) * (high - low)))
        named = {had: name_centroids([*corners, centroid], [None, None, had])[2] for had in kinds}
        rule = name_centroids([*corners, centroid])[2]
        near = part < 1.0
        assert rule == ("Big Spenders" if part > 0.5 else "Occasional Buyers")
        assert named["Occasional Buyers"] == ("Occasional Buyers" if near else "Big Spenders")
        assert named["Newcomers"] == rule
    assert 0 < HABIT < ((spender - occasional) ** 2).sum()


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5, unique=True), st.randoms(use_true_random=False))
def test_the_same_centroids_keep_their_ids(values: list[int], rng: Any) -> None:
    before = {i + 7: [float(v), 0.0] for i, v in enumerate(values)}
    ids = list(before)
    rng.shuffle(ids)
    moved = np.array([before[i] for i in ids]) + [0.2, 0.1]
    assert same_centroids(moved, before, within=0.5) == ids
    assert same_centroids(moved, before, within=0.2) == [None] * len(ids)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=4), st.lists(st.floats(-3, 3), min_size=1, max_size=4))
def test_pairs_are_made_at_the_least_total_distance(now: list[float], was: list[float]) -> None:
    same = same_centroids(np.array(now)[:, None], {i: [x] for i, x in enumerate(was)}, within=100.0)
    pairs = [(i, j) for i, j in enumerate(same) if j is not None]
    assert len({j for _, j in pairs}) == len(pairs) == min(len(now), len(was))
    few, many = (now, was) if len(now) <= len(was) else (was, now)
    least = min(
        sum(abs(a - b) for a, b in zip(few, way, strict=True)) for way in itertools.permutations(many, len(few))
    )
    assert sum(abs(now[i] - was[j]) for i, j in pairs) == pytest.approx(least)


def test_a_further_segment_is_new_and_one_that_is_gone_stays_gone() -> None:
    before = {0: [0.0, 0.0], 3: [5.0, 5.0]}
    assert same_centroids(np.array([[0.1, 0.0], [5.0, 5.2], [9.0, 9.0]]), before, 1.0) == [0, 3, None]
    assert same_centroids(np.array([[5.0, 5.2]]), before, 1.0) == [3]
    assert same_centroids(np.empty((0, 2)), before, 1.0) == []
    assert same_centroids(np.array([[1.0, 2.0]]), {}, 1.0) == [None]
