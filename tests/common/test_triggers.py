"""The meaning of a timed absence, against a clock that goes through the records one by one."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError
from common.features.windows import HOUR_MS, MINUTE_MS, SECOND_MS
from common.triggers import (
    GRACE_MS,
    RULES,
    AbsenceRule,
    decided_ms,
    fires,
    parse_rule,
    rules_with,
)

LATENESS_MS = 10 * MINUTE_MS
VIEWED = AbsenceRule("viewed", ("view",), ("cart", "purchase"), 5 * MINUTE_MS, "item")
QUIET = AbsenceRule("quiet", ("view", "search"), ("cart",), 2 * MINUTE_MS, "visitor")

# Instants at the borders of spans and graces, and just beside them.
STEPS = (0, 1, SECOND_MS, GRACE_MS, GRACE_MS + 1, 2 * MINUTE_MS, 5 * MINUTE_MS, 5 * MINUTE_MS + 1, LATENESS_MS)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Distinct events in the order in which they came, some long after they happened."""
    rows, now = [], HOUR_MS
    for i in range(draw(st.integers(0, 12))):
        now += draw(st.sampled_from(STEPS))
        rows.append(
            {
                "event_id": f"e{draw(st.integers(0, 9))}{i:02d}",
                "event_type": draw(st.sampled_from(("view", "view", "cart", "purchase", "search"))),
                "visitor_id": draw(st.sampled_from("ab")),
                "item_id": draw(st.sampled_from((None, "x", "y"))),
                "event_ms": now - draw(st.sampled_from((*STEPS, LATENESS_MS + 1, -MINUTE_MS))),
                "ingest_ms": now,
            }
        )
    return rows


def by_the_clock(rule: AbsenceRule, rows: list[dict[str, Any]]) -> set[str]:
    """What a process with timers would fire: it arms, cancels and fires as the records come."""
    armed: dict[str, dict[str, Any]] = {}
    seen: list[dict[str, Any]] = []
    fired: set[str] = set()
    for row in [*rows, None]:
        for start in list(armed.values()):
            if row is None or row["ingest_ms"] > decided_ms(rule, start):
                fired.add(armed.pop(start["event_id"])["event_id"])
        if row is None or rule.key(row) is None:
            continue
        for start in list(armed.values()):
            if _cancels(rule, start, row):
                del armed[start["event_id"]]
        in_time = row["ingest_ms"] - row["event_ms"] <= LATENESS_MS
        if row["event_type"] in rule.after and in_time and not any(_cancels(rule, row, other) for other in seen):
            armed[row["event_id"]] = row
        seen.append(row)
    return fired


def _cancels(rule: AbsenceRule, start: dict[str, Any], row: dict[str, Any]) -> bool:
    if row["visitor_id"] != start["visitor_id"] or (rule.per == "item" and row["item_id"] != start["item_id"]):
        return False
    after = row["event_ms"] - start["event_ms"]
    if not 0 <= after <= rule.within_ms:
        return False
    return row["event_type"] in rule.unless or after > 0 or row["event_id"] > start["event_id"]


@settings(max_examples=400, deadline=None)
@given(rows=histories(), rule=st.sampled_from((VIEWED, QUIET)))
def test_what_fires_is_what_a_clock_with_timers_fires(rows, rule):
    declared = {row["event_id"] for row in rows if fires(rule, row, rows, LATENESS_MS)}
    assert declared == by_the_clock(rule, rows)


def row(kind: str, at_ms: int, came_ms: int | None = None, event_id: str | None = None, **more: Any) -> dict[str, Any]:
    base = {"visitor_id": "v", "item_id": "x", "event_id": event_id or f"{kind}{at_ms}", "event_type": kind}
    return base | {"event_ms": HOUR_MS + at_ms, "ingest_ms": HOUR_MS + (at_ms if came_ms is None else came_ms)} | more


@pytest.mark.parametrize(
    ("other", "fired"),
    [
        (row("cart", 5 * MINUTE_MS), False),
        (row("cart", 5 * MINUTE_MS + 1), True),
        (row("cart", 0), False),
        (row("cart", -1), True),
        (row("cart", MINUTE_MS, item_id="y"), True),
        (row("cart", MINUTE_MS, visitor_id="w"), True),
        (row("cart", MINUTE_MS, 5 * MINUTE_MS + GRACE_MS), False),
        (row("cart", MINUTE_MS, 5 * MINUTE_MS + GRACE_MS + 1), True),
        (row("share", MINUTE_MS), True),
        (row("view", MINUTE_MS), False),
        (row("view", 0, event_id="a"), True),
        (row("view", 0, event_id="z"), False),
    ],
)
def test_a_start_is_cancelled_by_what_was_awaited_in_its_span_and_came_in_time(other, fired):
    start = row("view", 0)
    assert fires(VIEWED, start, [start, other], LATENESS_MS) is fired


def test_a_late_event_starts_nothing():
    on_time, late = row("view", 0, LATENESS_MS), row("view", 0, LATENESS_MS + 1)
    assert fires(VIEWED, on_time, [on_time], LATENESS_MS)
    assert not fires(VIEWED, late, [late], LATENESS_MS)


def test_a_rule_reads_as_it_is_written():
    rule = parse_rule("rated_not_shared: rate|view not share within 10 minutes per item")
    assert rule == AbsenceRule("rated_not_shared", ("rate", "view"), ("share",), 10 * MINUTE_MS, "item")
    assert rules_with([]) == RULES
    longer = rules_with(["viewed_not_carted: view not cart within 1 hour per item"])
    assert [r.name for r in longer] == [r.name for r in RULES]
    assert longer[0].within_ms == HOUR_MS


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("view not cart", "is no trigger"),
        ("x: look not cart within 5 minutes per item", "look is no event type"),
        ("x: view not view|cart within 5 minutes per item", "both start it"),
        ("x: view not cart within 5 parsecs per item", "not a span"),
        ("x: view not cart within 2 days per item", "at most 1 day"),
        ("x: view not cart within 0 minutes per item", "above 0"),
        ("x: view not cart within 5 minutes per shop", "not per shop"),
    ],
)
def test_a_rule_that_is_not_one_is_refused_in_a_line(text, complaint):
    with pytest.raises(ConfigError, match=complaint):
        parse_rule(text)
