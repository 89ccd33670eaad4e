"""Rule segments of a visitor, over the merge of both layers."""

from typing import Any

from common.features.windows import DAY_MS, HOUR_MS, MINUTE_MS
from serving.catalogue import Catalogue
from serving.stores import VisitorRows
from serving.visitor import FOR_RULES, batch_tiles, held_rules
from tests.serving.shop import CUT, NOW, activity_rows, interest_rows, live_with, profile_row, session_row, shop_event


def order(at_ms: int, name: str) -> dict[str, Any]:
    return shop_event("tea.green-1", at_ms, name, "purchase") | {"line": 1}


def rules(
    catalogue: Catalogue,
    batch: list[dict[str, Any]],
    speed: list[dict[str, Any]],
    at_ms: int = NOW,
    age_band: str | None = None,
) -> list[str]:
    """What holds where batch knows the one and speed the other events."""
    rows = VisitorRows(
        profile=profile_row(catalogue, batch, age_band=age_band) if batch else None,
        interest=interest_rows(speed),
        activity=activity_rows(speed),
        sessions=[session_row(speed)] if speed else [],
    )
    tiles = batch_tiles(rows.profile, FOR_RULES)
    return [rule.name for rule in held_rules(live_with(catalogue), tiles, rows, at_ms)]


def test_an_order_that_only_speed_knows_counts_with_those_of_batch(catalogue: Catalogue) -> None:
    before = [order(CUT - day * DAY_MS, f"b{day}") for day in (1, 5, 20)]
    assert rules(catalogue, before, []) == []
    assert rules(catalogue, before, [order(NOW, "s1")]) == ["frequent_buyers"]
    assert rules(catalogue, [], [order(NOW, "s1")]) == []


def test_an_order_ends_an_abandoned_cart_at_once(catalogue: Catalogue) -> None:
    cart = shop_event("tea.green-1", CUT - HOUR_MS, "b1", "cart")
    assert rules(catalogue, [cart], []) == ["cart_abandoners"]
    assert rules(catalogue, [cart], [order(NOW, "s1")]) == []
    assert rules(catalogue, [cart], [], at_ms=CUT + 26 * HOUR_MS) == [], "a day is over"


def test_a_long_session_holds_while_it_is_current(catalogue: Catalogue) -> None:
    visit = [shop_event("tea.green-1", NOW - minute * MINUTE_MS, f"s{minute}") for minute in (11, 0)]
    assert rules(catalogue, [], visit) == ["engaged"]
    assert rules(catalogue, [], visit, at_ms=NOW + DAY_MS) == []


def test_age_and_an_older_interest_are_of_batch_and_the_evenings_pages_of_speed(catalogue: Catalogue) -> None:
    evening = CUT + 19 * HOUR_MS
    past = [shop_event("paper.notebooks-1", CUT - 20 * DAY_MS, "b1", "cart")]
    visit = [shop_event("tea.green-1", evening + i, f"s{i}") | {"device": "mobile"} for i in range(5)]
    assert "evening_writers" in rules(catalogue, past, visit, evening + HOUR_MS, "25-34")
    assert "evening_writers" not in rules(catalogue, past, visit, evening + HOUR_MS, "35-44")
    assert "evening_writers" not in rules(catalogue, past, visit, evening + HOUR_MS, None)
    assert "evening_writers" not in rules(catalogue, past, visit[:4], evening + HOUR_MS, "25-34")
    other = [past[0] | {"category": "paper.cards"}]
    assert "evening_writers" not in rules(catalogue, other, visit, evening + HOUR_MS, "25-34")
    just_now = [*visit[:4], visit[4] | {"category": "paper.notebooks"}]
    assert "evening_writers" in rules(catalogue, other, just_now, evening + HOUR_MS, "25-34"), "an interest of speed"
    assert "evening_writers" not in rules(catalogue, [], just_now, evening + HOUR_MS), "of no known age"
