"""Segments: KMeans on standardised log1p(R, F, M), as many as the silhouette likes best, with names.

Ids are given by the centroids' monetary value, largest first, so that they mean the same from run to run; names
come from common/segments.py.
"""

import json
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark.ml.clustering import KMeans
from pyspark.ml.evaluation import ClusteringEvaluator
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from common.contracts.core import Contract
from common.contracts.profiles import SEGMENT_VIEW, SEGMENTS
from common.errors import ConfigError, IncompleteInput
from common.segments import name_centroids, nearest
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.run import run
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake

MEASURES = ("recency_days", "frequency", "monetary")


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Segment visitors by their RFM figures."""

    k_min: Annotated[int, Field(ge=2, le=50)] = 3
    """Fewest segments tried."""

    k_max: Annotated[int, Field(ge=2, le=50)] = 6
    """Most segments tried; the best silhouette wins."""

    iterations: Annotated[int, Field(ge=1, le=1000)] = 20
    """Steps of KMeans at most."""

    seed: int = 42
    """Seed of the first centroids."""


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


def scale_of(rfm: DataFrame) -> Scale:
    """The scale of a population."""
    logs = [f.log1p(f.col(m).cast("double")) for m in MEASURES]
    row = rfm.agg(*(f.avg(x) for x in logs), *(f.stddev_pop(x) for x in logs)).first()
    assert row is not None
    mean, deviation = np.array(row[:3], dtype=np.float64), np.array(row[3:], dtype=np.float64)
    return Scale(mean, np.where(deviation > 0, deviation, 1.0))


def standardised(rfm: DataFrame, scale: Scale) -> DataFrame:
    """Visitors with the vector column ``features``."""
    cells = [
        (f.log1p(f.col(m).cast("double")) - f.lit(float(mean))) / f.lit(float(deviation))
        for m, mean, deviation in zip(MEASURES, scale.mean, scale.deviation, strict=True)
    ]
    return rfm.select("visitor_id", array_to_vector(f.array(*cells)).alias("features"))


def best_centroids(
    vectors: DataFrame, ks: range, iterations: int, seed: int
) -> tuple[NDArray[np.float64], dict[int, float]]:
    """The centroids with the best silhouette over ``ks``, and the silhouette of each k.

    Raises IncompleteInput where no k splits the visitors.
    """
    evaluator = ClusteringEvaluator(featuresCol="features", predictionCol="prediction")
    silhouettes: dict[int, float] = {}
    best: NDArray[np.float64] | None = None
    for k in ks:
        model = KMeans(k=k, seed=seed, maxIter=iterations, featuresCol="features").fit(vectors)
        centres = np.array(model.clusterCenters())
        if len(centres) < 2:
            continue
        silhouettes[k] = evaluator.evaluate(model.transform(vectors))
        if silhouettes[k] == max(silhouettes.values()):
            best = centres
    if best is None:
        raise IncompleteInput("no number of segments splits the visitors: their RFM figures are all alike")
    return best, silhouettes


def assigned(rfm: DataFrame, scale: Scale, centroids: NDArray[np.float64], names: list[str], cut_ms: int) -> DataFrame:
    """Rows of gold/segments: the nearest centroid of each visitor, by the same function as elsewhere."""

    @f.pandas_udf("id int, distance double")  # type: ignore[call-overload]
    def place(r: pd.Series, q: pd.Series, m: pd.Series) -> pd.DataFrame:
        ids, distances = nearest(centroids, scale.standard(np.column_stack([r, q, m])))
        return pd.DataFrame({"id": ids.astype(np.int32), "distance": distances})

    placed = rfm.withColumn("_at", place(*(f.col(m).cast("double") for m in MEASURES)))
    name = f.element_at(f.array(*(f.lit(n) for n in names)), f.col("_at.id") + 1)
    return placed.select(
        "visitor_id",
        f.lit(cut_ms).cast("long").alias("cut_ms"),
        f.col("_at.id").alias("segment_id"),
        name.alias("segment"),
        f.col("_at.distance").alias("distance"),
    ).select(*SEGMENTS.names)


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Fit, choose, name, assign."""
    if args.k_min > args.k_max:
        raise ConfigError(f"--k-min {args.k_min} is above --k-max {args.k_max}")
    lake = Lake(spark, args.lake)
    rfm = lake.read("gold/rfm").select("visitor_id", *MEASURES).coalesce(1).persist()
    try:
        distinct = rfm.select(*MEASURES).distinct().count()
        if distinct <= args.k_min:
            # A young shop: nobody belongs to a segment yet, and what is published must say so.
            lake.replace("gold/segments", spark.createDataFrame([], struct_type(SEGMENTS)))
            lake.replace("gold/centroids", spark.createDataFrame([], struct_type(SEGMENT_VIEW)))
            return {"k": 0, "distinct_visitors": distinct, "silhouettes": {}, "sizes": {}}
        scale = scale_of(rfm)
        vectors = standardised(rfm, scale).persist()
        ks = range(args.k_min, min(args.k_max, distinct - 1) + 1)
        found, silhouettes = best_centroids(vectors, ks, args.iterations, args.seed)
        vectors.unpersist()
        figures = scale.figures(found)
        order = sorted(range(len(found)), key=lambda i: tuple(-figures[i][::-1]))
        centroids, figures = found[order], figures[order]
        names = name_centroids(figures.tolist())
        segments = assigned(rfm, scale, centroids, names, args.cut)
        lake.replace("gold/segments", segments)
    finally:
        rfm.unpersist()
    sizes = {r["segment_id"]: r["count"] for r in lake.read("gold/segments").groupBy("segment_id").count().collect()}
    rows = [
        (i, names[i], sizes.get(i, 0), json.dumps(dict(zip(MEASURES, figures[i].round(4).tolist(), strict=True))))
        for i in range(len(centroids))
    ]
    lake.replace("gold/centroids", summary(spark, rows, SEGMENT_VIEW))
    return {
        "k": len(centroids),
        "silhouettes": {str(k): round(s, 4) for k, s in silhouettes.items()},
        "sizes": {names[i]: sizes.get(i, 0) for i in range(len(centroids))},
    }


def summary(spark: SparkSession, rows: list[tuple[int, str, int, str]], contract: Contract) -> DataFrame:
    """One row a segment; its list of recommendations is made when it is published."""
    return spark.createDataFrame([(*row, None, None) for row in rows], struct_type(contract))


if __name__ == "__main__":
    run(main, Args)
