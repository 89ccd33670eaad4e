"""Sessions: one rule, its oracle, and the fold of a session's row.

Events of a visitor belong together while the gap from one to the next is at most thirty minutes. A session is known
by (visitor_id, event_ms of its first event). One that spans more than a day is flagged as a suspected bot, not cut.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Any

import msgspec

from common.contracts.events import MONEY
from common.contracts.sessions import SESSIONS
from common.features.expressions import event
from common.features.windows import DAY_MS, MINUTE_MS

SESSION_GAP_MS = 30 * MINUTE_MS
"""The longest gap within a session, inclusive."""

INTENT_MAX = 1000
INTENT_HALF = 10.0
"""The weight at which intent stands at half of its maximum."""

Row = Mapping[str, Any]


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One session: the fields of the contract ``sessions`` v1, in its order."""

    visitor_id: str
    session_start: int
    session_end: int
    events: int
    pages: int
    items: int
    categories: int
    spend: Decimal
    weight: int
    intent: int
    entry: str | None
    exit: str | None
    device: str | None
    suspected_bot: bool
    closed: bool


assert Session.__struct_fields__ == SESSIONS.names, "Session and the contract sessions declare the same fields"


def sessionize(events: Iterable[Row], gap_ms: int = SESSION_GAP_MS) -> list[list[Row]]:
    """The events of each session, by visitor and start, each by (event_ms, event_id): the rule, stated plainly."""
    found: list[list[Row]] = []
    for row in sorted(events, key=lambda e: (e["visitor_id"], e["event_ms"], e["event_id"])):
        last = found[-1][-1] if found else None
        if last and last["visitor_id"] == row["visitor_id"] and row["event_ms"] - last["event_ms"] <= gap_ms:
            found[-1].append(row)
        else:
            found.append([row])
    return found


def intent(weight: int) -> int:
    """How much a session looks like one that buys, 0 to 1000, from the sum of its events' declared weights.

    It halves its distance to 1000 with every ten units of weight: a cart and seven views, say.
    """
    return math.floor(INTENT_MAX * (1 - 0.5 ** (weight / INTENT_HALF)) + 0.5)


_IS_PAGE = event.type == "view"
_IS_PURCHASE = event.type == "purchase"
_AMOUNT = event.price * event.quantity
_NOTHING = Decimal(0).scaleb(-MONEY.args[1])


@dataclass(frozen=True)
class Partial:
    """A session as far as some of its events tell: a commutative monoid over disjoint sets of them.

    ``first`` and ``last`` are (event_ms, event_id, item_id, device) of the earliest and latest event.
    """

    visitor_id: str
    first: tuple[int, str, str | None, str | None]
    last: tuple[int, str, str | None, str | None]
    events: int
    pages: int
    items: frozenset[str]
    categories: frozenset[str]
    spend: Decimal
    weight: int

    def merge(self, other: "Partial") -> "Partial":
        """The session of both sets of events."""
        return Partial(
            visitor_id=self.visitor_id,
            first=min(self.first, other.first, key=_moment),
            last=max(self.last, other.last, key=_moment),
            events=self.events + other.events,
            pages=self.pages + other.pages,
            items=self.items | other.items,
            categories=self.categories | other.categories,
            spend=self.spend + other.spend,
            weight=self.weight + other.weight,
        )

    def row(self, closed: bool = True) -> Session:
        """The session's row; ``closed`` is False while more events may come."""
        start, _, entry, device = self.first
        end, _, leave, _ = self.last
        return Session(
            visitor_id=self.visitor_id,
            session_start=start,
            session_end=end,
            events=self.events,
            pages=self.pages,
            items=len(self.items),
            categories=len(self.categories),
            spend=self.spend,
            weight=self.weight,
            intent=intent(self.weight),
            entry=entry,
            exit=leave,
            device=device,
            suspected_bot=end - start > DAY_MS,
            closed=closed,
        )


def _moment(at: tuple[int, str, str | None, str | None]) -> tuple[int, str]:
    return at[0], at[1]


def lift(row: Row) -> Partial:
    """The session of one event."""
    item, category = row.get("item_id"), row.get("category")
    at = (row["event_ms"], row["event_id"], item, row.get("device"))
    amount = _AMOUNT.evaluate(row) if _IS_PURCHASE.evaluate(row) else None
    return Partial(
        visitor_id=row["visitor_id"],
        first=at,
        last=at,
        events=1,
        pages=int(_IS_PAGE.evaluate(row) is True),
        items=frozenset() if item is None else frozenset({item}),
        categories=frozenset() if category is None else frozenset({category}),
        spend=_NOTHING if amount is None else _NOTHING + amount,
        weight=event.weight.evaluate(row),
    )


def fold_session(events: Iterable[Row], closed: bool = True) -> Session:
    """The row of one session from its events, in any order; raises ValueError where there are none."""
    parts = [lift(row) for row in events]
    if not parts:
        raise ValueError("a session has at least one event")
    return reduce(Partial.merge, parts).row(closed)


def sessions(events: Iterable[Row], gap_ms: int = SESSION_GAP_MS) -> list[Session]:
    """Every session's row, by visitor and start: the oracle of both layers."""
    return [fold_session(rows) for rows in sessionize(events, gap_ms)]


def merge_partials(a: Iterable[Partial], b: Iterable[Partial], gap_ms: int = SESSION_GAP_MS) -> list[Partial]:
    """The sessions of two disjoint sets of events from the sessions of each, by visitor and start.

    Two sessions whose intervals lie at most the gap apart are one: an event at an interval's end, or within it, is
    near an event of the other.
    """
    merged: list[Partial] = []
    for part in sorted((*a, *b), key=lambda p: (p.visitor_id, p.first[:2])):
        last = merged[-1] if merged else None
        if last and last.visitor_id == part.visitor_id and part.first[0] - last.last[0] <= gap_ms:
            merged[-1] = last.merge(part)
        else:
            merged.append(part)
    return merged


def merge_sessions(batch: Sequence[Session], speed: Sequence[Session], gap_ms: int = SESSION_GAP_MS) -> list[Session]:
    """Rows of both layers about the same events, each event counted once, by visitor and start.

    Rows do not carry their items, so two of them cannot be added up, and need not be: each layer's events are a
    subset of what happened. Where rows of the layers touch (at most the gap apart), those of the layer that has seen
    more events there stand for both; batch where they have seen as many, since it is exact. As with tiles, within
    the horizon the larger set holds the smaller.
    """
    rows = [(row, 0) for row in batch] + [(row, 1) for row in speed]
    rows.sort(key=lambda r: (r[0].visitor_id, r[0].session_start, r[1]))
    clusters: list[list[tuple[Session, int]]] = []
    visitor, reach = None, 0
    for row, layer in rows:
        if clusters and row.visitor_id == visitor and row.session_start - reach <= gap_ms:
            clusters[-1].append((row, layer))
            reach = max(reach, row.session_end)
        else:
            clusters.append([(row, layer)])
            visitor, reach = row.visitor_id, row.session_end
    kept: list[Session] = []
    for cluster in clusters:
        seen = [sum(row.events for row, layer in cluster if layer == which) for which in (0, 1)]
        winner = 1 if seen[1] > seen[0] else 0
        kept.extend(row for row, layer in cluster if layer == winner)
    return kept
