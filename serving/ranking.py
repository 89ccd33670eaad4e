"""Ranking: what an answer's score is made of, the rules, and a little variety. Pure numpy, no I/O."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.ranking import best_items
from serving.settings import Weights

CANDIDATES = 6
"""Items looked at for each one returned, so that variety has something to choose from."""


@dataclass(frozen=True)
class Parts:
    """The weighted parts of every item's score, float32 (items,) each."""

    relevance: NDArray[np.float32]
    interest: NDArray[np.float32]
    popularity: NDArray[np.float32]

    @property
    def score(self) -> NDArray[np.float32]:
        """Their sum."""
        return self.relevance + self.interest + self.popularity


@dataclass(frozen=True)
class Ranked:
    """The chosen items, best first: their indexes and final scores (after the rules and variety)."""

    indexes: NDArray[np.int32]
    scores: NDArray[np.float32]


def weigh(
    weights: Weights,
    relevance: NDArray[np.floating],
    interest: NDArray[np.floating],
    popularity: NDArray[np.floating],
) -> Parts:
    """The parts of the score; relevance comes raw and is taken relative to the best item, never below zero."""
    best = float(relevance.max(initial=0.0))
    relative = np.clip(relevance / best, 0.0, 1.0) if best > 0 else np.zeros_like(relevance)
    return Parts(
        (weights.relevance * relative).astype(np.float32),
        (weights.interest * interest).astype(np.float32),
        (weights.popularity * popularity).astype(np.float32),
    )


def rank(
    weights: Weights,
    parts: Parts,
    categories: NDArray[np.int32],
    n: int,
    purchased: NDArray[np.integer] | None = None,
    familiar: NDArray[np.integer] | None = None,
) -> Ranked:
    """The ``n`` best items under the rules.

    ``purchased`` are left out (where the weights say so), ``familiar`` are set lower, and each further item of a
    category is set lower than the one before. Equal scores stand in the order of their indexes.
    """
    scores = parts.score
    if familiar is not None and len(familiar):
        scores[familiar] *= weights.familiar
    if weights.exclude_purchased and purchased is not None and len(purchased):
        scores[purchased] = -np.inf
    chosen, best = best_items(scores[None, :], n * CANDIDATES).row(0)
    return _vary(weights, chosen, best, categories[chosen], n)


def _vary(
    weights: Weights, chosen: NDArray[np.int32], scores: NDArray[np.float32], categories: NDArray[np.int32], n: int
) -> Ranked:
    _, local = np.unique(categories, return_inverse=True)
    left = scores.copy()
    order: list[int] = []
    final: list[float] = []
    for _ in range(min(n, len(chosen))):
        best = int(left.argmax())
        order.append(best)
        final.append(float(left[best]))
        left[local == local[best]] *= weights.variety
        left[best] = -np.inf
    return Ranked(chosen[order], np.array(final, dtype=np.float32))
