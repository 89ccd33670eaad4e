"""The features of a visitor's thirty days equal a plain fold of the events."""

from collections import Counter, defaultdict
from decimal import ROUND_HALF_UP, Decimal

import pytest

from common.contracts.events import EVENT_WEIGHTS
from common.sessions import sessionize
from jobs.visitor_features import ENGAGEMENT_HALF, WINDOW_MS
from tests.jobs.small_shop import CUT_MS

pytestmark = [pytest.mark.spark, pytest.mark.timeout(900)]


def expected(rows: list[dict]) -> dict:
    kinds = [row["event_type"] for row in rows]
    sales = [(row["event_type"], row["price"] * row["quantity"]) for row in rows if row["event_type"] in TURNOVER]
    spend, refunded = (sum((amount for kind, amount in sales if kind == of), Decimal(0)) for of in TURNOVER)
    orders = {row["order_id"] for row in rows if row["event_type"] == "purchase"}
    units = sum(row["quantity"] for row in rows if row["event_type"] == "purchase")
    stays: dict[str, int] = defaultdict(int)
    found = sessionize(rows)
    for session in found:
        for row, following in zip(session, session[1:], strict=False):
            stays[row["category"]] += following["event_ms"] - row["event_ms"]
    sessions_with = Counter(category for session in found for category in {row["category"] for row in session})
    weight = sum(EVENT_WEIGHTS[kind] for kind in kinds)
    step = Decimal("0.0001")
    return {
        "visitor_id": rows[0]["visitor_id"],
        "cut_ms": CUT_MS,
        "active_days": len({row["event_date"] for row in rows}),
        "views": kinds.count("view"),
        "carts": kinds.count("cart"),
        "searches": kinds.count("search"),
        "orders": len(orders),
        "spend": spend,
        "refunded": refunded,
        "net": spend - refunded,
        "basket_value": (spend / len(orders)).quantize(step, ROUND_HALF_UP) if orders else None,
        "basket_units": units / len(orders) if orders else None,
        "sessions": len(found),
        "session_ms": sum(stays.values()),
        "category_ms": {category: ms for category, ms in stays.items() if ms},
        "category_session_ms": {category: ms / sessions_with[category] for category, ms in stays.items() if ms},
        "weight": weight,
        "engagement": int(1000 * (1 - 0.5 ** (weight / ENGAGEMENT_HALF)) + 0.5),
    }


TURNOVER = ("purchase", "refund")


def test_features_equal_a_plain_fold(built):
    since = CUT_MS - WINDOW_MS
    by_visitor = defaultdict(list)
    for row in built.lake.read("silver/events").where(f"event_ms >= {since} AND event_ms < {CUT_MS}").collect():
        by_visitor[row["visitor_id"]].append(row.asDict())
    stored = {row["visitor_id"]: row.asDict() for row in built.lake.read("gold/visitor_features").collect()}
    assert stored == {visitor: expected(rows) for visitor, rows in by_visitor.items()}
    assert any(row["category_ms"] for row in stored.values()) and any(row["orders"] for row in stored.values())
    assert any(row["category_session_ms"] != row["category_ms"] for row in stored.values()), "some came back to one"
