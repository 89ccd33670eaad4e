"""Rule segments: each declared once, as a condition over a visitor's features and current session.

A condition reads values of named sources: the features of the group ``activity`` over a window that ends now
(``last("24 hours").carts``), those of ``interest`` in one category (``last("30 days", category="toys.games").n``), the
session that goes on, or ended within a day (``session.pages``), and what is known of the customer
(``person.age_band``). The same declaration is evaluated in serving, over the merge of both layers, and in Spark, over
the lake (jobs/memberships.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from common.contracts.core import LONG
from common.contracts.profiles import PROFILE
from common.contracts.sessions import SESSIONS
from common.errors import ContractError
from common.features.algebra import Decayed
from common.features.expressions import Column, Expr
from common.features.groups import FeatureGroup, activity, interest
from common.features.windows import DAY_MS, HOUR_MS, MINUTE_MS, duration_ms
from common.merge import Merged, answer

SESSION = "session"
"""The source of a rule's values about the current session."""

SESSION_RECENT_MS = DAY_MS
"""A session that ended longer ago is current no more."""

DERIVED = "hour"
"""A value of the session beyond its fields: the UTC hour it began at, 0 to 23."""

PERSON = "person"
"""The source of a rule's values about the customer: fields of the profile, as of the cut."""

PERSONAL = ("age_band",)
"""What rules may read of a customer."""


@dataclass(frozen=True)
class Window:
    """Tiles that a rule reads: over a span that ends now, of ``activity``, or of ``interest`` in one category."""

    span: str
    category: str = ""

    @classmethod
    def of(cls, source: str) -> "Window":
        """The window that a source names."""
        span, _, category = source.partition("/")
        return cls(span, category)

    @property
    def source(self) -> str:
        """Its name as a source of values."""
        return f"{self.span}/{self.category}" if self.category else self.span

    @property
    def group(self) -> FeatureGroup:
        """The group whose tiles they are."""
        return interest if self.category else activity


@dataclass(frozen=True)
class _Source:
    """The values of one source as columns of a visitor's row; a strange name is a ContractError."""

    name: str

    def __getattr__(self, value: str) -> Column:
        if value.startswith("_"):
            raise AttributeError(value)
        if self.name == SESSION:
            kind = LONG if value == DERIVED else SESSIONS.field(value).kind
        elif self.name == PERSON:
            if value not in PERSONAL:
                raise ContractError(f"a rule can read no field {value} of a person; it can read {', '.join(PERSONAL)}")
            kind = PROFILE.field(value).kind
        else:
            group = Window.of(self.name).group
            if isinstance(group.aggregates.get(value), Decayed):
                raise TypeError(f"{value} decays: its value depends on the instant it is scaled to, not on a window")
            kind = group.contract().field(value).kind
        return Column(f"{self.name}/{value}", kind)


def last(window: str, *, category: str | None = None) -> _Source:
    """The features of ``activity`` over a window such as ``"24 hours"``, or of ``interest`` in one category.

    A category is the whole dotted path. Raises ValueError where the window is no span or the category is no path.
    """
    duration_ms(window)
    if category is None:
        return _Source(window)
    if not category or "`" in category:
        raise ValueError(f"a category of {len(category)} characters is empty or holds a backtick: name its dotted path")
    return _Source(Window(window, category).source)


session = _Source(SESSION)
"""The current session: the fields of the contract ``sessions``, and the hour it began at."""

person = _Source(PERSON)
"""What is known of the customer at the cut; null of a visitor who is none."""


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
        return frozenset((source, value) for source, _, value in (c.rpartition("/") for c in self.condition.columns()))

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

_EVENING_ON_A_MOBILE = (session.device == "mobile") & (session.hour >= 18) & (session.hour < 23)

EVENING_BROWSERS = RuleSegment(
    name="evening_browsers",
    title="Evening Mobile Browsers",
    doc="At least 5 pages within 24 hours, on a mobile in the evening (18 to 23 h UTC), bought within 30 days.",
    condition=(last("24 hours").views >= 5) & _EVENING_ON_A_MOBILE & (last("30 days").orders > 0),
)

EVENING_WRITERS = RuleSegment(
    name="evening_writers",
    title="Evening Notebook Lovers, 25 to 34",
    doc="Aged 25 to 34: at least 5 pages within 24 hours, on a mobile in the evening, notebooks within 30 days.",
    condition=(
        (person.age_band == "25-34")
        & (last("24 hours").views >= 5)
        & _EVENING_ON_A_MOBILE
        & (last("30 days", category="paper.notebooks").n > 0)
    ),
)

RULES: dict[str, RuleSegment] = {
    rule.name: rule
    for rule in (CART_ABANDONERS, FREQUENT_BUYERS, HIGH_VALUE, ENGAGED, EVENING_BROWSERS, EVENING_WRITERS)
}

WINDOWS: tuple[Window, ...] = tuple(
    Window.of(source)
    for source in sorted({source for rule in RULES.values() for source, _ in rule.values()} - {SESSION, PERSON})
)
"""The tiles that the rules read."""

GROUPS_READ: tuple[FeatureGroup, ...] = tuple(dict.fromkeys(window.group for window in WINDOWS))
"""The groups of those tiles."""


def rule_segments(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the rules that hold for a visitor with these values, in declared order."""
    return tuple(rule.name for rule in RULES.values() if rule.holds(values))


def visitor_values(
    merged: Mapping[str, Merged], sessions: Iterable[Mapping[str, Any]], age_band: str | None, now_ms: int
) -> dict[str, Any]:
    """The values of a visitor that rules read, from its merged tiles of :data:`GROUPS_READ`, by the group's name, its
    sessions, and its band of age at the cut."""
    values: dict[str, Any] = {f"{PERSON}/age_band": age_band}
    for window in WINDOWS:
        group, category = window.group, window.category
        found = answer(group, merged[group.name], now_ms, window.span, category or None)
        features = found.get(category) or _nothing(group)
        values |= {f"{window.source}/{name}": value for name, value in features.items()}
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
def _nothing(group: FeatureGroup) -> dict[str, Any]:
    return {"n": 0} | {name: aggregate.zero() for name, aggregate in group.aggregates.items()}
