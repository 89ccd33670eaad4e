"""Live figures are what a recompute over all events would give, wherever the cut lies and whatever came late."""

import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.features.groups import activity
from common.features.tiles import batch_tiles, fold
from common.features.windows import DAY_MS, HORIZON_MS, HOUR_MS
from common.rfm import Centroid, LiveRfm, live_rfm, live_segment

CUT = 20_000 * DAY_MS + 7 * HOUR_MS
NOW = CUT + 30 * HOUR_MS


@st.composite
def purchases(draw: st.DrawFn) -> list[dict]:
    rows = []
    for order in range(draw(st.integers(0, 8))):
        at = draw(st.integers(CUT - 20 * DAY_MS, NOW) | st.sampled_from([CUT - 1, CUT, CUT - HORIZON_MS, NOW]))
        for line in range(1, draw(st.integers(1, 3)) + 1):
            row = {"event_type": "purchase", "visitor_id": "v", "order_id": f"o{order}", "line": line, "event_ms": at}
            rows.append(
                row | {"price": Decimal(draw(st.integers(1, 9_999))) / 100, "quantity": draw(st.integers(1, 5))}
            )
    return rows


def recomputed(rows: list[dict], at_ms: int) -> LiveRfm | None:
    if not rows:
        return None
    return LiveRfm(
        (at_ms - max(row["event_ms"] for row in rows)) // DAY_MS,
        len({row["order_id"] for row in rows}),
        sum((row["price"] * row["quantity"] for row in rows), Decimal(0)),
    )


@settings(max_examples=200, deadline=None)
@given(purchases(), st.sets(st.integers(0, 8)))
def test_live_figures_are_those_of_a_recompute(rows, late):
    """Orders of ``late`` came after the run, about the time before the cut: speed knows them, batch does not."""
    seen = [
        row
        for row in rows
        if row["event_ms"] < CUT and (row["event_ms"] < CUT - HORIZON_MS or int(row["order_id"][1:]) not in late)
    ]
    at_cut = recomputed(seen, CUT)
    batch = batch_tiles(activity, seen, CUT).get("v")
    speed = list(fold(activity, [row for row in rows if row["event_ms"] >= CUT - HORIZON_MS]).get("v", {}).values())
    frequency, monetary = (at_cut.frequency, at_cut.monetary) if at_cut else (None, None)
    assert live_rfm(frequency, monetary, batch, speed, CUT, NOW) == recomputed(rows, NOW)


CENTROIDS = {
    3: Centroid((2.0, 30.0, 900.0), (1.0, 0.5, 1.5)),
    1: Centroid((200.0, 1.0, 20.0), (1.0, 0.5, 1.5)),
    7: Centroid((20.0, 4.0, 80.0), (1.0, 0.5, 1.5)),
}


@given(st.integers(0, 900), st.integers(1, 300), st.integers(0, 10**6))
def test_without_a_segment_before_the_nearest_centroid_counts(days, orders, cents):
    rfm = LiveRfm(days, orders, Decimal(cents) / 100)
    squares = {}
    for i, centroid in CENTROIDS.items():
        steps = zip((days, orders, cents / 100), centroid.centre, centroid.deviation, strict=True)
        squares[i] = sum(((math.log1p(x) - math.log1p(c)) / d) ** 2 for x, c, d in steps)
    found = live_segment(rfm, CENTROIDS)
    assert found is not None and squares[found] <= min(squares.values()) + 1e-9


def test_a_visitor_leaves_its_segment_only_for_one_that_is_clearly_nearer():
    assert live_segment(LiveRfm(3, 25, Decimal(800)), CENTROIDS, held=1) == 3
    border = LiveRfm(7, 11, Decimal(260))
    near = live_segment(border, CENTROIDS)
    other = 3 if near == 7 else 7
    assert {near, other} == {3, 7}
    assert live_segment(border, CENTROIDS, held=other) == other
    assert live_segment(border, CENTROIDS, held=other, stay=1.0) == near


def test_every_step_over_a_border_moves_at_most_once():
    """Orders come one by one: with the segment of the last run held, the way has one change and no way back."""
    path = [live_segment(LiveRfm(7, orders, Decimal(20 * orders)), CENTROIDS, held=7) for orders in range(4, 60)]
    changes = [pair for pair in zip(path, path[1:], strict=False) if pair[0] != pair[1]]
    assert changes == [(7, 3)]


@pytest.mark.parametrize("held", [None, 4])
def test_a_segment_that_is_published_no_more_holds_nobody(held):
    assert live_segment(LiveRfm(3, 25, Decimal(800)), CENTROIDS, held=held) == 3
    assert live_segment(LiveRfm(3, 25, Decimal(800)), {}, held=held) is None
