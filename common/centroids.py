"""Centroids of segments: the nearest one, the same one from run to run, and names for people to speak of."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


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


def same_centroids(centroids: NDArray[Any], before: Mapping[int, Sequence[float]], within: float) -> list[int | None]:
    """The id that each of ``centroids`` (k, d) had before, None for one that is new.

    ``before`` are the earlier centroids by id, in the same coordinates. Pairs are made so that the sum of their
    distances is least, then those further apart than ``within`` are parted.
    """
    ids = sorted(before)
    same: list[int | None] = [None] * len(centroids)
    if not ids or len(centroids) == 0:
        return same
    earlier = np.asarray([before[i] for i in ids], dtype=np.float64)
    distances = np.sqrt(((np.asarray(centroids)[:, None, :] - earlier[None, :, :]) ** 2).sum(axis=2))
    for row, column in zip(*linear_sum_assignment(distances), strict=True):
        if distances[row, column] <= within:
            same[int(row)] = ids[int(column)]
    return same


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


HABIT = 0.1
"""How much nearer (in squared distance) another prototype must be before a segment that had a name loses it."""


def name_centroids(centroids: Sequence[Sequence[float]], had: Sequence[str | None] = ()) -> list[str]:
    """A name for each centroid (recency in days, frequency in orders, monetary), in their order.

    Each centroid is placed among the others by log1p, from 0 to 1, and the prototypes are given out, each once, so
    that the sum of squared distances is least. ``had`` are the names that the segments had before, None for a new
    one: a small drift does not rename them. Beyond as many as there are prototypes, the rest take the nearest
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
    known = [p.name for p in PROTOTYPES]
    for position, i in enumerate(order):
        if i < len(had) and had[i] in known:
            costs[position, known.index(str(had[i]))] -= HABIT
    names = [""] * len(points)
    taken: list[int | None] = [None] * len(points)
    for position, which in zip(*linear_sum_assignment(costs), strict=True):
        taken[int(position)] = int(which)
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
