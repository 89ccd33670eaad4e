"""Timed absence: "viewed X and did not cart it within five minutes", declared as rules, with one exact meaning.

A rule has types of events that start it, types that it waits for, a span, and whether it is about a visitor and one
item or about the visitor alone. A start fires where nothing cancelled it, and it is cancelled by an event of the same
visitor (and item) that

- is of an awaited type, or is a later start of the same rule: of a visitor who looks again and again, the last look
  counts, so an absence fires once;
- happened from the start's instant up to the end of the span, both inclusive;
- came, by its Kafka timestamp, no later than the span and :data:`GRACE_MS` after the start came.

So whether a rule fires is a fact of the records: no wall clock takes part, a replay fires the same, and waiting for
stragglers is bounded by the grace, not by the lateness of sessions. Late events (``event_ms < ingest_ms - lateness``)
start nothing. Of an event's copies the first counts, as everywhere.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from common.contracts.events import EVENT_TYPES
from common.errors import ConfigError
from common.features.windows import DAY_MS, SECOND_MS, duration_ms

GRACE_MS = 10 * SECOND_MS
"""How much longer than its span a rule waits for an event that is under way."""

LONGEST_MS = DAY_MS
"""The longest span of a rule: the stream keeps each start for as long."""

ITEM, VISITOR = "item", "visitor"

_RULE = re.compile(
    r"(?P<name>[a-z][a-z0-9_]*): (?P<after>\S+) not (?P<unless>\S+) within (?P<within>.+) per (?P<per>\S+)"
)


@dataclass(frozen=True)
class AbsenceRule:
    """Fires where an event of a type in ``after`` is followed by none of ``unless`` within ``within_ms``.

    ``per`` is ``item`` (the visitor and the item; events without an item take no part) or ``visitor``.
    """

    name: str
    after: tuple[str, ...]
    unless: tuple[str, ...]
    within_ms: int
    per: str

    def __post_init__(self) -> None:
        unknown = sorted({*self.after, *self.unless} - EVENT_TYPES)
        if unknown or not self.after or not self.unless:
            raise ConfigError(
                f"trigger {self.name}: {', '.join(unknown) or 'nothing'} is no event type;"
                f" there are {', '.join(sorted(EVENT_TYPES))}"
            )
        both = sorted({*self.after} & {*self.unless})
        if both:
            raise ConfigError(f"trigger {self.name}: {', '.join(both)} cannot both start it and be waited for")
        if self.per not in (ITEM, VISITOR):
            raise ConfigError(f"trigger {self.name}: it is per item or per visitor, not per {self.per}")
        if not 0 < self.within_ms <= LONGEST_MS:
            raise ConfigError(f"trigger {self.name}: its span is above 0 and at most {LONGEST_MS // DAY_MS} day")

    def key(self, row: Mapping[str, Any]) -> tuple[str, str] | None:
        """Whom the event concerns under this rule; None where it takes no part."""
        if row["event_type"] not in (*self.after, *self.unless):
            return None
        if self.per == VISITOR:
            return row["visitor_id"], ""
        return None if row.get("item_id") is None else (row["visitor_id"], row["item_id"])


RULES: tuple[AbsenceRule, ...] = (
    AbsenceRule("viewed_not_carted", ("view",), ("cart", "purchase"), duration_ms("5 minutes"), ITEM),
    AbsenceRule("carted_not_bought", ("cart",), ("purchase",), duration_ms("30 minutes"), VISITOR),
    AbsenceRule("searched_not_viewed", ("search",), ("view", "cart", "purchase"), duration_ms("2 minutes"), VISITOR),
)
"""The declared rules."""


def parse_rule(text: str) -> AbsenceRule:
    """A rule from ``NAME: TYPE|... not TYPE|... within SPAN per item|visitor``; raises ConfigError where it is not one.

    For example ``rated_not_shared: rate not share within 10 minutes per item``.
    """
    found = _RULE.fullmatch(text.strip())
    if found is None:
        raise ConfigError(
            f"{text.strip()!r} is no trigger: write NAME: view|... not cart|... within 5 minutes per item (or visitor)"
        )
    try:
        within_ms = duration_ms(found["within"])
    except ValueError as error:
        raise ConfigError(f"trigger {found['name']}: {error}") from error
    after, unless = (tuple(found[part].split("|")) for part in ("after", "unless"))
    return AbsenceRule(found["name"], after, unless, within_ms, found["per"])


def rules_with(texts: Iterable[str], declared: tuple[AbsenceRule, ...] = RULES) -> tuple[AbsenceRule, ...]:
    """The declared rules and those of the texts; a text with a declared name replaces that rule."""
    rules = {rule.name: rule for rule in declared}
    rules |= {rule.name: rule for rule in map(parse_rule, texts)}
    return tuple(rules.values())


def fires(rule: AbsenceRule, start: Mapping[str, Any], events: Iterable[Mapping[str, Any]], lateness_ms: int) -> bool:
    """Whether the rule fires for an event, among all events, each once (its first copy)."""
    key = rule.key(start)
    if key is None or start["event_type"] not in rule.after or start["event_ms"] < start["ingest_ms"] - lateness_ms:
        return False
    until_ms, by_ms = start["event_ms"] + rule.within_ms, decided_ms(rule, start)
    for row in events:
        if rule.key(row) != key or not start["event_ms"] <= row["event_ms"] <= until_ms or row["ingest_ms"] > by_ms:
            continue
        later = (row["event_ms"], row["event_id"]) > (start["event_ms"], start["event_id"])
        if row["event_type"] in rule.unless or later:
            return False
    return True


def decided_ms(rule: AbsenceRule, start: Mapping[str, Any]) -> int:
    """The Kafka timestamp up to which what comes can still cancel a start."""
    return start["ingest_ms"] + rule.within_ms + GRACE_MS
