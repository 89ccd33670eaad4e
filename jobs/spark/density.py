"""DBSCAN over all points, in Spark's workers: the grid is cut into blocks, and each works with what lies around it.

    points ─▶ places ─▶ blocks with a rim ─▶ core points ─▶ blocks with a rim ─▶ tied cells ─▶ components ─▶ clusters

Nothing but blocks is held by a worker, and nothing comes to the driver. A block's rim is as wide as a neighbour may
lie, so what it tells of its own places is exact.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, GroupedData
from pyspark.sql import functions as f

from common.density import cells_of, core_points, joined, packed, reach
from jobs.spark.components import components

BLOCK = 12
"""Cells of a block along each axis."""

_PLACES = "x array<double>, points long, core boolean"
_SPREAD = "block long, own boolean, " + _PLACES
_TOLD = "x array<double>, cell long, left long, right long"


def dbscan(points: DataFrame, key: str, cells: list[Column], eps: float, least: int) -> DataFrame:
    """``key``, ``x`` (the coordinates) and ``cluster``, a number, of each point; null is noise.

    ``cells`` are the coordinates, numbers that are never null. A point with at least ``least`` points, itself
    included, within ``eps`` is core; core points within ``eps`` of each other are in one cluster; one that is not core
    is in that of its nearest core point within ``eps``. The numbers say nothing but which points are together.
    """
    placed = points.select(key, f.array(*(c.cast("double") for c in cells)).alias("x"))
    places = placed.groupBy("x").agg(f.count("*").alias("points")).withColumn("core", f.lit(False))
    found = _by_block(places, eps).applyInArrow(_core(eps, least), _PLACES)
    told = _by_block(found, eps).applyInArrow(_joined(eps), _TOLD).localCheckpoint()
    tied = components(told.where("left IS NOT NULL").select("left", "right"))
    tied = tied.select(f.col("node").alias("cell"), "component")
    clusters = told.where("left IS NULL").join(tied, "cell", how="left")
    clusters = clusters.select("x", f.coalesce("component", "cell").alias("cluster"))
    return placed.join(clusters, "x", how="left").select(key, "x", "cluster")


def _by_block(places: DataFrame, eps: float) -> GroupedData:
    """The places grouped by block; one at a block's border is in its neighbours too, where it is not their own."""

    def spread(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if not batch.num_rows:
                continue
            cells = cells_of(_matrix(batch.column("x")), eps)
            home, wide = cells // BLOCK, reach(cells.shape[1])
            rows, blocks = [], []
            for side in itertools.product((-1, 0, 1), repeat=cells.shape[1]):
                block = home + np.array(side)
                # The block's cells and as many around it as a neighbour may be away.
                near = (cells >= block * BLOCK - wide) & (cells < (block + 1) * BLOCK + wide)
                inside = np.flatnonzero(near.all(axis=1))
                rows.append(inside)
                blocks.append(block[inside])
            row, block = np.concatenate(rows), np.concatenate(blocks)
            number, own = packed(block), (block == home[row]).all(axis=1)
            taken = batch.take(pa.array(row))
            yield pa.RecordBatch.from_arrays(
                [pa.array(number), pa.array(own), *taken.columns], names=["block", "own", *taken.schema.names]
            )

    return places.select("x", "points", "core").mapInArrow(spread, _SPREAD).groupBy("block")


def _core(eps: float, least: int) -> Callable[[pa.Table], pa.Table]:
    def core(table: pa.Table) -> pa.Table:
        own = table.column("own").to_numpy()
        found = core_points(_matrix(table.column("x")), table.column("points").to_numpy(), own, eps, least)
        kept = table.select(["x", "points"]).append_column("core", pa.array(found))
        return kept.filter(pa.array(own))

    return core


def _joined(eps: float) -> Callable[[pa.Table], pa.Table]:
    def join(table: pa.Table) -> pa.Table:
        own = table.column("own").to_numpy()
        found = joined(_matrix(table.column("x")), table.column("core").to_numpy(), own, eps)
        x = table.column("x").combine_chunks().filter(pa.array(own))
        cell = found.cell[own]
        none, pairs = len(found.pairs), len(x)
        return pa.table(
            {
                "x": pa.concat_arrays([x, pa.nulls(none, x.type)]),
                "cell": pa.concat_arrays([pa.array(cell, pa.int64(), mask=cell < 0), pa.nulls(none, pa.int64())]),
                "left": pa.concat_arrays([pa.nulls(pairs, pa.int64()), pa.array(found.pairs[:, 0], pa.int64())]),
                "right": pa.concat_arrays([pa.nulls(pairs, pa.int64()), pa.array(found.pairs[:, 1], pa.int64())]),
            }
        )

    return join


def _matrix(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return flat.flatten().to_numpy(zero_copy_only=False).reshape(len(flat), -1)
