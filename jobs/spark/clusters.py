"""KMeans for several numbers of clusters in one sweep over one cache, with the silhouette of each.

The points are cached once, as blocks of a matrix. Restarts are seeded by k-means++ (Arthur, Vassilvitskii 2007) and
run on a sample of bounded size, in Spark's tasks; the best of each k is then refined on all points (Bradley, Fayyad
1998), where every pass over the cache serves all k together; and one last pass gives every silhouette.

Cells lie on a grid of 2 ** -24, so that sums of them are exact in doubles up to 2 ** 29: centres do not depend on the
order of rows, nor on how they are split.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

Matrix = NDArray[np.float64]
Work = Callable[[Matrix], Matrix]
"""What a pass does with the points of one block; results of blocks are summed."""

GRID = 2.0**-24
SAMPLE = 16_384
"""Points at most, or nearly, on which restarts are run; fewer points are all taken."""

ROWS = 4_096
"""Points worked on at once: what is made of them stays in a core's cache."""

SAMPLE_STEPS = 100


@dataclass(frozen=True)
class Clusters:
    """What was found for one k.

    ``centres`` (k, d), fewer rows where the points have fewer distinct values; ``sizes`` (k,); ``inertia`` is the sum
    of squared distances to the nearest centre, ``silhouette`` the mean by squared distances, -1 to 1, and
    ``steps`` the passes over all points until the centres rested.
    """

    centres: Matrix
    sizes: NDArray[np.int64]
    inertia: float
    silhouette: float
    steps: int


class Blocks:
    """Points cached as blocks of a matrix, to be used in a ``with`` block.

    ``cells`` are the coordinates, numbers that are never null; ``key`` tells points apart, and decides by its hash
    which of them are in the sample.
    """

    def __init__(self, points: DataFrame, key: str, cells: Sequence[Column | str]) -> None:
        self.spark = points.sparkSession
        self.dimension = len(cells)
        hashed = f.pmod(f.xxhash64(key), f.lit(1 << 52)).cast("double") / float(1 << 52)
        columns = [f.col(cell) if isinstance(cell, str) else cell for cell in cells]
        numbers = [column.cast("double").alias(f"x{i}") for i, column in enumerate(columns)]
        made = points.select(hashed.alias("draw"), *numbers)
        schema = "rows long, points binary, draws binary"
        self._frame = made.mapInArrow(_to_blocks, schema).persist(StorageLevel.MEMORY_AND_DISK)
        self.count = 0

    def __enter__(self) -> "Blocks":
        total = self._frame.agg(f.sum("rows")).first()
        assert total is not None
        self.count = int(total[0] or 0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._frame.unpersist()

    def total(self, work: Work) -> Matrix:
        """The sum of what ``work`` makes of each block: one pass."""
        dimension = self.dimension

        def fold(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            found = None
            for batch in batches:
                for block in batch.column("points"):
                    made = work(_matrix(block, dimension))
                    found = made if found is None else found + made
            if found is not None:
                arrays = [pa.array([list(found.shape)]), pa.array([found.tobytes()], pa.binary())]
                yield pa.RecordBatch.from_arrays(arrays, names=["shape", "sum"])

        parts = self._frame.select("points").mapInArrow(fold, "shape array<long>, sum binary").collect()
        return np.sum([np.frombuffer(part["sum"]).reshape(part["shape"]) for part in parts], axis=0)

    def sample(self, size: int) -> Matrix:
        """About ``size`` points, or all where there are no more; the same ones however the points are split."""
        below, dimension = (1.0 if self.count <= size else size / self.count), self.dimension

        def pick(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                for block, draws in zip(batch.column("points"), batch.column("draws"), strict=True):
                    draw = np.frombuffer(draws.as_buffer())
                    taken = draw < below
                    kept = np.column_stack([draw[taken], _matrix(block, dimension)[taken]])
                    yield pa.RecordBatch.from_arrays([pa.array([kept.tobytes()], pa.binary())], names=["kept"])

        parts = self._frame.select("points", "draws").mapInArrow(pick, "kept binary").collect()
        rows = [np.frombuffer(part["kept"]).reshape(-1, dimension + 1) for part in parts]
        drawn = np.vstack([np.empty((0, dimension + 1)), *rows])
        return drawn[np.lexsort(drawn.T[::-1])][:, 1:]


def _to_blocks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        columns = [column.to_numpy(zero_copy_only=False) for column in batch.columns]
        points = np.round(np.column_stack(columns[1:]) / GRID) * GRID
        arrays = [
            pa.array([batch.num_rows], pa.int64()),
            pa.array([points.tobytes()], pa.binary()),
            pa.array([columns[0].tobytes()], pa.binary()),
        ]
        yield pa.RecordBatch.from_arrays(arrays, names=["rows", "points", "draws"])


def _matrix(block: Any, dimension: int) -> Matrix:
    return np.frombuffer(block.as_buffer()).reshape(-1, dimension)


# One pass


def _chunks(points: Matrix) -> Iterator[Matrix]:
    for start in range(0, len(points), ROWS):
        yield points[start : start + ROWS]


def _spans(centres: Sequence[Matrix]) -> list[slice]:
    ends = np.cumsum([len(c) for c in centres]).tolist()
    return [slice(end - len(c), end) for end, c in zip(ends, centres, strict=True)]


def _members(distances: Matrix) -> Matrix:
    """1 where the centre (row) is the nearest of the point (column), the first of equals; 0 elsewhere."""
    near = distances == distances.min(axis=0)
    if np.count_nonzero(near) != near.shape[1]:
        near = near.argmax(axis=0) == np.arange(len(near))[:, None]
    return near.astype(np.float64)


def _statistics(centres: Sequence[Matrix]) -> Work:
    """For each centre of each set, over the points nearest to it: the sum, the number, the sum of squared lengths."""
    whole, spans = np.vstack(centres), _spans(centres)
    half = (whole**2).sum(axis=1) / 2

    def work(points: Matrix) -> Matrix:
        out = np.zeros((len(whole), points.shape[1] + 2))
        for part in _chunks(points):
            extended = np.column_stack([part, np.ones(len(part)), (part**2).sum(axis=1)])
            distances = half[:, None] - whole @ part.T  # half of the square, less what all centres share
            for span in spans:
                out[span] += _members(distances[span]) @ extended
        return out

    return work


def _silhouettes(centres: Sequence[Matrix], statistics: Sequence[Matrix]) -> Work:
    """For each set of centres the sum of the points' silhouettes, by squared distances.

    The mean squared distance of a point x to a cluster is |x|² - 2 x·m + s, with m the cluster's mean and s its mean
    squared length, so a pass is enough: as MLlib's ClusteringEvaluator has it.
    """
    whole, spans = np.vstack(centres), _spans(centres)
    half = (whole**2).sum(axis=1) / 2
    stats = np.vstack(statistics)
    sizes = stats[:, -2]
    lived = np.maximum(sizes, 1.0)
    means, lengths = stats[:, :-2] / lived[:, None], stats[:, -1] / lived
    lengths[sizes == 0] = np.inf
    others = lived / np.maximum(lived - 1, 1.0)

    def work(points: Matrix) -> Matrix:
        out = np.zeros((len(spans), 1))
        for part in _chunks(points):
            distances = half[:, None] - whole @ part.T
            apart = np.maximum(lengths[:, None] - 2 * (means @ part.T) + (part**2).sum(axis=1), 0.0)
            for i, span in enumerate(spans):
                mine = _members(distances[span])
                own = np.where(mine > 0, apart[span], 0.0).sum(axis=0) * (mine.T @ others[span])
                next_best = np.where(mine > 0, np.inf, apart[span]).min(axis=0)
                most = np.maximum(own, next_best)
                alone = (mine.T @ sizes[span]) <= 1
                with np.errstate(invalid="ignore"):
                    silhouette = np.where(alone | ~np.isfinite(most) | (most == 0), 0.0, (next_best - own) / most)
                out[i] += silhouette.sum()
        return out

    return work


def _inertia(centres: Matrix, statistics: Matrix) -> float:
    sums, sizes, squares = statistics[:, :-2], statistics[:, -2], statistics[:, -1]
    return float((squares - 2 * (sums * centres).sum(axis=1) + sizes * (centres**2).sum(axis=1)).sum())


# Lloyd's steps, of several sets of centres at once


@dataclass(frozen=True)
class _Rested:
    """Centres, the statistics of the points nearest to them, and the steps it took."""

    centres: Matrix
    statistics: Matrix
    steps: int

    @property
    def inertia(self) -> float:
        return _inertia(self.centres, self.statistics)


def _lloyd(
    total: Callable[[Work], Matrix], centres: Sequence[Matrix], iterations: int, tolerance: float
) -> list[_Rested]:
    """Move each set of centres to the means of their points until none moves by more than ``tolerance``.

    A set that rests takes no part in further passes. A centre that no point is nearest to stays where it is.
    """
    rested: dict[int, _Rested] = {}
    moving = dict(enumerate(centres))
    for step in range(1, iterations + 1):
        found = total(_statistics(list(moving.values())))
        spans = dict(zip(moving, _spans(list(moving.values())), strict=True))
        for i, at in list(moving.items()):
            statistics = found[spans[i]]
            sizes = statistics[:, -2]
            means = np.where(sizes[:, None] > 0, statistics[:, :-2] / np.maximum(sizes, 1.0)[:, None], at)
            moved = float(np.sqrt(((means - at) ** 2).sum(axis=1)).max())
            if moved <= tolerance or step == iterations:
                rested[i] = _Rested(at, statistics, step)
                del moving[i]
            else:
                moving[i] = means
        if not moving:
            break
    return [rested[i] for i in range(len(centres))]


def plus_plus(points: Matrix, k: int, rng: np.random.Generator) -> Matrix:
    """First centres by k-means++, the best of a few candidates at each draw; fewer where points repeat themselves."""
    chosen = [points[rng.integers(len(points))]]
    distance = ((points - chosen[0]) ** 2).sum(axis=1)
    for _ in range(1, k):
        mass = distance.sum()
        if mass <= 0:
            break
        drawn = rng.choice(len(points), size=2 + int(np.log(k)), p=distance / mass)
        nearer = np.minimum(distance, [((points - points[i]) ** 2).sum(axis=1) for i in drawn])
        best = int(nearer.sum(axis=1).argmin())
        chosen.append(points[drawn[best]])
        distance = nearer[best]
    return np.array(chosen)


def seeds(blocks: Blocks, ks: Sequence[int], restarts: int, seed: int) -> dict[int, Matrix]:
    """Of each k the best centres over the restarts, each run to its rest on the sample."""
    context = blocks.spark.sparkContext
    sample = context.broadcast(blocks.sample(SAMPLE))
    runs = [(k, restart) for restart in range(restarts) for k in ks]

    def fit(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        mine = [run for batch in batches for run in batch.column("id").to_pylist()]
        if not mine:
            return
        points = sample.value
        first = [plus_plus(points, runs[i][0], np.random.default_rng([seed, *runs[i]])) for i in mine]
        rested = _lloyd(lambda work: work(points), first, SAMPLE_STEPS, 0.0)
        arrays = [
            pa.array(mine, pa.int64()),
            pa.array([r.inertia for r in rested], pa.float64()),
            pa.array([r.centres.tobytes() for r in rested], pa.binary()),
        ]
        yield pa.RecordBatch.from_arrays(arrays, names=["id", "inertia", "centres"])

    try:
        tasks = min(len(runs), context.defaultParallelism)
        made = blocks.spark.range(0, len(runs), 1, tasks).mapInArrow(fit, "id long, inertia double, centres binary")
        rows = made.collect()
    finally:
        sample.destroy()
    best: dict[int, Any] = {}
    for row in sorted(rows, key=lambda r: r["id"]):
        k = runs[row["id"]][0]
        if k not in best or row["inertia"] < best[k]["inertia"]:
            best[k] = row
    return {k: np.frombuffer(best[k]["centres"]).reshape(-1, blocks.dimension) for k in ks}


def sweep(
    blocks: Blocks, ks: Sequence[int], *, restarts: int, iterations: int, seed: int, tolerance: float = 1e-4
) -> dict[int, Clusters]:
    """KMeans for each of ``ks``.

    ``iterations`` bounds the passes over all points, which end once no centre moves by more than ``tolerance``.
    Raises ValueError where there are no points.
    """
    if blocks.count == 0:
        raise ValueError("there are no points to cluster")
    first = seeds(blocks, ks, restarts, seed)
    rested = _lloyd(blocks.total, list(first.values()), iterations, tolerance)
    return _measured(blocks, dict(zip(ks, rested, strict=True)))


def measured(blocks: Blocks, centres: Mapping[int, Matrix]) -> dict[int, Clusters]:
    """Sizes, inertia and silhouette of centres that were found elsewhere, by k."""
    return _measured(blocks, dict(zip(centres, _lloyd(blocks.total, list(centres.values()), 1, 0.0), strict=True)))


def _measured(blocks: Blocks, rested: Mapping[int, _Rested]) -> dict[int, Clusters]:
    found = list(rested.values())
    sums = blocks.total(_silhouettes([r.centres for r in found], [r.statistics for r in found]))[:, 0]
    return {
        k: Clusters(r.centres, r.statistics[:, -2].astype(np.int64), r.inertia, float(s) / blocks.count, r.steps)
        for (k, r), s in zip(rested.items(), sums, strict=True)
    }
