"""Segments: clusters of standardised log1p(R, F, M), as many as the silhouette likes best, with names that stay.

All numbers of segments are fitted in one sweep (jobs/spark/clusters.py). A segment keeps its id from run to run: the
centroids are matched to those of the newest earlier cut, and a name changes only for one that is clearly better
(common/centroids.py). Who moved is in gold/segment_moves: a row each time a visitor
enters, changes or leaves a segment.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark.ml.clustering import BisectingKMeans
from pyspark.ml.functions import array_to_vector
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from common.centroids import name_centroids, nearest, same_centroids
from common.contracts.profiles import SEGMENT_HISTORY, SEGMENT_MOVES, SEGMENT_VIEW, SEGMENTS
from common.errors import ConfigError, IncompleteInput
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.before import members_before
from jobs.spark.clusters import GRID, Blocks, Clusters, measured, sweep
from jobs.spark.cuts import of_this_cut
from jobs.spark.density import dbscan
from jobs.spark.run import run
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake

MEASURES = ("recency_days", "frequency", "monetary")

NOISE = "Unlike Others"
"""The segment of visitors who stand in no dense place."""

MOST_PLACES = 50
"""More segments than people can tell apart."""


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Segment visitors by their RFM figures."""

    method: Literal["kmeans", "bisecting", "dbscan"] = "kmeans"
    """kmeans; bisecting: segments are halved one after the other, so that they nest; or dbscan: a segment is where
    visitors stand close, however many there are, and who stands alone is in one of its own."""

    eps: Annotated[float, Field(gt=0, le=100)] = 0.3
    """For dbscan: how near a neighbour is, in standard deviations."""

    least: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """For dbscan: how many neighbours, oneself included, make a dense place."""

    k_min: Annotated[int, Field(ge=2, le=50)] = 3
    """Fewest segments tried."""

    k_max: Annotated[int, Field(ge=2, le=50)] = 6
    """Most segments tried; the best silhouette wins."""

    iterations: Annotated[int, Field(ge=1, le=1000)] = 20
    """Steps over all visitors at most."""

    restarts: Annotated[int, Field(ge=1, le=100)] = 10
    """First centroids tried for each number of segments; bisecting has one."""

    seed: int = 42
    """Seed of the first centroids."""

    same_within: Annotated[float, Field(gt=0)] = 1.0
    """A segment is the same as before where its centroid moved by no more than this, in standard deviations."""


@plain_dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of log1p of each measure; a measure that never varies has deviation 1."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    def standard(self, figures: NDArray[Any]) -> NDArray[np.float64]:
        """Standardised log1p of figures (n, 3)."""
        return (np.log1p(np.asarray(figures, dtype=np.float64)) - self.mean) / self.deviation

    def figures(self, standard: NDArray[Any]) -> NDArray[np.float64]:
        """The inverse of :meth:`standard`, never below zero."""
        return np.maximum(np.expm1(np.asarray(standard) * self.deviation + self.mean), 0.0)

    def cells(self) -> list[Column]:
        """:meth:`standard` as Spark columns over the measures."""
        return [
            (f.log1p(f.col(m).cast("double")) - f.lit(float(mean))) / f.lit(float(deviation))
            for m, mean, deviation in zip(MEASURES, self.mean, self.deviation, strict=True)
        ]


def scale_of(rfm: DataFrame) -> Scale:
    """The scale of a population; its sums are of whole multiples of 2 ** -24, exact in any order."""
    units = [f.round(f.log1p(f.col(m).cast("double")) / GRID).cast("decimal(38,0)") for m in MEASURES]
    row = rfm.agg(f.count("*"), *(f.sum(u) for u in units), *(f.sum(u * u) for u in units)).first()
    assert row is not None
    n, sums, squares = int(row[0]), [int(x) for x in row[1:4]], [int(x) for x in row[4:]]
    mean = np.array([total / n for total in sums]) * GRID
    variance = np.array([(n * square - total**2) / n**2 for total, square in zip(sums, squares, strict=True)])
    deviation = np.sqrt(variance) * GRID
    return Scale(mean, np.where(deviation > 0, deviation, 1.0))


def best_of(found: Mapping[int, Clusters]) -> Clusters:
    """The clusters with the best silhouette, of equals the fewest.

    Raises IncompleteInput where no k splits the visitors.
    """
    splits = [found[k] for k in sorted(found) if len(found[k].centres) > 1]
    if not splits:
        raise IncompleteInput("no number of segments splits the visitors: their RFM figures are all alike")
    return max(splits, key=lambda clusters: clusters.silhouette)


def bisected(rfm: DataFrame, scale: Scale, ks: Sequence[int], iterations: int, seed: int) -> dict[int, NDArray[Any]]:
    """The leaves' centres of MLlib's BisectingKMeans for each k, on the grid, so that the order of sums is lost."""
    vectors = rfm.select(array_to_vector(f.array(*scale.cells())).alias("features")).persist()
    try:
        models = {k: BisectingKMeans(k=k, maxIter=iterations, seed=seed).fit(vectors) for k in ks}
        return {k: np.round(np.array(model.clusterCenters()) / GRID) * GRID for k, model in models.items()}
    finally:
        vectors.unpersist()


def clusters(rfm: DataFrame, scale: Scale, ks: Sequence[int], args: Args) -> dict[int, Clusters]:
    """What was found for each number of segments; a visitor belongs to the nearest centre, whatever the method."""
    with Blocks(rfm, "visitor_id", scale.cells()) as blocks:
        if args.method == "bisecting":
            return measured(blocks, bisected(rfm, scale, ks, args.iterations, args.seed))
        return sweep(blocks, ks, restarts=args.restarts, iterations=args.iterations, seed=args.seed)


# The same segments from run to run


@plain_dataclass(frozen=True)
class Segment:
    """One segment of a cut: its id and name, its centroid in days, orders and money, and how it was known before."""

    segment_id: int
    segment: str
    figures: tuple[float, float, float]
    before: str | None


def segments_of(centroids: NDArray[np.float64], scale: Scale, history: Sequence[Any], within: float) -> list[Segment]:
    """Centroids (k, 3) as segments, in their order; ``history`` are earlier rows of gold/segment_history.

    A centroid that is near one of the newest earlier cut takes its id. A new one takes an id that no segment had,
    those that spend most first.
    """
    newest = max((row["cut_ms"] for row in history), default=None)
    before = {row["segment_id"]: row for row in history if row["cut_ms"] == newest}
    earlier = {i: scale.standard(np.array([[row[m] for m in MEASURES]]))[0] for i, row in before.items()}
    same = same_centroids(centroids, {i: point.tolist() for i, point in earlier.items()}, within)
    had = [None if i is None else str(before[i]["segment"]) for i in same]
    figures = scale.figures(centroids)
    names = name_centroids(figures.tolist(), had)
    free = max((row["segment_id"] for row in history), default=-1) + 1
    new = [i for i in sorted(range(len(same)), key=lambda i: tuple(-figures[i][::-1])) if same[i] is None]
    ids = {i: free + position for position, i in enumerate(new)}
    segments = []
    for i, known in enumerate(same):
        recency, frequency, monetary = figures[i].round(4).tolist()
        segment_id = ids[i] if known is None else known
        segments.append(Segment(segment_id, names[i], (recency, frequency, monetary), had[i]))
    return segments


# Segments by density


class Dense(NamedTuple):
    """Visitors by dense place: ``members`` has visitor_id, x and ``at``, the largest place first, counted from 0.

    ``middles`` (k, 3) are the places' means; where ``noise``, the last is that of visitors who stand alone.
    """

    members: DataFrame
    middles: NDArray[np.float64]
    noise: bool


def dense(rfm: DataFrame, scale: Scale, args: Args) -> Dense:
    """Find the dense places; raises ConfigError where there are more than :data:`MOST_PLACES`."""
    found = dbscan(rfm, "visitor_id", scale.cells(), args.eps, args.least).persist()
    try:
        # Sums are of whole multiples of 2 ** -24, exact in any order.
        units = [f.sum(f.round(f.col("x")[i] / GRID).cast("decimal(38,0)")) for i in range(len(MEASURES))]
        told = found.groupBy("cluster").agg(f.count("*").alias("size"), f.min("visitor_id").alias("first"), *units)
        if told.count() > MOST_PLACES:
            raise ConfigError(f"more than {MOST_PLACES} dense places: raise --eps {args.eps}, or --least {args.least}")
        rows = sorted(told.collect(), key=lambda row: (row["cluster"] is None, -row["size"], row["first"]))
        ranks = [(row["cluster"], at) for at, row in enumerate(rows)]
        ranked = f.broadcast(rfm.sparkSession.createDataFrame(ranks, "_cluster long, at int"))
        same = f.col("cluster").eqNullSafe(f.col("_cluster"))
        members = found.join(ranked, same, how="inner").select("visitor_id", "x", "at").localCheckpoint()
        middles = np.array([[int(total) / row["size"] * GRID for total in row[3:]] for row in rows])
        return Dense(members, middles, rows[-1]["cluster"] is None)
    finally:
        found.unpersist()


def segments_by_density(places: Dense, scale: Scale, history: Sequence[Any], within: float) -> list[Segment]:
    """The dense places as segments, in their order; those who stand alone are :data:`NOISE`, which keeps its id."""
    alone = [row for row in history if row["segment"] == NOISE]
    held = {row["segment_id"] for row in alone}
    others = [row for row in history if row["segment"] != NOISE]
    segments = segments_of(places.middles[: -1 if places.noise else None], scale, others, within)
    free = max([*held, *(row["segment_id"] for row in history), *(s.segment_id for s in segments)], default=-1) + 1
    for i, each in enumerate(segments):
        if each.segment_id in held:
            segments[i], free = replace(each, segment_id=free), free + 1
    if places.noise:
        recency, frequency, monetary = scale.figures(places.middles[-1]).round(4).tolist()
        known = min(held, default=free)
        segments.append(Segment(known, NOISE, (recency, frequency, monetary), NOISE if held else None))
    return segments


def placed(places: Dense, segments: Sequence[Segment], cut: int) -> DataFrame:
    """Rows of gold/segments: each visitor's place, and the distance to its middle."""
    at = f.col("at") + 1
    middle = f.element_at(f.array(*(f.array(*map(f.lit, place)) for place in places.middles.tolist())), at)
    away = f.zip_with("x", middle, lambda here, there: (here - there) * (here - there))
    return places.members.select(
        "visitor_id",
        f.lit(cut).cast("long").alias("cut_ms"),
        f.element_at(f.array(*(f.lit(s.segment_id) for s in segments)), at).alias("segment_id"),
        f.element_at(f.array(*(f.lit(s.segment) for s in segments)), at).alias("segment"),
        f.sqrt(f.aggregate(away, f.lit(0.0), lambda total, square: total + square)).alias("distance"),
    ).select(*SEGMENTS.names)


def moves(segments: DataFrame, before: DataFrame, cut_ms: int) -> DataFrame:
    """Rows of gold/segment_moves: those whose segment is not the one they had."""
    now = segments.select("visitor_id", f.col("segment_id").alias("to_id"), f.col("segment").alias("to_segment"))
    both = now.join(before, "visitor_id", how="full_outer").where(~f.col("to_id").eqNullSafe(f.col("from_id")))
    return both.withColumn("cut_ms", f.lit(cut_ms).cast("long")).select(*SEGMENT_MOVES.names)


def assigned(rfm: DataFrame, scale: Scale, segments: Sequence[Segment], centroids: NDArray[Any], cut: int) -> DataFrame:
    """Rows of gold/segments: the nearest centroid of each visitor, by the same function as elsewhere."""

    @f.pandas_udf("at int, distance double")  # type: ignore[call-overload]
    def place(r: pd.Series, q: pd.Series, m: pd.Series) -> pd.DataFrame:
        at, distances = nearest(centroids, scale.standard(np.column_stack([r, q, m])))
        return pd.DataFrame({"at": at.astype(np.int32), "distance": distances})

    placed = rfm.withColumn("_place", place(*(f.col(m).cast("double") for m in MEASURES)))
    at = f.col("_place.at") + 1
    return placed.select(
        "visitor_id",
        f.lit(cut).cast("long").alias("cut_ms"),
        f.element_at(f.array(*(f.lit(s.segment_id) for s in segments)), at).alias("segment_id"),
        f.element_at(f.array(*(f.lit(s.segment) for s in segments)), at).alias("segment"),
        f.col("_place.distance").alias("distance"),
    ).select(*SEGMENTS.names)


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Fit, choose, know again, name, assign, tell who moved."""
    if args.k_min > args.k_max:
        raise ConfigError(f"--k-min {args.k_min} is above --k-max {args.k_max}")
    lake = Lake(spark, args.lake)
    rfm = of_this_cut(lake, "gold/rfm", args.cut).select("visitor_id", *MEASURES).persist()
    try:
        distinct = rfm.select(*MEASURES).distinct().count()
        found: dict[int, Clusters] = {}
        segments: list[Segment] = []
        deviation: list[float] | None = []
        members = spark.createDataFrame([], struct_type(SEGMENTS))
        # With fewer kinds of visitors than segments, in a young shop, nobody belongs to one, and that is what is told.
        if distinct > args.k_min:
            scale = scale_of(rfm)
            earlier = lake.read_or_empty("gold/segment_history").where(f.col("cut_ms") < args.cut).collect()
        if distinct > args.k_min and args.method == "dbscan":
            places = dense(rfm, scale, args)
            segments = segments_by_density(places, scale, earlier, args.same_within)
            members, deviation = placed(places, segments, args.cut), None
        elif distinct > args.k_min:
            found = clusters(rfm, scale, range(args.k_min, min(args.k_max, distinct - 1) + 1), args)
            centroids = best_of(found).centres
            segments = segments_of(centroids, scale, earlier, args.same_within)
            members = assigned(rfm, scale, segments, centroids, args.cut)
            deviation = scale.deviation.tolist()
        lake.replace("gold/segments", members)
    finally:
        rfm.unpersist()
    return written(lake, segments, deviation, args.cut) | {
        "silhouettes": {str(k): round(c.silhouette, 4) for k, c in found.items()},
        "distinct_visitors": distinct,
    }


def written(lake: Lake, segments: Sequence[Segment], deviation: list[float] | None, cut_ms: int) -> dict[str, Any]:
    """Write what follows from the members of a cut's segments: centroids, history, moves; their counts.

    A centroid goes with the deviation of log1p of each measure, so that serving measures as the clustering did; without
    one where the nearest centroid does not decide, and then a visitor stays where the cut left it.
    """
    members = lake.read("gold/segments")
    sizes = {row["segment_id"]: row["count"] for row in members.groupBy("segment_id").count().collect()}
    this_cut = f"cut_ms = {cut_ms}"
    centroids, history, told = [], [], {} if deviation is None else {"deviation": deviation}
    for s in segments:
        figures, size = dict(zip(MEASURES, s.figures, strict=True)), sizes.get(s.segment_id, 0)
        centroids.append((s.segment_id, s.segment, size, json.dumps(figures | told), None, None))
        history.append((cut_ms, s.segment_id, s.segment, size, *s.figures, s.before))
    spark = lake.spark
    # A segment's list of recommendations is made when it is published.
    lake.replace("gold/centroids", spark.createDataFrame(sorted(centroids), struct_type(SEGMENT_VIEW)))
    lake.replace("gold/segment_history", spark.createDataFrame(history, struct_type(SEGMENT_HISTORY)), this_cut)
    lake.replace("gold/segment_moves", moves(members, members_before(lake, cut_ms), cut_ms), this_cut)
    moved = lake.read("gold/segment_moves").where(this_cut)
    count = moved.agg(f.count_if(f.col("from_id").isNull()), f.count_if(f.col("to_id").isNull()), f.count("*")).first()
    assert count is not None
    entered, left, rows = count
    return {
        "k": len(segments),
        "sizes": {s.segment: sizes.get(s.segment_id, 0) for s in segments},
        "known_before": sum(s.before is not None for s in segments),
        "visitors": {"entered": entered, "left": left, "changed": rows - entered - left},
    }


if __name__ == "__main__":
    run(main, Args)
