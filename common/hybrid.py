"""Further candidates beside a model's, from items alike, and one list made of several sources of candidates.

A source scores some cells of the matrix of visitors and items. Sources have scales of their own, so each visitor's
scores of a source are taken relative to the best of them; a list is then the weighted sum.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.ranking import Best, Cells


@dataclass(frozen=True)
class Neighbours:
    """The items most like each, a row an item: indexes int32 (items, n), -1 where fewer, and scores float32."""

    items: NDArray[np.int32]
    scores: NDArray[np.float32]


class Scored(NamedTuple):
    """Scores of some cells, in the order of rows, then items; each cell once."""

    cells: Cells
    scores: NDArray[np.float64]


def summed(rows: NDArray[np.int64], items: NDArray[np.int64], scores: NDArray[np.float64], size: int) -> Scored:
    """Scores added up by cell; ``size`` is the number of items."""
    keys, at = np.unique(rows * size + items, return_inverse=True)
    return Scored(Cells(*np.divmod(keys, size)), np.bincount(at, scores, len(keys)).astype(np.float64))


def from_neighbours(history: Cells, weights: NDArray[np.float64], neighbours: Neighbours) -> Scored:
    """What the items of each visitor's history speak for: the weight of each times the likeness of its neighbours."""
    near, likeness = neighbours.items[history.items], neighbours.scores[history.items]
    there = near >= 0
    rows = np.broadcast_to(history.rows[:, None], near.shape)[there]
    scores = (likeness * weights[:, None])[there]
    return summed(rows, near[there].astype(np.int64), scores.astype(np.float64), len(neighbours.items))


def from_lists(lists: Best, size: int) -> Scored:
    """The cells of ranked lists; ``size`` is the number of items."""
    there = lists.items >= 0
    rows = np.broadcast_to(np.arange(len(there))[:, None], there.shape)[there]
    return summed(rows, lists.items[there].astype(np.int64), lists.scores[there].astype(np.float64), size)


def relative(source: Scored, rows: int) -> Scored:
    """The scores by the best of their row, from 0 to 1: what is not above 0 counts nothing."""
    best = np.zeros(rows)
    np.maximum.at(best, source.cells.rows, source.scores)
    of_row = best[source.cells.rows]
    shares = np.zeros(len(of_row))
    np.divide(np.maximum(source.scores, 0), of_row, where=of_row > 0, out=shares)
    return Scored(source.cells, shares)


def blended(
    sources: Mapping[str, Scored], weights: Mapping[str, float], rows: int, size: int, k: int, left_out: Cells
) -> Best:
    """The ``k`` best items of each row by the weighted sum of the sources, without the cells ``left_out``.

    ``size`` is the number of items. Of equal sums the lower index comes first; what no source speaks for is not listed.
    """
    parts = []
    for name in sorted(sources):
        source = relative(_without(sources[name], left_out, size), rows)
        parts.append((source.cells, weights[name] * source.scores))
    total = summed(
        np.concatenate([cells.rows for cells, _ in parts]),
        np.concatenate([cells.items for cells, _ in parts]),
        np.concatenate([scores for _, scores in parts]),
        size,
    )
    owner, items, scores = total.cells.rows, total.cells.items, total.scores.astype(np.float32)
    order = np.lexsort((items, -scores, owner))
    owner, items, scores = owner[order], items[order], scores[order]
    counts = np.bincount(owner, minlength=rows)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    best = Best(np.full((rows, k), -1, np.int32), np.full((rows, k), -np.inf, np.float32))
    shown = place < k
    best.items[owner[shown], place[shown]] = items[shown]
    best.scores[owner[shown], place[shown]] = scores[shown]
    return best


def _without(source: Scored, left_out: Cells, size: int) -> Scored:
    gone = np.isin(source.cells.rows * size + source.cells.items, left_out.rows * size + left_out.items)
    return Scored(Cells(source.cells.rows[~gone], source.cells.items[~gone]), source.scores[~gone])


def weights_by_accuracy(figures: Mapping[str, float], baseline: float, sharpness: float = 2.0) -> dict[str, float]:
    """How much each source counts: its accuracy above the baseline's, sharpened, all of them summing to 1.

    A source that is no better than the baseline counts nothing; where none is better, each counts the same.
    """
    gains = {name: max(0.0, figure - baseline) ** sharpness for name, figure in figures.items()}
    whole = sum(gains.values())
    return {name: gain / whole if whole > 0 else 1 / len(gains) for name, gain in gains.items()}
