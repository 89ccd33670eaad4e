"""What each table must meet: suites of Great Expectations, generated from contracts and row rules, and hand-written.

What must hold for each row stands as SQL with a name, and is judged in one pass: the column ``fault`` names the first
condition that a row breaks, and one expectation says that it is empty. What must hold for a table as a whole is an
expectation of its own. Great Expectations takes five seconds to import, so only the gate imports this module.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import great_expectations.expectations as gxe
from great_expectations import ExpectationSuite
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.row_conditions import Column as Cell
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from common.contracts.core import Contract
from common.features.groups import GROUPS
from common.features.windows import DAY_MS
from common.rules import LARGEST_PRICE, RULES
from jobs.spark.tables import TABLES

FAULT = "fault"

Scope = Callable[[DataFrame, int, int], DataFrame]
"""The part of a table that a gate looks at: of the table, for a cut, some days back."""


def whole(table: DataFrame, cut_ms: int, days: int) -> DataFrame:
    """All rows."""
    return table


def recent(column: str) -> Scope:
    """The rows whose date in ``column``, a partition, is at most so many days before the cut."""

    def scope(table: DataFrame, cut_ms: int, days: int) -> DataFrame:
        first = f.to_date(f.timestamp_millis(f.lit(cut_ms - days * DAY_MS)))
        return table.where(f.col(column) >= first)

    return scope


def of_the_cut(table: DataFrame, cut_ms: int, days: int) -> DataFrame:
    """The rows that a run for this cut made."""
    return table.where(f.col("cut_ms") == cut_ms)


def newest_tiles(table: DataFrame, cut_ms: int, days: int) -> DataFrame:
    """The hour tiles, and the day tiles of so many days up to the horizon; ``ever`` follows from them."""
    first = f.to_date(f.timestamp_millis(f.lit(cut_ms - (days + 2) * DAY_MS))).cast("string")
    return table.where((f.col("slice") == "hour") | ((f.col("slice") != "ever") & (f.col("slice") >= first)))


@dataclass(frozen=True)
class Declared:
    """What one table must meet beyond its contract."""

    table: str
    holds: Mapping[str, str] = field(default_factory=dict)
    """Name of a condition to SQL that is true for a good row; false and null both break it."""
    also: tuple[Expectation, ...] = ()
    """Expectations about the table as a whole."""
    scope: Scope = whole
    may_be_empty: bool = False


def _unique(column: str) -> Expectation:
    """Each value comes once; told as a proportion, since a list of values would hold ids."""
    return gxe.ExpectColumnProportionOfUniqueValuesToBeBetween(column=column, min_value=1.0, max_value=1.0)


def _tiles(table: str) -> Declared:
    return Declared(
        table,
        holds={
            "tile_has_events": "n > 0",
            "span_is_known": "span IN ('ever', 'day', 'hour')",
            "day_tile_begins_its_day": f"span != 'day' OR pmod(tile_start, {DAY_MS}) = 0",
        },
        scope=newest_tiles,
        may_be_empty=True,
    )


def _one_cut() -> Expectation:
    """All rows are of one cut."""
    return gxe.ExpectColumnUniqueValueCountToBeBetween(column="cut_ms", min_value=1, max_value=1)


def _one_currency() -> Expectation:
    """All prices are of one currency, as far as they say: they are summed as they are."""
    priced = Cell("price").is_not_null()
    return gxe.ExpectColumnUniqueValueCountToBeBetween(column="currency", max_value=1, row_condition=priced)


_PRICE = {"price_is_plausible": f"price IS NULL OR price BETWEEN 0 AND {LARGEST_PRICE}"}
_DAY = {"event_date_is_its_day": "event_date = to_date(timestamp_millis(event_ms))"}
_ROW_RULES = {rule.name: rule.holds.spark() for rule in RULES}


def _clean_events(table: str, *also: Expectation) -> Declared:
    return Declared(table, holds=_ROW_RULES | _DAY, also=also, scope=recent("event_date"), may_be_empty=True)


DECLARED: tuple[Declared, ...] = (
    Declared("bronze/events", holds=_DAY, scope=recent("event_date"), may_be_empty=True),
    Declared(
        "bronze/rejections",
        holds={
            "reason_is_given": "reason != ''",
            "size_is_a_size": "size >= 0",
            "sha256_is_one": "length(sha256) = 64",
        },
        may_be_empty=True,
    ),
    _clean_events("silver/cleansed"),
    Declared("quarantine/events", holds={"rule_is_named": "rule != ''"}, scope=recent("event_date"), may_be_empty=True),
    _clean_events("silver/events", _one_currency()),
    Declared(
        "silver/items",
        holds=_PRICE | {"currency_is_known": _ROW_RULES["currency_is_known"]},
        also=(_unique("item_id"),),
    ),
    Declared(
        "gold/sessions",
        holds={
            "session_ends_after_it_begins": "session_end >= session_start",
            "session_has_events": "events > 0 AND pages BETWEEN 0 AND events AND items BETWEEN 0 AND events",
            "spend_is_not_negative": "spend >= 0",
            "intent_is_within_its_scale": "intent BETWEEN 0 AND 1000",
        },
        scope=recent("session_date"),
        may_be_empty=True,
    ),
    Declared(
        "gold/orders",
        holds={
            "order_has_lines_or_refunds": "lines > 0 OR refunded > 0",
            "units_follow_lines": "units >= lines",
            "money_is_not_negative": "gross >= 0 AND refunded >= 0",
        },
        scope=recent("order_date"),
        may_be_empty=True,
    ),
    Declared(
        "gold/rfm",
        holds={
            "recency_is_not_negative": "recency_days >= 0",
            "buyer_has_an_order": "frequency >= 1",
            "buyer_has_spent": "monetary > 0",
            "net_is_the_difference": "net = monetary - refunded",
            "scores_are_fifths": "r_score BETWEEN 1 AND 5 AND f_score BETWEEN 1 AND 5 AND m_score BETWEEN 1 AND 5",
        },
        also=(
            _unique("visitor_id"),
            # Some buyer is always among the best fifth, and the figures are of one cut.
            gxe.ExpectColumnMaxToBeBetween(column="m_score", min_value=1, max_value=5),
            _one_cut(),
        ),
        may_be_empty=True,
    ),
    Declared(
        "gold/visitor_features",
        holds={
            "visitor_was_active": "active_days BETWEEN 1 AND 31 AND sessions > 0",
            "net_is_the_difference": "net = spend - refunded",
            "basket_follows_orders": "(orders > 0) = (basket_value IS NOT NULL)",
            "engagement_is_within_its_scale": "engagement BETWEEN 0 AND 1000",
        },
        also=(_unique("visitor_id"),),
        may_be_empty=True,
    ),
    Declared(
        "gold/segments",
        holds={"distance_is_a_length": "distance >= 0 AND NOT isnan(distance)", "segment_is_named": "segment != ''"},
        also=(_unique("visitor_id"), _one_cut()),
        may_be_empty=True,
    ),
    Declared(
        "gold/centroids",
        holds={"size_is_not_negative": "size >= 0"},
        also=(_unique("segment_id"),),
        may_be_empty=True,
    ),
    Declared(
        "gold/segment_history",
        holds={"size_is_not_negative": "size >= 0", "segment_is_named": "segment != ''"},
        scope=of_the_cut,
        may_be_empty=True,
    ),
    Declared(
        "gold/segment_moves",
        holds={"move_changes_the_segment": "NOT (from_id <=> to_id)"},
        also=(_unique("visitor_id"),),
        scope=of_the_cut,
        may_be_empty=True,
    ),
    Declared(
        "gold/segment_lift",
        holds={"buyers_are_active_members": "buyers BETWEEN 0 AND active AND active <= members"},
        scope=of_the_cut,
        may_be_empty=True,
    ),
    Declared("gold/memberships", holds={"segment_is_named": "rule_segment != ''"}, may_be_empty=True),
    Declared(
        "gold/personas",
        holds={"card_is_json": "get_json_object(card, '$') IS NOT NULL", "size_is_not_negative": "size >= 0"},
        also=(_unique("segment_id"),),
        may_be_empty=True,
    ),
    Declared(
        "gold/model_metrics",
        holds={
            f"{name}_is_a_share": f"{name} BETWEEN 0 AND 1.000000001"  # sums of parts round
            for name in ("precision", "recall", "ndcg", "map", "coverage")
        }
        | {f"{name}_is_a_share": f"{name} IS NULL OR {name} BETWEEN 0 AND 1.000000001" for name in ("f1", "auc")},
        may_be_empty=True,
    ),
    Declared(
        "gold/similar_items",
        holds={"item_is_not_near_itself": "item_id != near_id", "score_is_a_number": "NOT isnan(score)"},
        may_be_empty=True,
    ),
    Declared("gold/items", holds=_PRICE, also=(_unique("item_id"),), may_be_empty=True),
    Declared(
        "gold/recommendations",
        holds={"list_is_not_empty": "octet_length(recommendations) > 0"},
        also=(gxe.ExpectColumnUniqueValueCountToBeBetween(column="model_version", min_value=1, max_value=1),),
    ),
    *(_tiles(f"gold/{group.table}") for group in GROUPS.values()),
    Declared("silver/customers", also=(_unique("customer_id"),)),
    Declared(
        "gold/persons",
        holds={"person_has_a_customer": "customers >= 1"},
        also=(_unique("person_id"),),
        may_be_empty=True,
    ),
    Declared("gold/person_links", also=(_unique("customer_id"),), may_be_empty=True),
    Declared(
        "gold/review_queue",
        holds={
            "pair_is_of_two_persons": "customer_id != other_id AND person_id != other_person_id",
            "probability_is_one": "probability BETWEEN 0 AND 1",
        },
        may_be_empty=True,
    ),
    Declared("gold/fills", holds={"method_is_named": "method != ''"}, may_be_empty=True),
    Declared("gold/prepared", holds={"row_has_features": "size(features) > 0"}, may_be_empty=True),
)
"""The tables behind a gate, in the order in which they are told: all but what people judged, trials and accounts."""


def conditions(declared: Declared) -> dict[str, str]:
    """Every condition on a row of the table by name: those of its contract, then its own."""
    contract: Contract = TABLES[declared.table].contract
    named = {f"{x.name}_is_given": f"`{x.name}` IS NOT NULL" for x in contract.fields if not x.nullable}
    return named | dict(declared.holds)


def judged(rows: DataFrame, declared: Declared) -> DataFrame:
    """The rows with ``fault``: the name of the first condition each breaks, null where it breaks none."""
    broken: list[Column] = [
        f.when(~f.coalesce(f.expr(holds), f.lit(False)), f.lit(name)) for name, holds in conditions(declared).items()
    ]
    return rows.withColumn(FAULT, f.coalesce(*broken))


def suite(declared: Declared, empty: bool = False) -> ExpectationSuite:
    """The table's suite: its columns, that it has rows, that no row has a fault, and what was written for it.

    Of a table that is ``empty`` and may be, nothing is asked as a whole: Great Expectations finds no row unique in it.
    """
    columns = {*TABLES[declared.table].contract.names, FAULT}
    expectations = [
        gxe.ExpectTableColumnsToMatchSet(column_set=sorted(columns), exact_match=True),
        gxe.ExpectTableRowCountToBeBetween(min_value=0 if declared.may_be_empty else 1),
        gxe.ExpectColumnValuesToBeNull(column=FAULT),
        *(expectation.copy(deep=True) for expectation in declared.also if not empty),
    ]
    return ExpectationSuite(name=declared.table.replace("/", "_"), expectations=expectations)


def share_suite(most_quarantined: float) -> ExpectationSuite:
    """The suite of a frame whose one row has the column ``quarantined_share``."""
    most = gxe.ExpectColumnMaxToBeBetween(column="quarantined_share", max_value=most_quarantined)
    return ExpectationSuite(name="quarantine_share", expectations=[most])
