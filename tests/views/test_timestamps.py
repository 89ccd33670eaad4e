"""Write timestamps: who beats whom, whatever the order of arrival."""

from hypothesis import given
from hypothesis import strategies as st

from common.features.groups import GROUPS
from common.sessions import SESSION_GAP_MS
from views import timestamps
from views.mutations import RangeDelete, Upsert
from views.speed import SpeedRows

GAP_MS = SESSION_GAP_MS
START = st.integers(1_500_000_000_000, 2_000_000_000_000)
COUNT = st.integers(1, 1_000_000)


@given(START, COUNT, COUNT)
def test_a_row_with_more_events_beats_one_with_fewer(start: int, a: int, b: int) -> None:
    assert (timestamps.tile_timestamp(start, a) < timestamps.tile_timestamp(start, b)) == (a < b)
    assert (timestamps.open_session_timestamp(start, a) < timestamps.open_session_timestamp(start, b)) == (a < b)
    assert (timestamps.embedding_timestamp(start, a) < timestamps.embedding_timestamp(start, b)) == (a < b)


@given(START, COUNT, COUNT)
def test_a_closed_session_beats_its_provisional_row(start: int, provisional: int, closed: int) -> None:
    assert timestamps.closed_session_timestamp(start, closed) > timestamps.open_session_timestamp(start, provisional)


@given(START, st.integers(1, 86_400_000), st.data(), COUNT)
def test_the_range_delete_beats_every_provisional_row_that_began_inside(start: int, length: int, data, n: int) -> None:
    end = start + length
    inner = data.draw(st.integers(start + 1, end))
    assert timestamps.swallowed_sessions_timestamp(end) > timestamps.open_session_timestamp(inner, n)


@given(START, COUNT)
def test_no_timestamp_lies_after_the_event_by_more_than_the_gap(start: int, n: int) -> None:
    latest = (start + GAP_MS) * 1_000 + n
    assert timestamps.closed_session_timestamp(start, n) <= latest
    assert timestamps.tile_timestamp(start, n) <= latest


def test_a_lifetime_counts_from_its_anchor() -> None:
    assert timestamps.remaining_ttl_s(1_000, 60, 1_000) == 60
    assert timestamps.remaining_ttl_s(1_000, 60, 60_999) == 1
    assert timestamps.remaining_ttl_s(1_000, 60, 61_000) is None
    assert timestamps.remaining_ttl_s(1_000, 60, 999_000) is None
    assert timestamps.remaining_ttl_s(1_000, 0, 999_000) == 0


SESSION = {"visitor_id": "k1_a", "session_start": 1_000_000, "session_end": 1_600_000, "events": 7}


def rows_at(now_ms: int) -> SpeedRows:
    return SpeedRows("g1", created_ms=5_000, ttl_s=3_600, clock_ms=lambda: now_ms)


def test_a_closed_session_swallows_what_began_inside_it() -> None:
    closed, swallowed = rows_at(1_000_000).closed_session(SESSION)
    assert isinstance(closed, Upsert) and isinstance(swallowed, RangeDelete)
    assert closed.table.name == "sessions_g1"
    assert dict(zip(closed.table.view.columns, closed.values, strict=True))["closed"] is True
    assert closed.ttl == 3_600
    assert (swallowed.after, swallowed.until) == (1_000_000, 1_600_000)
    assert swallowed.timestamp == (1_600_000 + GAP_MS) * 1_000


def test_a_session_of_one_instant_swallows_nothing() -> None:
    assert len(rows_at(0).closed_session({**SESSION, "session_end": 1_000_000})) == 1


def test_an_expired_tile_is_marked_and_not_renewed() -> None:
    tile = {"visitor_id": "k1_a", "tile_start": 0, "n": 3}
    assert rows_at(3_600_000).tile(GROUPS["activity"], tile).ttl is None
    assert rows_at(3_599_000).tile(GROUPS["activity"], tile).ttl == 1


def test_an_embedding_is_versioned_by_its_generation_and_count() -> None:
    row = {"visitor_id": "k1_a", "model_version": "m1", "updates": 12, "anchor_ms": 10_000}
    upsert = rows_at(11_000).embedding(row)
    assert upsert.timestamp == 5_000 * 1_000 + 12
    assert upsert.ttl == 3_599
