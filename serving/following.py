"""What visitors turn to after an item: tiles of ``covisits`` of both layers, merged by the same rule as a visitor's."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from common.features.algebra import Decayed
from common.features.groups import GROUPS
from common.features.tiles import BatchTiles
from common.features.windows import EVER
from common.merge import answer
from serving.catalogue import Catalogue
from serving.live import Live
from serving.reasons import MIN_SHARE, Reason
from serving.stores import ItemRows
from serving.visitor import merged_group, speed_tile

GROUP = GROUPS["covisits"]
assert isinstance(GROUP.aggregates["mass"], Decayed), "what comes next is ranked by a decayed sum"

NEXT_WEIGHT = 0.5
"""What being turned to next weighs beside being alike, which weighs 1."""

TRUST = 5.0
"""The mass, in event weights, at which what was seen to come next counts by half: one visit must not lead a list."""

TEXTS = {"acted": "Similar to what you look at", "next": "Often looked at next"}
"""The reasons, by kind."""


@dataclass(frozen=True)
class Following:
    """The items turned to next: each one's decayed mass, and the mass of all."""

    masses: Mapping[str, float] = field(default_factory=dict)

    @property
    def shares(self) -> dict[str, float]:
        """Each item's mass relative to the strongest, in [0, 1], less where little was seen at all."""
        total, most = sum(self.masses.values()), max(self.masses.values(), default=0.0)
        if most <= 0:
            return {}
        return {item: mass / most * total / (total + TRUST) for item, mass in self.masses.items() if mass > 0}


def merge_following(rows: ItemRows, live: Live, at_ms: int) -> Following:
    """What was turned to next as of ``at_ms``, from the item's rows of both layers."""
    stored = [speed_tile(GROUP, row) for row in rows.next_batch]
    batch = BatchTiles(
        ever=tuple(tile for tile in stored if tile.start == EVER),
        hours=tuple(tile for tile in stored if tile.start != EVER),
    )
    merged = merged_group(GROUP, {GROUP.name: batch}, rows.next_speed, live)
    return Following({item: found["mass"] for item, found in answer(GROUP, merged, at_ms).items()})


@dataclass(frozen=True)
class Near:
    """An item beside another one: its index in the catalogue, its score and why."""

    index: int
    score: float
    reasons: list[Reason]


def rank_near(
    catalogue: Catalogue, item_id: str, alike: tuple[NDArray[np.int32], NDArray[np.float32]], found: Following, n: int
) -> list[Near]:
    """The ``n`` best of what is alike (indexes, scores) and what is turned to next, each with its reasons.

    An item's score is its likeness relative to the best, and :data:`NEXT_WEIGHT` times how often it came next.
    """
    indexes, scores = alike
    best = float(scores.max()) if len(scores) else 0.0
    likeness = {int(i): float(s) / best for i, s in zip(indexes, scores, strict=True) if s > 0}
    index = catalogue.model.index
    comes = {index[item]: NEXT_WEIGHT * share for item, share in found.shares.items() if item in index}
    out = []
    for one in (likeness.keys() | comes.keys()) - {index.get(item_id)}:
        parts = {"acted": likeness.get(one, 0.0), "next": comes.get(one, 0.0)}
        score = sum(parts.values())
        why = [
            Reason(kind, TEXTS[kind], round(part / score, 3), item_id=item_id)
            for kind, part in sorted(parts.items(), key=lambda pair: -pair[1])
            if part / score >= MIN_SHARE
        ]
        out.append(Near(one, score, why))
    return sorted(out, key=lambda near: (-near.score, near.index))[:n]
