"""Row rules: what an admitted event must meet beyond its shape, declared once for both layers.

Batch files a row under the first rule it breaks (quarantine); speed leaves the same rows out of its views. Admission
refuses what is no event at all; a rule turns away an event that is well formed and still not to be counted.
"""

from dataclasses import dataclass

from common.codes import COUNTRIES, CURRENCIES
from common.contracts.events import EVENT_TYPES
from common.features.expressions import Expr, event


@dataclass(frozen=True)
class Rule:
    """A row rule: ``holds`` is true for a good row; false and null both break it."""

    name: str
    holds: Expr


_SALE = event.type.is_in("purchase", "refund")

LARGEST_PRICE = 1_000_000
"""Above it a price is a number in the wrong unit or in the wrong column."""

BEST_RATING = 10
"""The end of the longest rating scale in use."""

ORDER_ID = "[!-~]([ -~]{0,126}[!-~])?"
"""Printable ASCII without a blank at either end, which would make two orders of one; longer is another column's."""

RULES: tuple[Rule, ...] = (
    Rule("event_type_is_declared", event.type.is_in(*sorted(EVENT_TYPES))),
    Rule("visitor_is_named", event.visitor_id != ""),
    Rule("sale_has_item", ~_SALE | ~event.item_id.is_null()),
    Rule("sale_has_order", ~_SALE | ~event.order_id.is_null()),
    Rule("order_id_is_printable", event.order_id.is_null() | event.order_id.matches(ORDER_ID)),
    Rule("sale_price_is_positive", ~_SALE | (~event.price.is_null() & (event.price * 1 > 0))),
    Rule("sale_quantity_is_positive", ~_SALE | (~event.quantity.is_null() & (event.quantity > 0))),
    Rule("price_is_not_negative", event.price.is_null() | (event.price * 1 >= 0)),
    Rule("price_is_plausible", event.price.is_null() | (event.price * 1 <= LARGEST_PRICE)),
    Rule(
        "rating_is_on_its_scale",
        ~(event.type == "rate") | event.value.is_null() | ((event.value >= 0) & (event.value <= BEST_RATING)),
    ),
    Rule("currency_is_known", event.currency.is_null() | event.currency.is_among(CURRENCIES)),
    Rule("country_is_known", event.country.is_null() | event.country.is_among(COUNTRIES)),
    Rule("ingested_after_it_happened", event.ingest_ms - event.time >= -300_000),
)
"""The rules in the order they are tried."""


def all_hold(rules: tuple[Rule, ...] = RULES) -> Expr:
    """The condition that a row meets every rule."""
    found = rules[0].holds
    for rule in rules[1:]:
        found = found & rule.holds
    return found


def first_broken(row: dict, rules: tuple[Rule, ...] = RULES) -> str | None:
    """The name of the first rule that an event breaks; None where it meets all."""
    return next((rule.name for rule in rules if rule.holds.evaluate(row) is not True), None)
