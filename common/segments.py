"""Segments: rules as typed expressions over features and sessions, and names for KMeans centroids.

A rule reads the features of the group ``activity`` over a window that ends now, or one session; it is declared once,
and what both layers computed for it is what :func:`common.merge.answer` and the sessions view give.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.contracts.sessions import SESSIONS
from common.features.expressions import Column, Expr
from common.features.groups import activity
from common.features.windows import MINUTE_MS, duration_ms

SESSION = "session"
"""The window of a rule that reads one session."""

# --- rules --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RuleSegment:
    """A segment whose members are those for whom ``condition`` holds.

    ``window`` is a span such as ``"24 hours"`` over the features of ``activity``, or ``"session"``.
    """

    name: str
    title: str
    doc: str
    window: str
    condition: Expr

    def __post_init__(self) -> None:
        if self.window != SESSION:
            duration_ms(self.window)
        known = set(SESSIONS.names) if self.window == SESSION else set(activity.columns)
        strange = sorted(self.condition.columns() - known)
        if strange:
            raise ValueError(f"rule segment {self.name} reads {', '.join(strange)}, which its window does not have")

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether a visitor with these values is a member; a null condition is no."""
        return self.condition.evaluate(values) is True


def _activity(name: str) -> Column:
    return Column(name, activity.contract().field(name).kind)


def _session(name: str) -> Column:
    return Column(name, SESSIONS.field(name).kind)


CART_ABANDONERS = RuleSegment(
    name="cart_abandoners",
    title="Cart Abandoners",
    doc="Put something into the cart within 24 hours and ordered nothing.",
    window="24 hours",
    condition=(_activity("carts") > 0) & (_activity("orders") == 0),
)

FREQUENT_BUYERS = RuleSegment(
    name="frequent_buyers",
    title="Frequent Buyers",
    doc="More than 3 orders within 30 days.",
    window="30 days",
    condition=_activity("orders") > 3,
)

ENGAGED = RuleSegment(
    name="engaged",
    title="Engaged Visitors",
    doc="At least 5 pages in the session, or more than 10 minutes.",
    window=SESSION,
    condition=(_session("pages") >= 5) | (_session("session_end") > _session("session_start") + 10 * MINUTE_MS),
)

RULES: dict[str, RuleSegment] = {rule.name: rule for rule in (CART_ABANDONERS, FREQUENT_BUYERS, ENGAGED)}

WINDOWS: tuple[str, ...] = tuple(sorted({rule.window for rule in RULES.values()} - {SESSION}, key=duration_ms))
"""The windows of ``activity`` that the rules read."""


def rule_segments(
    windows: Mapping[str, Mapping[str, Any] | None], session: Mapping[str, Any] | None = None
) -> tuple[str, ...]:
    """The names of the rules that hold for a visitor, in declared order.

    ``windows`` has the features of ``activity`` for each of :data:`WINDOWS` (None or empty: no event in it), as
    ``answer(activity, merged, now_ms, window).get("")`` gives them; ``session`` is the row of the current session.
    Raises KeyError where a window is left out.
    """
    held = []
    for rule in RULES.values():
        values = session if rule.window == SESSION else (windows[rule.window] or _no_activity())
        if values is not None and rule.holds(values):
            held.append(rule.name)
    return tuple(held)


@cache
def _no_activity() -> dict[str, Any]:
    return {"n": 0} | {name: aggregate.zero() for name, aggregate in activity.aggregates.items()}


# --- centroids ----------------------------------------------------------------------------------------


class Nearest(NamedTuple):
    """The index of the nearest centroid and the Euclidean distance to it, of each row."""

    centroid: NDArray[np.int64]
    distance: NDArray[np.float64]


def nearest(centroids: NDArray[Any] | Sequence[Sequence[float]], x: NDArray[Any] | Sequence[Any]) -> Nearest:
    """The nearest of ``centroids`` (k, d) to each row of ``x`` (n, d) or to one row (d,); the first of equals."""
    centres, rows = np.asarray(centroids, dtype=np.float64), np.atleast_2d(np.asarray(x, dtype=np.float64))
    if centres.ndim != 2 or len(centres) == 0 or rows.shape[1] != centres.shape[1]:
        raise ValueError(f"centroids of shape {centres.shape} do not fit rows of shape {rows.shape}")
    # Differences, not the expanded square: that one loses the digits that decide between near centroids.
    squares = ((rows[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
    index = squares.argmin(axis=1)
    return Nearest(index, np.sqrt(squares[np.arange(len(rows)), index]))


class _Prototype(NamedTuple):
    name: str
    recent: float
    frequent: float
    spending: float


PROTOTYPES: tuple[_Prototype, ...] = (
    _Prototype("Loyal Customers", 1.0, 1.0, 1.0),
    _Prototype("Lapsed Customers", 0.0, 0.0, 0.0),
    _Prototype("Newcomers", 1.0, 0.0, 0.0),
    _Prototype("Big Spenders", 0.6, 0.5, 1.0),
    _Prototype("Bargain Hunters", 0.8, 0.8, 0.3),
    _Prototype("Occasional Buyers", 0.6, 0.4, 0.4),
    _Prototype("Lapsing Regulars", 0.2, 0.6, 0.6),
    _Prototype("One-time Big Baskets", 0.3, 0.0, 0.8),
)
"""What a segment's name stands for: how recent, frequent and spending its centre is among the others, 0 to 1."""

LEAST_RANGE = math.log(2)
"""Centroids within a factor of two of each other are not stretched over the whole range from 0 to 1."""


def name_centroids(centroids: Sequence[Sequence[float]]) -> list[str]:
    """A name for each centroid (recency in days, frequency in orders, monetary), in their order.

    Each centroid is placed among the others by log1p, from 0 to 1, and the prototypes are given out, each once, so
    that the sum of squared distances is least. Beyond as many as there are prototypes, the rest take the nearest
    prototype's name with a number. The names are unique and do not depend on the centroids' order. Raises
    ValueError where a centroid is not three finite numbers from 0.
    """
    if len(centroids) == 0:
        return []
    points = np.asarray([list(c) for c in centroids], dtype=np.float64)
    if points.shape[1] != 3 or not np.isfinite(points).all() or (points < 0).any():
        raise ValueError("a centroid is (recency_days, frequency, monetary), three finite numbers from 0")
    logs = np.log1p(points)
    low, high = logs.min(axis=0), logs.max(axis=0)
    middle, span = (low + high) / 2, np.maximum(high - low, LEAST_RANGE)
    placed = 0.5 + (logs - middle) / span
    placed[:, 0] = 1 - placed[:, 0]  # few days are recent
    order = sorted(range(len(points)), key=lambda i: tuple(points[i]))
    wanted = np.array([p[1:] for p in PROTOTYPES])
    costs = ((placed[order][:, None, :] - wanted[None, :, :]) ** 2).sum(axis=2)
    names = [""] * len(points)
    taken = _cheapest(costs)
    for position, which in enumerate(taken):
        if which is not None:
            names[order[position]] = PROTOTYPES[which].name
    count: dict[str, int] = {}
    for position, which in enumerate(taken):
        if which is None:
            name = PROTOTYPES[int(costs[position].argmin())].name
            count[name] = count.get(name, 1) + 1
            names[order[position]] = f"{name} {count[name]}"
    return names


def _cheapest(costs: NDArray[np.float64]) -> list[int | None]:
    """The prototype of each row at the least total cost, each given out at most once, as many as can be.

    Row by row over the sets of prototypes given out so far: at most 2 ** 8 sets.
    """
    rows, prototypes = costs.shape
    spare = max(0, rows - prototypes)  # rows that go without
    best: dict[int, tuple[float, tuple[int | None, ...]]] = {0: (0.0, ())}
    for row in range(rows):
        step: dict[int, tuple[float, tuple[int | None, ...]]] = {}
        for given, (cost, chosen) in best.items():
            choices: list[tuple[int, float, int | None]] = [
                (given | 1 << j, cost + float(costs[row, j]), j) for j in range(prototypes) if not given >> j & 1
            ]
            if row - given.bit_count() < spare:
                choices.append((given, cost, None))
            for now_given, total, choice in choices:
                if now_given not in step or total < step[now_given][0]:
                    step[now_given] = (total, (*chosen, choice))
        best = step
    return list(min(best.values(), key=lambda found: found[0])[1])
