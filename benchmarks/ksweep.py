"""KMeans for k = 2..9 on 500,000 x 8 with the silhouette of each: one sweep against eight fits of MLlib.

MLlib's points are cached once before its fits, which favours it; the sweep's time holds its own caching. Both stop
after 20 steps or once no centre moves by more than 1e-4. The result says by how much each k's inertia differs.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.ml.clustering import KMeans
from pyspark.ml.evaluation import ClusteringEvaluator
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from benchmarks.harness import median, report, say, side_by_side
from jobs.segment import Args
from jobs.spark.clusters import Blocks, sweep
from jobs.spark.session import local_session
from local.jars import fetch

POINTS, DIMENSION, COMPONENTS = 500_000, 8, 12
KS = list(range(2, 10))
ITERATIONS = 20
JVM = {"spark.driver.extraJavaOptions": ""}
"""A plain JVM: the sessions of tests and demo save on compiling, which MLlib lives on."""
CELLS = [f"c{i}" for i in range(DIMENSION)]


def write_points(path: Path) -> None:
    """Twelve overlapping clouds of unequal size and shape, standardised, from one seed."""
    rng = np.random.default_rng(11)
    weights = rng.dirichlet(np.full(COMPONENTS, 2.0))
    of = rng.choice(COMPONENTS, POINTS, p=weights)
    centres, spread = rng.normal(0, 2, (COMPONENTS, DIMENSION)), rng.uniform(0.6, 1.6, (COMPONENTS, DIMENSION))
    points = centres[of] + rng.normal(size=(POINTS, DIMENSION)) * spread[of]
    points = (points - points.mean(axis=0)) / points.std(axis=0)
    pd.DataFrame(points, columns=CELLS).assign(id=np.arange(POINTS)).to_parquet(path, row_group_size=62_500)


def main() -> None:
    """Measure, compare, report."""
    restarts = Args(lake="lake", cut=0).restarts
    found: dict[str, dict[int, tuple[float, float]]] = {}

    def mllib(vectors: DataFrame, ks: list[int]) -> None:
        found["mllib"] = {}
        for k in ks:
            model = KMeans(k=k, seed=k, maxIter=ITERATIONS).fit(vectors)
            silhouette = ClusteringEvaluator().evaluate(model.transform(vectors))
            found["mllib"][k] = (float(model.summary.trainingCost), silhouette)

    def ours(frame: DataFrame, ks: list[int]) -> None:
        with Blocks(frame, "id", CELLS) as blocks:
            clusters = sweep(blocks, ks, restarts=restarts, iterations=ITERATIONS, seed=42)
        found["sweep"] = {k: (c.inertia, c.silhouette) for k, c in clusters.items()}

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "points.parquet"
        write_points(path)
        spark = local_session("benchmark ksweep", fetch("delta"), memory="3g", settings=JVM)
        frame = spark.read.parquet(str(path))
        vectors = frame.select(array_to_vector(f.array(*CELLS)).alias("features")).persist()
        vectors.count()
        few = frame.where("id < 50000").select(array_to_vector(f.array(*CELLS)).alias("features"))
        say("warm-up on 50,000 points")
        mllib(few, [2, 3])
        ours(frame.where("id < 50000"), [2, 3])
        contenders = {"sweep": partial(ours, frame, KS), "mllib": partial(mllib, vectors, KS)}
        raw = side_by_side(contenders, repetitions=2, warm_up=False)
        spark.stop()
    report(
        "ksweep",
        round(median(raw["sweep"]) / median(raw["mllib"]), 3),
        "ratio of seconds",
        "lower",
        "8 fits of pyspark.ml KMeans and ClusteringEvaluator over cached vectors",
        f"k = 2..9 on {POINTS} x {DIMENSION}, at most {ITERATIONS} steps, silhouettes too; median of 2 after a warm-up",
        seconds=raw,
        restarts=restarts,
        inertia_to_mllib={k: round(found["sweep"][k][0] / found["mllib"][k][0], 6) for k in KS},
        silhouettes={name: {k: round(s, 4) for k, (_, s) in each.items()} for name, each in found.items()},
    )


if __name__ == "__main__":
    main()
