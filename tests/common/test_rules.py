"""Each row rule turns away its own kind of row, and nothing else."""

from decimal import Decimal

import pytest

from common.rules import RULES, all_hold, first_broken

GOOD: dict[str, object] = {
    "event_type": "purchase",
    "visitor_id": "k1_v",
    "item_id": "i",
    "order_id": "o",
    "price": Decimal("1.5"),
    "quantity": 2,
    "currency": "GBP",
    "country": "GB",
    "event_ms": 1_000,
    "ingest_ms": 1_000,
}

BROKEN: dict[str, dict[str, object]] = {
    "event_type_is_declared": {"event_type": "teleport"},
    "visitor_is_named": {"visitor_id": ""},
    "sale_has_item": {"item_id": None},
    "sale_has_order": {"order_id": None},
    "order_id_is_printable": {"order_id": "536365 "},
    "sale_price_is_positive": {"price": Decimal(0)},
    "sale_quantity_is_positive": {"quantity": 0},
    "price_is_not_negative": {"event_type": "view", "price": Decimal("-0.01")},
    "price_is_plausible": {"price": Decimal("1000000.01")},
    "rating_is_on_its_scale": {"event_type": "rate", "value": 10.5},
    "currency_is_known": {"currency": "ZZZ"},
    "country_is_known": {"country": "Atlantis"},
    "ingested_after_it_happened": {"ingest_ms": -300_000},
}


def test_a_good_row_meets_every_rule():
    assert first_broken(GOOD) is None
    assert all_hold().evaluate(GOOD) is True


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_each_rule_has_a_row_that_breaks_it_alone(rule):
    row = GOOD | BROKEN[rule]
    assert first_broken(row) == rule
    assert all_hold().evaluate(row) is not True


@pytest.mark.parametrize("order", ["536365", "C536379", "order-7", "PO 4711", "k1_0f3a/2026-11-20#1"])
def test_an_order_may_be_numbered_in_many_ways(order):
    assert first_broken(GOOD | {"order_id": order}) is None


@pytest.mark.parametrize("order", ["", " 536365", "536365\n", "53\t6365", "Größe", "x" * 129])
def test_an_order_is_not_any_text(order):
    assert first_broken(GOOD | {"order_id": order}) == "order_id_is_printable"


def test_a_view_needs_no_price():
    assert first_broken({**GOOD, "event_type": "view", "price": None, "quantity": None, "order_id": None}) is None
