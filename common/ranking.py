"""The best items of many rows of scores at once: blocked matrix products, partial sorts, merges of parts.

One rule of order everywhere: the higher score first, of equal scores the lower item index.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SCORES_BYTES = 4 << 20
"""Size of the matrix of scores that is held at once: within a core's cache, for it is read several times."""


class Best(NamedTuple):
    """The best items of each row, best first; a row with fewer is filled up with item -1 and score -inf."""

    items: NDArray[np.int32]
    """(rows, k)"""
    scores: NDArray[np.float32]
    """(rows, k)"""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many items each row has, (rows,)."""
        return np.count_nonzero(self.items >= 0, axis=1)

    def row(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Items and scores of one row, without what fills it up."""
        size = int(np.count_nonzero(self.items[row] >= 0))
        return self.items[row, :size], self.scores[row, :size]


class Cells(NamedTuple):
    """Cells of a matrix of rows and items, as flat arrays of one length; ``rows`` ascends."""

    rows: NDArray[np.int64]
    items: NDArray[np.int64]

    def part(self, start: int, stop: int) -> "Cells":
        """The cells of the rows from ``start`` to ``stop``, counted from ``start``."""
        begin, end = np.searchsorted(self.rows, (start, stop))
        return Cells(self.rows[begin:end] - start, self.items[begin:end])


def best_items(scores: NDArray[np.float32], k: int, left_out: Cells | None = None) -> Best:
    """The ``k`` best items of each row of ``scores`` (rows, items), float32.

    An item whose score is -inf is none. ``left_out`` are cells to pass over: they are overwritten with -inf.
    """
    if left_out is not None:
        scores[left_out.rows, left_out.items] = -np.inf
    rows, size = scores.shape
    k = min(k, size)
    if k == 0 or rows == 0:
        return Best(np.empty((rows, k), np.int32), np.empty((rows, k), np.float32))
    if k < size:
        chosen = np.argpartition(scores, size - k, axis=1)[:, size - k :]
        border = np.take_along_axis(scores, chosen[:, :1], axis=1)
        # Which of the items that tie at the border were chosen is chance: there the lowest indexes are taken instead.
        for row in np.flatnonzero(np.count_nonzero(scores >= border, axis=1) > k):
            above = np.flatnonzero(scores[row] > border[row])
            tied = np.flatnonzero(scores[row] == border[row])
            chosen[row] = np.concatenate([above, tied[: k - len(above)]])
        chosen.sort(axis=1)
    else:
        chosen = np.broadcast_to(np.arange(size), (rows, size))
    values = np.take_along_axis(scores, chosen, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    items = np.take_along_axis(chosen, order, axis=1).astype(np.int32)
    values = np.take_along_axis(values, order, axis=1)
    items[values == -np.inf] = -1
    return Best(items, values)


def best_products(
    vectors: NDArray[np.float32], factors: NDArray[np.float32], k: int, left_out: Cells | None = None
) -> Best:
    """The ``k`` items with the largest products ``vectors @ factors.T``, of which only a part is held at once.

    ``vectors`` is (rows, dimension), ``factors`` (items, dimension).
    """
    step = max(1, SCORES_BYTES // max(1, 4 * len(factors)))
    parts = [
        best_items(
            vectors[start : start + step] @ factors.T,
            k,
            None if left_out is None else left_out.part(start, start + step),
        )
        for start in range(0, len(vectors), step)
    ]
    width = min(k, len(factors))
    if not parts:
        return Best(np.empty((0, width), np.int32), np.empty((0, width), np.float32))
    return Best(np.concatenate([p.items for p in parts]), np.concatenate([p.scores for p in parts]))


def merged(parts: Best, k: int) -> Best:
    """The ``k`` best of each row, where a row holds the best of several blocks of items, one behind the other."""
    by_index = np.argsort(parts.items, axis=1, kind="stable")
    items = np.take_along_axis(parts.items, by_index, axis=1)
    best = best_items(np.take_along_axis(parts.scores, by_index, axis=1), k)
    known = np.take_along_axis(items, np.maximum(best.items, 0), axis=1)
    return Best(np.where(best.items < 0, -1, known).astype(np.int32), best.scores)
