"""Rule segments of a visitor, over the merge of both layers."""

from typing import Any

from common.features.windows import DAY_MS, HOUR_MS, MINUTE_MS
from serving.catalogue import Catalogue
from serving.visitor import FOR_RULES, batch_tiles, held_rules
from tests.serving.shop import CUT, NOW, activity_rows, live_with, profile_row, session_row, shop_event


def order(at_ms: int, name: str) -> dict[str, Any]:
    return shop_event("tea.green-1", at_ms, name, "purchase") | {"line": 1}


def rules(
    catalogue: Catalogue, batch: list[dict[str, Any]], speed: list[dict[str, Any]], at_ms: int = NOW
) -> list[str]:
    """What holds where batch knows the one and speed the other events."""
    tiles = batch_tiles(profile_row(catalogue, batch), FOR_RULES) if batch else {}
    sessions = [session_row(speed)] if speed else []
    return [rule.name for rule in held_rules(live_with(catalogue), tiles, activity_rows(speed), sessions, at_ms)]


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
