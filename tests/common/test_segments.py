"""Rule segments at their borders."""

from decimal import Decimal
from typing import Any

import pytest

from common.errors import ContractError
from common.features.expressions import event
from common.features.groups import activity
from common.features.tiles import batch_tiles, fold
from common.features.windows import DAY_MS, HOUR_MS, MINUTE_MS
from common.merge import Merged, merge_tiles
from common.segments import GROUPS_READ, RuleSegment, last, person, rule_segments, session, visitor_values
from common.sessions import fold_session

NOW = 20_000 * DAY_MS + 12 * HOUR_MS
NOTHING = {group.name: Merged(0, (), (), (), 0) for group in GROUPS_READ}


def as_row(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The session that these events are, as a row."""
    row = fold_session(events)
    return {name: getattr(row, name) for name in row.__struct_fields__}


def segments(rows: list[dict[str, Any]], now_ms: int = NOW) -> tuple[str, ...]:
    """The rules that hold for one visitor's events, by way of tiles, merge and answer."""
    rows = [{"visitor_id": "v", "event_id": str(i), "item_id": "a", "line": 1} | row for i, row in enumerate(rows)]
    merged = merge_tiles(activity, None, fold(activity, rows).get("v", {}).values(), NOW - NOW % HOUR_MS)
    return rule_segments(visitor_values(NOTHING | {"activity": merged}, (), None, now_ms))


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


def test_two_orders_for_five_hundred_within_thirty_days() -> None:
    order = {"event_type": "purchase", "event_ms": NOW, "price": Decimal("249.99"), "quantity": 1}
    dear = order | {"price": Decimal("250.01"), "event_ms": NOW - 20 * HOUR_MS}
    assert segments([order, dear]) == ("high_value",)
    assert segments([order, dear | {"price": Decimal("250")}]) == ()
    assert segments([order, dear | {"line": 2}]) == (), "one order"
    assert segments([dear | {"quantity": 3}]) == ()


@pytest.mark.parametrize(
    ("pages", "last_ms", "engaged"),
    [(4, 10 * MINUTE_MS, False), (5, 0, True), (2, 10 * MINUTE_MS, False), (2, 10 * MINUTE_MS + 1, True)],
)
def test_five_pages_or_more_than_ten_minutes(pages: int, last_ms: int, engaged: bool) -> None:
    views = [
        {"visitor_id": "v", "event_id": str(i), "event_type": "view", "event_ms": last_ms * (i == pages - 1)}
        for i in range(pages)
    ]
    assert rule_segments(visitor_values(NOTHING, [as_row(views)], None, last_ms)) == (("engaged",) if engaged else ())


def test_a_session_is_current_for_a_day() -> None:
    pages = [{"visitor_id": "v", "event_id": str(i), "event_type": "view", "event_ms": NOW} for i in range(5)]
    older = [row | {"event_ms": NOW - 2 * HOUR_MS, "event_id": "old"} for row in pages[:1]]
    sessions = [as_row(older), as_row(pages)]
    for now_ms, held in ((NOW, True), (NOW + DAY_MS - 1, True), (NOW + DAY_MS, False)):
        assert ("engaged" in rule_segments(visitor_values(NOTHING, sessions, None, now_ms))) is held
    assert rule_segments(visitor_values(NOTHING, reversed(sessions), None, NOW)) == ("engaged",), "whatever their order"


@pytest.mark.parametrize(
    ("hour", "device", "held"), [(18, "mobile", 1), (22, "mobile", 1), (23, "mobile", 0), (18, "desktop", 0)]
)
def test_a_rule_over_windows_and_session_at_once(hour: int, device: str, held: int) -> None:
    at = NOW - NOW % DAY_MS + hour * HOUR_MS
    rows = [
        {"visitor_id": "v", "event_id": str(i), "event_type": "view", "event_ms": at + i, "device": device}
        for i in range(5)
    ]
    bought = {"visitor_id": "v", "event_id": "b", "event_type": "purchase", "event_ms": at - 5 * DAY_MS, "line": 1}
    for events, expected in (([*rows, bought], held), (rows, 0), ([*rows[:4], bought], 0)):
        tiles = batch_tiles(activity, [{"item_id": "a", "line": None} | row for row in events], at + HOUR_MS)["v"]
        merged = NOTHING | {"activity": merge_tiles(activity, tiles, (), at + HOUR_MS)}
        values = visitor_values(merged, [as_row(rows)], None, at + HOUR_MS)
        assert ("evening_browsers" in rule_segments(values)) == bool(expected)


@pytest.mark.parametrize(
    ("age_band", "pages", "device", "hour", "category", "days_ago", "held"),
    [
        ("25-34", 5, "mobile", 18, "paper.notebooks", 29, True),
        ("18-24", 5, "mobile", 18, "paper.notebooks", 29, False),
        (None, 5, "mobile", 18, "paper.notebooks", 29, False),
        ("25-34", 4, "mobile", 18, "paper.notebooks", 29, False),
        ("25-34", 5, "desktop", 18, "paper.notebooks", 29, False),
        ("25-34", 5, "mobile", 17, "paper.notebooks", 29, False),
        ("25-34", 5, "mobile", 18, "paper", 29, False),
        ("25-34", 5, "mobile", 18, "paper.notebooks.lined", 29, False),
        ("25-34", 5, "mobile", 18, "paper.notebooks", 31, False),
        ("25-34", 5, "mobile", 18, "paper.notebooks", 0, True),
    ],
)
def test_a_rule_over_age_pages_device_hour_and_category(
    age_band: str | None, pages: int, device: str, hour: int, category: str, days_ago: int, held: bool
) -> None:
    at = NOW - NOW % DAY_MS + hour * HOUR_MS
    row = {"visitor_id": "v", "item_id": "a", "line": None, "event_type": "view", "device": device, "category": "tea"}
    read = [row | {"event_id": str(i), "event_ms": at + i} for i in range(pages)]
    past = row | {"event_id": "p", "event_type": "cart", "event_ms": at - days_ago * DAY_MS, "category": category}
    cut = at + HOUR_MS
    merged = {g.name: merge_tiles(g, batch_tiles(g, [*read, past], cut)["v"], (), cut) for g in GROUPS_READ}
    values = visitor_values(merged, [as_row(read)], age_band, cut)
    assert ("evening_writers" in rule_segments(values)) is held


def test_a_category_is_counted_by_itself_whatever_its_name() -> None:
    rule = RuleSegment("x", "X", "", last("24 hours", category="a/b.c").n > 1)
    assert rule.values() == {("24 hours/a/b.c", "n")}
    assert rule.holds({"24 hours/a/b.c/n": 2}) and not rule.holds({"24 hours/a/b.c/n": 1})


def test_a_rule_reads_only_what_its_sources_have() -> None:
    with pytest.raises(ValueError, match="reads event_type"):
        RuleSegment("x", "X", "", event.type == "view")
    with pytest.raises(ValueError, match="is not a span"):
        last("a while")
    with pytest.raises(ContractError, match="no field visits"):
        last("24 hours").visits  # noqa: B018
    with pytest.raises(ContractError, match="no field visits"):
        session.visits  # noqa: B018
    with pytest.raises(ContractError, match="no field carts"):
        last("24 hours", category="tea").carts  # noqa: B018
    with pytest.raises(TypeError, match="mass decays"):
        last("24 hours", category="tea").mass  # noqa: B018
    with pytest.raises(ContractError, match="no field segment of a person; it can read age_band"):
        person.segment  # noqa: B018
    for category in ("", "a`b"):
        with pytest.raises(ValueError, match="name its dotted path"):
            last("24 hours", category=category)
