"""How good ranked lists are, in plain numpy: accuracy, and what accuracy does not show.

Each visitor has a list, best first, of which the first ``k`` items count, and a set of relevant items, at least one.
jobs.spark.evaluation computes the same figures in Spark; tests hold the two together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.ranking import Cells


@dataclass(frozen=True)
class RankingMetrics:
    """Figures at k. The first six are means over visitors, those of popularity over the places in all lists."""

    users: int
    """Visitors judged."""
    precision: float
    """Relevant items in the list, by k."""
    recall: float
    """Relevant items in the list, by all that are relevant."""
    f1: float
    """The harmonic mean of both."""
    auc: float
    """Area under the curve of true against false positives down the list; what is not in it is taken to follow in any
    order (the limited AUC of Schröder, Thiele and Lehner 2011). An order by chance has 0.5."""
    ndcg: float
    """Normalised discounted cumulative gain with a gain of 1 for a relevant item (Järvelin and Kekäläinen 2002)."""
    map: float
    """Precision at the place of each relevant item in the list, summed, by the lesser of k and the relevant items."""
    coverage: float
    """Items that are in any list, by all items."""
    novelty: float
    """Mean self-information of a listed item, -log2 of the part of visitors that had it, in bits (Zhou et al. 2010)."""
    popularity_bias: float
    """How much more popular the listed items are than the relevant ones: the quotient of the mean numbers of visitors
    that had them, less 1. 0 is none (after the popularity lift of Abdollahpouri et al. 2020)."""


NAMES = ("precision", "recall", "f1", "auc", "ndcg", "map", "coverage", "novelty", "popularity_bias")
"""The figures, in their order."""


def ranking_metrics(
    lists: NDArray[np.int32], relevant: Cells, popularity: NDArray[np.int64], visitors: int, k: int
) -> RankingMetrics:
    """Judge lists (users, at least k where there are so many items; -1 fills up) by the relevant cells.

    ``popularity`` is how many of the ``visitors`` of the training had each item, (items,); one that nobody had counts
    as one that one visitor had. Raises ValueError where there is no visitor or one without a relevant item.
    """
    users, size = len(lists), len(popularity)
    wanted = np.bincount(relevant.rows, minlength=users)
    if users == 0 or len(wanted) != users or not wanted.all():
        raise ValueError("each visitor that is judged needs a list and a relevant item")
    shown = lists[:, :k].astype(np.int64)
    there = shown >= 0
    keys = np.arange(users)[:, None] * size + shown
    hits = np.isin(keys, relevant.rows * size + relevant.items) & there
    places = np.arange(1, shown.shape[1] + 1)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(wanted, k) - 1]
    found = hits.sum(axis=1)
    # A place that is no hit goes one step of the others' number to the right; what is left rises straight to the end.
    others = np.maximum(size - wanted, 1)
    above = (np.cumsum(hits, axis=1) * (there & ~hits)).sum(axis=1)
    missed = (there & ~hits).sum(axis=1)
    area = above / (wanted * others) + (1 - missed / others) * (found / wanted + 1) / 2
    seen_by = np.maximum(popularity, 1).astype(np.float64)
    listed = seen_by[shown[there]]
    return RankingMetrics(
        users=users,
        precision=float((found / k).mean()),
        recall=float((found / wanted).mean()),
        f1=float((2 * found / (k + wanted)).mean()),
        auc=float(area.mean()),
        ndcg=float(((hits * discounts[: shown.shape[1]]).sum(axis=1) / ideal).mean()),
        map=float(((hits * (np.cumsum(hits, axis=1) / places)).sum(axis=1) / np.minimum(wanted, k)).mean()),
        coverage=len(np.unique(shown[there])) / size,
        novelty=float(-np.log2(listed / visitors).mean()) if len(listed) else 0.0,
        popularity_bias=float(listed.mean() / seen_by[relevant.items].mean() - 1) if len(listed) else 0.0,
    )
