"""Train the model of taste: MLlib's ALS with implicit preferences, judged by ranking on a split in time.

Two fits. The first sees the events before the split and is compared, on what the same visitors took up after it, with
a ranking by popularity; the second sees everything before the cut, and its item factors become the artefact that the
fold-in of both layers reads. The model's version hangs on the cut, the input's version and the parameters: where that
version has been trained already, nothing is trained again.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from common.contracts.events import UNKNOWN_CATEGORY
from common.embedding import fold_in_arrays, load_model, read_manifest, write_model
from common.errors import ContractError, IncompleteInput
from common.ranking import best_items, best_products
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.before import events_before
from jobs.spark.interactions import item_events, pairs
from jobs.spark.models import models_folder
from jobs.spark.run import run
from jobs.spark.tables import Lake
from jobs.spark.topk import cells

ALGORITHM = "als-1"
"""Part of a model's version; a change of what this file computes changes it."""

TOP = 10
_METRICS_FILE = "metrics.json"


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Train ALS with implicit preferences on the events before the cut."""

    rank: Annotated[int, Field(ge=1, le=512)] = 32
    """Length of an item's factor vector."""

    iterations: Annotated[int, Field(ge=1, le=200)] = 10
    """Alternations of the least squares."""

    reg: Annotated[float, Field(ge=0, le=100)] = 0.05
    """Regularisation; MLlib scales it by each visitor's number of items."""

    alpha: Annotated[float, Field(gt=0, le=10_000)] = 10.0
    """How fast confidence grows with an item's summed weight: c = 1 + alpha r."""

    blocks: Annotated[int, Field(ge=1, le=10_000)] = 2
    """Blocks of visitors and of items; about as many as cores."""

    seed: int = 42
    """Seed of the first factors."""

    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """The newest part of the events, in time, that the first fit does not see."""

    test_users: Annotated[int, Field(ge=1)] = 20_000
    """Most visitors that the comparison ranks for; a sample by their ids' hash where there are more."""

    tracking_uri: str = ""
    """MLflow's tracking server or database; empty for sqlite in the lake's folder, none to keep no track."""


@plain_dataclass(frozen=True)
class Fit:
    """A fitted model: indexes of visitors and items, and the factors."""

    visitors: DataFrame
    """visitor_id, user (int)"""
    item_ids: list[str]
    item_factors: NDArray[np.float32]
    """(items, rank)"""
    user_factors: DataFrame
    """id (int), features"""


def fit(spark: SparkSession, ratings: DataFrame, args: Args) -> Fit:
    """Fit ALS on pairs (visitor_id, item_id, weight). Indexes are the ids' places in their order."""
    items = sorted(row[0] for row in ratings.select("item_id").distinct().collect())
    if not items:
        raise IncompleteInput("no event before the cut says anything about an item: import history first")
    by_id = Window.orderBy("visitor_id")
    visitors = ratings.select("visitor_id").distinct().withColumn("user", f.row_number().over(by_id) - 1).persist()
    index = spark.createDataFrame(list(zip(items, range(len(items)), strict=True)), "item_id string, item int")
    rated = (
        ratings.join(visitors, "visitor_id", how="inner")
        .join(f.broadcast(index), "item_id", how="inner")
        .select("user", "item", f.col("weight").cast("float").alias("rating"))
    )
    als = ALS(
        rank=args.rank,
        maxIter=args.iterations,
        regParam=args.reg,
        alpha=args.alpha,
        implicitPrefs=True,
        numUserBlocks=args.blocks,
        numItemBlocks=args.blocks,
        seed=args.seed,
        userCol="user",
        itemCol="item",
        ratingCol="rating",
        # Lineage is cut every few iterations, or the stack of a long fit overflows.
        checkpointInterval=5,
        intermediateStorageLevel="MEMORY_AND_DISK",
        finalStorageLevel="MEMORY_AND_DISK",
    )
    model = als.fit(rated)
    factors = np.zeros((len(items), args.rank), dtype=np.float32)
    for row in model.itemFactors.collect():
        factors[row["id"]] = row["features"]
    return Fit(visitors, items, factors, model.userFactors)


@plain_dataclass(frozen=True)
class Metrics:
    """Ranking by the model and by popularity, means over the test's visitors."""

    users: int
    ndcg: float
    ndcg_popularity: float
    recall: float
    recall_popularity: float
    precision: float
    precision_popularity: float


MEASURES = ("ndcg", "recall", "precision")


def judge(best: NDArray[Any], relevant: frozenset[int]) -> tuple[float, float, float]:
    """nDCG, recall and precision at :data:`TOP` of a ranked list of item indexes."""
    hits = np.fromiter((int(i) in relevant for i in best[:TOP]), dtype=np.float64)
    discount = 1 / np.log2(np.arange(2, TOP + 2))
    ideal = discount[: min(len(relevant), TOP)].sum()
    found = hits.sum()
    return float((hits * discount[: len(hits)]).sum() / ideal), float(found / len(relevant)), float(found / TOP)


def evaluate(train: DataFrame, test: DataFrame, fitted: Fit, limit: int) -> Metrics:
    """Judge a fit by what its visitors took up later and had not before; both rankings leave out what they had.

    Items that the fit has not seen can't be ranked and are no part of it.
    """
    spark = train.sparkSession
    index = spark.createDataFrame(
        list(zip(fitted.item_ids, range(len(fitted.item_ids)), strict=True)), "item_id string, item int"
    )
    seen = train.join(f.broadcast(index), "item_id").groupBy("visitor_id").agg(f.collect_set("item").alias("seen"))
    later = test.join(f.broadcast(index), "item_id").groupBy("visitor_id").agg(f.collect_set("item").alias("later"))
    factors = fitted.user_factors.join(fitted.visitors, f.col("id") == f.col("user"), how="inner")
    rows = (
        later.join(seen, "visitor_id", how="inner")
        .withColumn("later", f.array_except("later", "seen"))
        .where(f.size("later") > 0)
        .orderBy(f.xxhash64("visitor_id"))
        .limit(limit)
        .join(factors.select("visitor_id", "features"), "visitor_id", how="inner")
    )
    counts = train.join(f.broadcast(index), "item_id").groupBy("item").agg(f.count("*").alias("n")).collect()
    popularity = np.zeros(len(fitted.item_ids), dtype=np.float32)
    for row in counts:
        popularity[row["item"]] = row["n"]
    factors_shared = spark.sparkContext.broadcast((fitted.item_factors, popularity))
    names = [*MEASURES, *(f"{m}_popularity" for m in MEASURES)]

    def judge_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        y, popular = factors_shared.value
        for batch in batches:
            if not batch.num_rows:
                continue
            x = np.array(batch.column("features").to_pylist(), dtype=np.float32)
            had = cells(batch.column("seen"))
            wanted = [frozenset(s) for s in batch.column("later").to_pylist()]
            model = best_products(x, y, TOP, had).items
            plain = best_items(np.tile(popular, (len(x), 1)), TOP, had).items
            judged = [(*judge(m, w), *judge(p, w)) for m, p, w in zip(model, plain, wanted, strict=True)]
            yield pa.RecordBatch.from_arrays(
                [pa.array(c, pa.float64()) for c in zip(*judged, strict=True)], names=names
            )

    scored = rows.mapInArrow(judge_rows, ", ".join(f"{n} double" for n in names))
    mean = scored.agg(f.count("*").alias("users"), *(f.avg(n).alias(n) for n in names)).first()
    factors_shared.unpersist()
    assert mean is not None
    return Metrics(mean["users"], *(mean[n] or 0.0 for m in MEASURES for n in (m, f"{m}_popularity")))


def fold_in_difference(folder: Path, ratings: DataFrame, fitted: Fit, limit: int = 2_000) -> tuple[int, float]:
    """Users compared, and the largest difference of the fold-in of a whole history from MLlib's own user factors,
    relative to the longest of them."""
    model = load_model(folder)
    chosen = fitted.visitors.where(f.col("user") < limit)
    rows: pd.DataFrame = ratings.join(chosen, "visitor_id", how="inner").select("user", "item_id", "weight").toPandas()
    own: pd.DataFrame = fitted.user_factors.where(f.col("id") < limit).toPandas()
    if own.empty:
        return 0, 0.0
    vectors = fold_in_arrays(
        model,
        int(own["id"].max()) + 1,
        rows["user"].to_numpy(),
        model.indexes(rows["item_id"]),
        rows["weight"].to_numpy(dtype=np.float64),
    ).vectors[own["id"].to_numpy()]
    theirs = np.stack(own["features"].to_list()).astype(np.float64)
    return len(own), float(np.abs(vectors - theirs).max() / np.linalg.norm(theirs, axis=1).max())


def split_instant(weighed: DataFrame, fraction: float) -> int:
    """The instant from which the newest ``fraction`` of the events lies."""
    row = weighed.agg(f.percentile_approx("event_ms", 1 - fraction, 10_000).alias("at")).first()
    if row is None or row["at"] is None:
        raise IncompleteInput("no event before the cut says anything about an item: import history first")
    return int(row["at"])


def version_of(args: Args, input_version: int | None) -> str:
    """The model's version: ``als_20261120_`` and a digest of what decides its content."""
    told = {k: v for k, v in asdict(args).items() if k not in ("lake", "tracking_uri")}
    text = json.dumps([ALGORITHM, input_version, told], sort_keys=True)
    day = datetime.fromtimestamp(args.cut / 1000, UTC).strftime("%Y%m%d")
    return f"als_{day}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def trained_already(folder: Path) -> dict[str, Any] | None:
    """What the run that trained the model counted; None where there is no whole model in the folder."""
    try:
        read_manifest(folder)
        return json.loads((folder / _METRICS_FILE).read_text(encoding="utf-8"))
    except (ContractError, FileNotFoundError):
        return None


def item_columns(lake: Lake, item_ids: list[str]) -> dict[str, list[Any]]:
    """Category, title and price of the model's items, in their order."""
    known = {r["item_id"]: r for r in lake.read_or_empty("silver/items").collect()}
    rows = [known.get(i) for i in item_ids]
    return {
        "categories": [UNKNOWN_CATEGORY if r is None else r["category"] for r in rows],
        "titles": [i if r is None else r["title"] for i, r in zip(item_ids, rows, strict=True)],
        "prices": [None if r is None or r["price"] is None else float(r["price"]) for r in rows],
    }


def track(uri: str, version: str, args: Args, counts: dict[str, Any], folder: Path) -> None:
    """Keep parameters, metrics and the artefact of a training in MLflow."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow  # takes seconds to import, and only a new training needs it

    mlflow.set_tracking_uri(uri)
    if mlflow.get_experiment_by_name("als") is None and uri.startswith("sqlite:"):
        mlflow.create_experiment("als", artifact_location=(folder.parent.parent / "mlflow").as_uri())
    mlflow.set_experiment("als")
    with mlflow.start_run(run_name=version):
        mlflow.log_params({k: v for k, v in asdict(args).items() if k not in ("lake", "tracking_uri")})
        mlflow.log_metrics({k: float(v) for k, v in counts.items() if isinstance(v, int | float)})
        mlflow.set_tag("model_version", version)
        mlflow.log_artifacts(str(folder), artifact_path="model")


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Judge on a split in time, fit on everything, write the artefact."""
    lake = Lake(spark, args.lake)
    version = version_of(args, lake.version("silver/events"))
    folder = models_folder(args.lake) / version
    before = trained_already(folder)
    if before is not None:
        return before | {"trained": False}
    checkpoints = models_folder(args.lake).parent / "_checkpoints" / version
    spark.sparkContext.setCheckpointDir(str(checkpoints))
    weighed = item_events(events_before(lake, args.cut), args.cut).select("visitor_id", "item_id", "event_ms", "weight")
    weighed = weighed.persist()
    try:
        split = split_instant(weighed, args.test_fraction)
        train = pairs(weighed.where(f.col("event_ms") < split)).persist()
        test = weighed.where(f.col("event_ms") >= split).select("visitor_id", "item_id").distinct()
        judged = fit(spark, train, args)
        metrics = evaluate(train, test, judged, args.test_users)
        judged.visitors.unpersist()
        train.unpersist()
        everything = pairs(weighed).persist()
        fitted = fit(spark, everything, args)
        manifest = write_model(
            folder,
            model_version=version,
            cut_ms=args.cut,
            alpha=args.alpha,
            reg=args.reg,
            item_ids=fitted.item_ids,
            factors=fitted.item_factors,
            **item_columns(lake, fitted.item_ids),
        )
        compared, difference = fold_in_difference(folder, everything, fitted)
        fitted.visitors.unpersist()
        everything.unpersist()
    finally:
        weighed.unpersist()
        shutil.rmtree(checkpoints, ignore_errors=True)
    counts: dict[str, Any] = {
        "model_version": version,
        "items": manifest.items,
        "split_ms": split,
        "test_users": metrics.users,
        **{name: round(value, 6) for name, value in asdict(metrics).items() if name != "users"},
        "fold_in_users": compared,
        "fold_in_difference": difference,
    }
    if args.tracking_uri != "none":
        uri = args.tracking_uri or f"sqlite:///{models_folder(args.lake).parent / 'mlflow.db'}"
        track(uri, version, args, counts, folder)
    (folder / _METRICS_FILE).write_text(json.dumps(counts, sort_keys=True), encoding="utf-8")
    return counts | {"trained": True}


if __name__ == "__main__":
    run(main, Args)
