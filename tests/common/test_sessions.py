"""The session rule against a naive reading of it; any order and any split of events gives the same sessions."""

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.contracts.events import EVENT_TYPES, EVENT_WEIGHTS
from common.features.windows import DAY_MS, MINUTE_MS
from common.sessions import (
    SESSION_GAP_MS,
    Session,
    fold_session,
    intent,
    lift,
    merge_partials,
    merge_sessions,
    sessionize,
    sessions,
)

GAP = SESSION_GAP_MS

_event = st.fixed_dictionaries(
    {
        "visitor_id": st.sampled_from(["v1", "v2"]),
        "event_type": st.sampled_from(sorted(EVENT_TYPES)),
        "item_id": st.sampled_from([None, "a", "b", "c"]),
        "category": st.sampled_from(["tech", "toys"]),
        "price": st.none() | st.decimals("0", "99", places=4),
        "quantity": st.none() | st.integers(1, 1_000_000),
        "device": st.sampled_from([None, "phone", "desk"]),
        # Around the gap's border, ties included, and now and then days apart.
        "event_ms": st.integers(0, 8).map(lambda k: k * GAP // 2)
        | st.sampled_from([0, GAP, GAP + 1, 2 * GAP + 1])
        | st.integers(0, 3 * DAY_MS),
    }
)


@st.composite
def events(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows = draw(st.lists(_event, max_size=25))
    ids = draw(st.permutations(range(len(rows))))
    return [{**row, "event_id": f"e{i:02d}"} for row, i in zip(rows, ids, strict=True)]


def naive(rows: list[dict[str, Any]]) -> list[Session]:
    """Cut each visitor's sorted times wherever a gap exceeds the bound, then read every field off the slice."""
    found = []
    for visitor in sorted({row["visitor_id"] for row in rows}):
        mine = sorted((r for r in rows if r["visitor_id"] == visitor), key=lambda r: (r["event_ms"], r["event_id"]))
        cuts = [i for i in range(1, len(mine)) if mine[i]["event_ms"] - mine[i - 1]["event_ms"] > GAP]
        for start, end in zip([0, *cuts], [*cuts, len(mine)], strict=True):
            part = mine[start:end]
            weight = sum(EVENT_WEIGHTS[r["event_type"]] for r in part)
            bought = [r for r in part if r["event_type"] == "purchase" and None not in (r["price"], r["quantity"])]
            found.append(
                Session(
                    visitor_id=visitor,
                    session_start=part[0]["event_ms"],
                    session_end=part[-1]["event_ms"],
                    events=len(part),
                    pages=sum(r["event_type"] == "view" for r in part),
                    items=len({r["item_id"] for r in part} - {None}),
                    categories=len({r["category"] for r in part}),
                    spend=sum((r["price"] * r["quantity"] for r in bought), Decimal(0)),
                    weight=weight,
                    intent=math.floor(1000 * (1 - 0.5 ** (weight / 10)) + 0.5),
                    entry=part[0]["item_id"],
                    exit=part[-1]["item_id"],
                    device=part[0]["device"],
                    suspected_bot=part[-1]["event_ms"] - part[0]["event_ms"] > DAY_MS,
                    closed=True,
                )
            )
    return found


@given(events(), st.randoms(use_true_random=False))
def test_sessions_are_the_rule_in_any_order(rows: list[dict[str, Any]], rng: Any) -> None:
    expected = naive(rows)
    assert sessions(rows) == expected
    rng.shuffle(rows)
    assert sessions(rows) == expected
    assert sum(len(part) for part in sessionize(rows)) == len(rows)


@given(events(), st.randoms(use_true_random=False), st.integers(1, 4))
def test_any_split_of_the_events_merges_to_the_sessions_of_all(rows: list[dict], rng: Any, ways: int) -> None:
    parts: list[list[dict]] = [[] for _ in range(ways)]
    for row in rows:
        rng.choice(parts).append(row)
    merged = merge_partials([], [])
    for part in parts:
        merged = merge_partials(merge_partials([lift(row) for row in part], []), merged)
    assert [partial.row() for partial in merged] == sessions(rows)


@given(events(), st.sets(st.integers(0, 24)), st.booleans())
def test_the_layer_that_saw_more_stands_for_both(rows: list[dict], missed: set[int], batch_missed: bool) -> None:
    """One layer knows all, the other a part of it: nothing is counted twice and nothing is lost."""
    whole = sessions(rows)
    part = sessions([row for i, row in enumerate(rows) if i not in missed])
    merged = merge_sessions(part, whole) if batch_missed else merge_sessions(whole, part)
    assert merged == whole
    assert merge_sessions(whole, []) == whole == merge_sessions([], whole) == merge_sessions(whole, whole)


@given(events(), st.integers(0, 3 * DAY_MS))
def test_layers_that_know_different_days_lose_nothing(rows: list[dict], cut: int) -> None:
    """Batch knows what lies before the cut, speed what began a gap or more before it and since."""
    whole = sessions(rows)
    before = sessions([row for row in rows if row["event_ms"] < cut])
    since = [s for s in whole if s.session_end >= cut]
    assert merge_sessions(before, since) == whole


def test_rows_of_one_session_cut_in_two_by_a_layer_give_way_together() -> None:
    def row(start: int, end: int, n: int) -> Session:
        base = fold_session([{"visitor_id": "v", "event_ms": start, "event_id": "e", "event_type": "view"}])
        return Session(**{f: getattr(base, f) for f in Session.__struct_fields__} | {"session_end": end, "events": n})

    late_joined = [row(0, 50 * MINUTE_MS, 5)]
    in_two = [row(0, 0, 1), row(40 * MINUTE_MS, 50 * MINUTE_MS, 3)]
    assert merge_sessions(late_joined, in_two) == late_joined == merge_sessions(in_two, late_joined)


def test_the_gap_is_inclusive_and_the_day_exclusive() -> None:
    def view(at: int) -> dict[str, Any]:
        return {"visitor_id": "v", "event_ms": at, "event_id": str(at), "event_type": "view", "category": "unknown"}

    assert len(sessions([view(0), view(GAP)])) == 1
    assert len(sessions([view(0), view(GAP + 1)])) == 2
    day = [view(at) for at in range(0, DAY_MS + 1, GAP)]
    assert [s.suspected_bot for s in sessions(day)] == [False]
    assert [s.suspected_bot for s in sessions([*day, view(DAY_MS + 1)])] == [True]
    assert not fold_session(day, closed=False).closed
    with pytest.raises(ValueError, match="at least one event"):
        fold_session([])


@pytest.mark.parametrize(
    ("weight", "score"), [(0, 0), (1, 67), (3, 188), (5, 293), (10, 500), (20, 750), (10**6, 1000)]
)
def test_intent_is_golden(weight: int, score: int) -> None:
    assert intent(weight) == score


def test_engines_that_differ_in_the_last_bit_of_a_power_agree_on_every_intent() -> None:
    """The floor hides that bit unless a score lies on a border; only 40 does, where the power, 1/16, is exact."""
    scores = {weight: 1000 * (1 - 0.5 ** (weight / 10)) + 0.5 for weight in range(2_000)}
    assert [weight for weight, score in scores.items() if abs(score - round(score)) < 1e-9] == [40]
    assert intent(40) == 938
