"""Rule segments: each declared once, as a condition over a visitor's features and current session.

A condition reads values of named sources: the features of the group ``activity`` over a window that ends now
(``last("24 hours").carts``), and the session that goes on, or ended within a day (``session.pages``). The same
declaration is evaluated in serving, over the merge of both layers, and in Spark, over the lake (jobs/memberships.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from common.contracts.core import LONG
from common.contracts.sessions import SESSIONS
from common.features.algebra import Decayed
from common.features.expressions import Column, Expr
from common.features.groups import activity
from common.features.windows import DAY_MS, HOUR_MS, MINUTE_MS, duration_ms
from common.merge import Merged, answer

SESSION = "session"
"""The source of a rule's values about the current session."""

SESSION_RECENT_MS = DAY_MS
"""A session that ended longer ago is current no more."""

DERIVED = "hour"
"""A value of the session beyond its fields: the UTC hour it began at, 0 to 23."""


@dataclass(frozen=True)
class _Source:
    """The values of one source as columns of a visitor's row; a strange name is a ContractError."""

    name: str

    def __getattr__(self, value: str) -> Column:
        if value.startswith("_"):
            raise AttributeError(value)
        if self.name == SESSION:
            kind = LONG if value == DERIVED else SESSIONS.field(value).kind
        else:
            if isinstance(activity.aggregates.get(value), Decayed):
                raise TypeError(f"{value} decays: its value depends on the instant it is scaled to, not on a window")
            kind = activity.contract().field(value).kind
        return Column(f"{self.name}/{value}", kind)


def last(window: str) -> _Source:
    """The features of ``activity`` over a window such as ``"24 hours"``; raises ValueError where it is no span."""
    duration_ms(window)
    return _Source(window)


session = _Source(SESSION)
"""The current session: the fields of the contract ``sessions``, and the hour it began at."""


@dataclass(frozen=True)
class RuleSegment:
    """A segment whose members are those for whom ``condition`` holds."""

    name: str
    title: str
    doc: str
    condition: Expr

    def __post_init__(self) -> None:
        strange = sorted(name for name in self.condition.columns() if "/" not in name)
        if strange:
            raise ValueError(f"rule segment {self.name} reads {', '.join(strange)}, which no source of a visitor has")

    def values(self) -> frozenset[tuple[str, str]]:
        """What it reads, as pairs of source and value."""
        return frozenset((source, value) for source, _, value in (c.partition("/") for c in self.condition.columns()))

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether a visitor with these values is a member; a null condition is no."""
        return self.condition.evaluate(values) is True


CART_ABANDONERS = RuleSegment(
    name="cart_abandoners",
    title="Cart Abandoners",
    doc="Put something into the cart within 24 hours and ordered nothing.",
    condition=(last("24 hours").carts > 0) & (last("24 hours").orders == 0),
)

FREQUENT_BUYERS = RuleSegment(
    name="frequent_buyers",
    title="Frequent Buyers",
    doc="More than 3 orders within 30 days.",
    condition=last("30 days").orders > 3,
)

HIGH_VALUE = RuleSegment(
    name="high_value",
    title="High-Value Customers",
    doc="At least 2 orders within 30 days, for 500 or more in all.",
    condition=(last("30 days").orders >= 2) & (last("30 days").spend >= 500),
)

ENGAGED = RuleSegment(
    name="engaged",
    title="Engaged Visitors",
    doc="At least 5 pages in the session, or more than 10 minutes.",
    condition=(session.pages >= 5) | (session.session_end > session.session_start + 10 * MINUTE_MS),
)

EVENING_BROWSERS = RuleSegment(
    name="evening_browsers",
    title="Evening Mobile Browsers",
    doc="At least 5 pages within 24 hours, on a mobile in the evening (18 to 23 h UTC), bought within 30 days.",
    condition=(
        (last("24 hours").views >= 5)
        & (session.device == "mobile")
        & (session.hour >= 18)
        & (session.hour < 23)
        & (last("30 days").orders > 0)
    ),
)

RULES: dict[str, RuleSegment] = {
    rule.name: rule for rule in (CART_ABANDONERS, FREQUENT_BUYERS, HIGH_VALUE, ENGAGED, EVENING_BROWSERS)
}

WINDOWS: tuple[str, ...] = tuple(
    sorted({source for rule in RULES.values() for source, _ in rule.values()} - {SESSION}, key=duration_ms)
)
"""The windows of ``activity`` that the rules read."""


def rule_segments(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the rules that hold for a visitor with these values, in declared order."""
    return tuple(rule.name for rule in RULES.values() if rule.holds(values))


def visitor_values(merged: Merged, sessions: Iterable[Mapping[str, Any]], now_ms: int) -> dict[str, Any]:
    """The values of a visitor that rules read, from its merged tiles of ``activity`` and its sessions."""
    values: dict[str, Any] = {}
    for window in WINDOWS:
        features = answer(activity, merged, now_ms, window).get("") or _no_activity()
        values |= {f"{window}/{name}": value for name, value in features.items()}
    current = current_session(sessions, now_ms)
    if current is not None:
        values |= {f"{SESSION}/{name}": current[name] for name in SESSIONS.names}
        values[f"{SESSION}/{DERIVED}"] = current["session_start"] % DAY_MS // HOUR_MS
    return values


def current_session(sessions: Iterable[Mapping[str, Any]], now_ms: int) -> Mapping[str, Any] | None:
    """The newest of a visitor's sessions, where it ended less than a day before ``now_ms``."""
    newest = max(sessions, key=lambda row: row["session_start"], default=None)
    return newest if newest is not None and newest["session_end"] > now_ms - SESSION_RECENT_MS else None


@cache
def _no_activity() -> dict[str, Any]:
    return {"n": 0} | {name: aggregate.zero() for name, aggregate in activity.aggregates.items()}
