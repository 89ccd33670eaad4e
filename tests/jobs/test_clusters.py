"""The sweep against scikit-learn and MLlib: as good, exact, and the same however the points are split."""

import numpy as np
import pandas as pd
import pytest
from pyspark.ml.evaluation import ClusteringEvaluator
from pyspark.ml.functions import array_to_vector
from pyspark.sql import functions as f
from sklearn.cluster import KMeans

from common.centroids import nearest
from jobs.spark import clusters
from jobs.spark.clusters import Blocks, _silhouettes, _statistics, plus_plus, sweep

pytestmark = pytest.mark.spark

CELLS = ["a", "b"]


def cloud(n: int = 900) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    centres = np.array([[-4, 0], [0, 3], [4, -1]])
    points = centres[rng.integers(3, size=n)] + rng.normal(size=(n, 2))
    return pd.DataFrame(points, columns=["a", "b"]).assign(id=np.arange(n))


def test_a_sweep_is_as_good_as_scikit_learn_and_its_silhouettes_are_mllibs(spark):
    points = cloud()
    x = points[["a", "b"]].to_numpy()
    found = {}
    for parts in (1, 5):
        with Blocks(spark.createDataFrame(points).repartition(parts), "id", CELLS) as blocks:
            found[parts] = sweep(blocks, [2, 3, 4], restarts=8, iterations=20, seed=1)
    for k, one in found[1].items():
        assert one.inertia <= KMeans(k, n_init=10, random_state=0).fit(x).inertia_ * (1 + 1e-6)
        assert one.sizes.sum() == len(x) and len(one.centres) == k
        assert np.array_equal(one.centres, found[5][k].centres), "exact, whatever the partitions"
        labelled = points.assign(prediction=nearest(one.centres, x).centroid.astype(float))
        vectors = spark.createDataFrame(labelled).withColumn("features", array_to_vector(f.array(*CELLS)))
        assert one.silhouette == pytest.approx(ClusteringEvaluator().evaluate(vectors), abs=1e-6)
    assert max(found[1], key=lambda k: found[1][k].silhouette) == 3


def test_a_sample_too_small_for_all_still_leads_to_the_clusters(spark, monkeypatch):
    monkeypatch.setattr(clusters, "SAMPLE", 100)
    points = cloud(3_000)
    with Blocks(spark.createDataFrame(points).repartition(3), "id", CELLS) as blocks:
        assert 50 < len(blocks.sample(100)) < 200
        found = sweep(blocks, [3], restarts=4, iterations=30, seed=1)[3]
    best = KMeans(3, n_init=10, random_state=0).fit(points[["a", "b"]].to_numpy()).inertia_
    assert found.inertia == pytest.approx(best, rel=1e-4)
    assert found.steps > 1


def test_points_that_repeat_themselves_have_fewer_centres():
    points = np.repeat([[0.0, 0.0], [1.0, 1.0]], 5, axis=0)
    centres = plus_plus(points, 4, np.random.default_rng(0))
    assert sorted(centres.tolist()) == [[0.0, 0.0], [1.0, 1.0]]


def test_equal_distances_count_once_and_a_point_alone_has_no_silhouette():
    points = np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    centres = [np.array([[0.0, 0.0], [2.0, 0.0]])]
    statistics = _statistics(centres)(points)
    assert statistics[:, -2].tolist() == [2.0, 1.0], "the first of equals"
    # {0, 1} and {2}: of 0: own 1, other 4; of 1: own 1, other 1; 2 is alone.
    assert _silhouettes(centres, [statistics])(points)[0, 0] == pytest.approx(0.75)


def test_no_points_are_refused(spark):
    frame = spark.createDataFrame([], "id long, a double, b double")
    with Blocks(frame, "id", CELLS) as blocks, pytest.raises(ValueError, match="no points"):
        sweep(blocks, [2], restarts=1, iterations=5, seed=1)
