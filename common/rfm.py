"""Recency, frequency and monetary value as of now, and the segment that they lie in: batch at its cut, carried on.

Batch counts a visitor's orders exactly at the cut; what happened since, or came late, is the difference between the
merged tiles of the group ``activity`` and batch's own. So the live figures are what batch would say now, where the
lines of an order are numbered: a purchase without a line number counts as an order of its own until the next run.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from common.features.groups import activity
from common.features.tiles import BatchTiles, Tile
from common.features.windows import DAY_MS
from common.merge import answer, merge_tiles

MEASURES = ("recency_days", "frequency", "monetary")

STAY = 0.8
"""A visitor leaves the segment of the last run for one whose centroid is nearer than this share of its distance."""


@dataclass(frozen=True)
class LiveRfm:
    """Figures as of an instant: whole days since the last purchase, orders, money spent."""

    recency_days: int
    frequency: int
    monetary: Decimal


@dataclass(frozen=True)
class Centroid:
    """A published segment's centre in days, orders and money; ``deviation`` is that of log1p of each measure."""

    centre: tuple[float, float, float]
    deviation: tuple[float, float, float]


def read_centroid(text: str) -> Centroid | None:
    """The centroid of a segment view's row, None where the run that wrote it did not say its deviation.

    The text is JSON: the measures, and ``deviation``, a list in their order.
    """
    row = json.loads(text)
    if "deviation" not in row:
        return None
    recency, frequency, monetary = (float(row[name]) for name in MEASURES)
    of_recency, of_frequency, of_monetary = (float(value) for value in row["deviation"])
    return Centroid((recency, frequency, monetary), (of_recency, of_frequency, of_monetary))


def live_rfm(
    frequency: int | None,
    monetary: Decimal | None,
    batch: BatchTiles | None,
    speed: Sequence[Tile],
    cut_ms: int,
    now_ms: int,
) -> LiveRfm | None:
    """The figures at ``now_ms``; None where neither layer knows of a purchase.

    ``frequency`` and ``monetary`` are batch's at the cut (None: no purchase then), ``batch`` and ``speed`` the
    visitor's tiles of ``activity``; of batch its tiles ``ever`` and since the horizon are enough.
    """
    at_cut = answer(activity, merge_tiles(activity, batch, (), cut_ms), now_ms).get("") or _NOTHING
    merged = answer(activity, merge_tiles(activity, batch, speed, cut_ms), now_ms).get("") or _NOTHING
    if merged["last_purchase"] is None:
        return None
    return LiveRfm(
        recency_days=max(0, now_ms - merged["last_purchase"]) // DAY_MS,
        frequency=(frequency or 0) + merged["orders"] - at_cut["orders"],
        monetary=(monetary or Decimal(0)) + merged["spend"] - at_cut["spend"],
    )


def live_segment(
    rfm: LiveRfm, centroids: Mapping[int, Centroid], held: int | None = None, stay: float = STAY
) -> int | None:
    """The id of the segment whose centroid is nearest; None where none is published.

    Distances are those of the clustering: in standard deviations of log1p. ``held`` is the segment of the last run. It
    is kept unless another is clearly nearer, so that a visitor near a border does not change to and fro: between
    runs frequency and money only grow, and recency falls at a purchase alone.
    """
    if not centroids:
        return None
    figures = np.log1p([float(rfm.recency_days), float(rfm.frequency), max(0.0, float(rfm.monetary))])
    distances = {
        segment: float(np.linalg.norm((figures - np.log1p(c.centre)) / np.asarray(c.deviation)))
        for segment, c in sorted(centroids.items())
    }
    best = min(distances, key=distances.__getitem__)
    if held in distances and distances[best] >= stay * distances[held]:
        return held
    return best


_NOTHING: dict[str, Any] = {name: aggregate.zero() for name, aggregate in activity.aggregates.items()}
