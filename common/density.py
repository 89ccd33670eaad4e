"""DBSCAN's geometry on a grid (Ester, Kriegel, Sander, Xu 1996; Gunawan 2013): what a part of the points tells alone.

A cell's side is ``eps`` / sqrt(d), so any two points of a cell are neighbours: a cell of many points has core points
only, and all core points of one cell are in one cluster. Clusters are then the connected components of cells. A point
is told apart from no other at the same place, so places are what is computed with, each with a number of points.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Points = NDArray[np.float64]
Cells = NDArray[np.int64]
Flags = NDArray[np.bool_]


def cells_of(x: Points, eps: float) -> Cells:
    """The cell of each point (n, d)."""
    return np.floor(x / (eps / math.sqrt(x.shape[1]))).astype(np.int64)


def reach(dimension: int) -> int:
    """How many cells away a neighbour may be, along one axis."""
    return math.ceil(math.sqrt(dimension))


def packed(cells: Cells) -> NDArray[np.int64]:
    """A number for each cell. Raises ValueError where the grid has too many cells for one."""
    bits = 62 // cells.shape[1]
    half = 1 << (bits - 1)
    if len(cells) and (cells.min() < -half or cells.max() >= half):
        raise ValueError(f"a grid of more than 2 ** {bits} cells along an axis; take a larger eps")
    number = np.zeros(len(cells), np.int64)
    for axis in range(cells.shape[1]):
        number = (number << bits) | (cells[:, axis] + half)
    return number


def core_points(
    x: Points, sizes: NDArray[np.int64], wanted: NDArray[np.bool_], eps: float, least: int
) -> NDArray[np.bool_]:
    """Which of the ``wanted`` places are core: at least ``least`` points, their own included, lie within ``eps``.

    ``x`` (n, d) has every place within ``eps`` of a wanted one, ``sizes`` (n,) the points at each.
    """
    _, cell = np.unique(packed(cells_of(x, eps)), return_inverse=True)
    core = np.bincount(cell, sizes)[cell] >= least
    core &= wanted
    open_places = np.flatnonzero(wanted & ~core)
    if len(open_places):
        near = cKDTree(x).query_ball_point(x[open_places], eps)
        core[open_places] = [int(sizes[found].sum()) >= least for found in near]
    return core


class Joined(NamedTuple):
    """What a part of the places tells of the clusters."""

    pairs: NDArray[np.int64]
    """(m, 2): numbers of cells whose core points are in one cluster; at least one of the two is a wanted one."""
    cell: NDArray[np.int64]
    """(n,): the cell that decides a place's cluster: its own, of a border point its nearest core's; -1 of noise."""


def joined(x: Points, core: Flags, wanted: Flags, eps: float) -> Joined:
    """Tie cells of core points within ``eps`` of each other, and border points to their nearest core point.

    ``x`` (n, d) has every place within ``eps`` of a ``wanted`` one. ``cell`` says nothing of others.
    """
    grid = cells_of(x, eps)
    number = packed(grid)
    cell = np.where(core, number, -1)
    cores = np.flatnonzero(core)
    if not len(cores):
        return Joined(np.empty((0, 2), np.int64), cell)
    border = np.flatnonzero(wanted & ~core)
    if len(border):
        # Of equals the one that stands first by its coordinates, whatever the order of rows.
        first = cores[np.lexsort(x[cores].T[::-1])]
        distance, at = cKDTree(x[first]).query(x[border], distance_upper_bound=np.nextafter(eps, np.inf))
        found = np.isfinite(distance)
        cell[border[found]] = number[first[at[found]]]
    return Joined(_pairs(x[cores], grid[cores], number[cores], wanted[cores], eps), cell)


def _pairs(
    x: Points, grid: Cells, number: NDArray[np.int64], wanted: NDArray[np.bool_], eps: float
) -> NDArray[np.int64]:
    order = np.argsort(number, kind="stable")
    x, grid, number, wanted = x[order], grid[order], number[order], wanted[order]
    names, starts = np.unique(number, return_index=True)
    ends = np.append(starts[1:], len(number))
    ours = np.logical_or.reduceat(wanted, starts)
    corners, span = grid[starts], range(-reach(x.shape[1]), reach(x.shape[1]) + 1)
    trees: dict[int, cKDTree] = {}
    found = []
    for offset in itertools.product(span, repeat=x.shape[1]):
        if offset <= (0,) * x.shape[1]:
            continue  # each pair once
        other = packed(corners + np.array(offset))
        at = np.minimum(np.searchsorted(names, other), len(names) - 1)
        for left in np.flatnonzero((names[at] == other) & (ours | ours[at])).tolist():
            right = int(at[left])
            few, many = sorted((left, right), key=lambda c: ends[c] - starts[c])
            if many not in trees:
                trees[many] = cKDTree(x[starts[many] : ends[many]])
            bound = np.nextafter(eps, np.inf)
            if np.isfinite(trees[many].query(x[starts[few] : ends[few]], distance_upper_bound=bound)[0]).any():
                found.append((names[left], names[right]))
    return np.array(found, dtype=np.int64).reshape(-1, 2)
