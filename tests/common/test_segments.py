"""Rule segments at their borders; names of centroids: sensible, unique, whatever the order."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.features.expressions import event
from common.features.groups import activity
from common.features.tiles import fold
from common.features.windows import DAY_MS, HOUR_MS, MINUTE_MS
from common.merge import answer, merge_tiles
from common.segments import (
    LEAST_RANGE,
    PROTOTYPES,
    RULES,
    WINDOWS,
    RuleSegment,
    _cheapest,
    name_centroids,
    nearest,
    rule_segments,
)
from common.sessions import fold_session

NOW = 20_000 * DAY_MS + 12 * HOUR_MS


def segments(rows: list[dict[str, Any]], now_ms: int = NOW) -> tuple[str, ...]:
    """The rules that hold for one visitor's events, by way of tiles, merge and answer."""
    rows = [{"visitor_id": "v", "event_id": str(i), "item_id": "a", "line": 1} | row for i, row in enumerate(rows)]
    merged = merge_tiles(activity, None, fold(activity, rows).get("v", {}).values(), NOW - NOW % HOUR_MS)
    windows = {window: answer(activity, merged, now_ms, window).get("") for window in WINDOWS}
    return rule_segments(windows)


def test_a_cart_without_an_order_within_a_day() -> None:
    cart = {"event_type": "cart", "event_ms": NOW - HOUR_MS}
    assert segments([cart]) == ("cart_abandoners",)
    assert segments([cart, {"event_type": "purchase", "event_ms": NOW}]) == ()
    assert segments([cart | {"event_ms": NOW - 26 * HOUR_MS}]) == ()
    assert segments([cart, {"event_type": "purchase", "event_ms": NOW - 26 * HOUR_MS}]) == ("cart_abandoners",)
    assert segments([]) == ()


def test_more_than_three_orders_within_thirty_days() -> None:
    orders = [{"event_type": "purchase", "event_ms": NOW - i * HOUR_MS} for i in range(4)]
    assert segments(orders) == ("frequent_buyers",)
    assert segments(orders[:3]) == ()
    assert segments([*orders[:3], orders[3] | {"line": 2}]) == ()


@pytest.mark.parametrize(
    ("pages", "last_ms", "engaged"),
    [(4, 10 * MINUTE_MS, False), (5, 0, True), (2, 10 * MINUTE_MS, False), (2, 10 * MINUTE_MS + 1, True)],
)
def test_five_pages_or_more_than_ten_minutes(pages: int, last_ms: int, engaged: bool) -> None:
    views = [
        {"visitor_id": "v", "event_id": str(i), "event_type": "view", "event_ms": last_ms * (i == pages - 1)}
        for i in range(pages)
    ]
    row = fold_session(views)
    session = {name: getattr(row, name) for name in row.__struct_fields__}
    assert rule_segments({window: None for window in WINDOWS}, session) == (("engaged",) if engaged else ())


def test_a_rule_reads_only_what_its_window_has() -> None:
    with pytest.raises(ValueError, match="reads event_type"):
        RuleSegment("x", "X", "", "24 hours", event.type == "view")
    with pytest.raises(ValueError, match="is not a span"):
        RuleSegment("x", "X", "", "a while", RULES["frequent_buyers"].condition)
    with pytest.raises(KeyError):
        rule_segments({})


# --- centroids ----------------------------------------------------------------------------------------


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


@given(st.integers(1, 6), st.integers(1, 5), st.randoms(use_true_random=False))
def test_prototypes_are_given_out_at_the_least_cost(rows: int, prototypes: int, rng: Any) -> None:
    costs = np.array([[rng.randint(0, 20) for _ in range(prototypes)] for _ in range(rows)], dtype=np.float64)
    chosen = _cheapest(costs)
    used = [j for j in chosen if j is not None]
    assert len(used) == len(set(used)) == min(rows, prototypes)
    places: list[int | None] = [*range(prototypes), *[None] * max(0, rows - prototypes)]
    least = min(
        sum(costs[i, j] for i, j in enumerate(way) if j is not None)
        for way in set(itertools.permutations(places, rows))
        if sum(j is None for j in way) == max(0, rows - prototypes)
    )
    assert sum(costs[i, j] for i, j in enumerate(chosen) if j is not None) == least


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
