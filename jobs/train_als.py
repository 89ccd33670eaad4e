"""Train the model of taste: MLlib's ALS, judged by ranking on a split in time.

Two fits. The first sees the events before the split and is compared, on what the same visitors took up after it, with
a ranking by popularity, with further sources of candidates and with a blend of all; the second sees everything before
the cut, and its item factors become the artefact that the fold-in of both layers reads. The model's version hangs on
the cut, the input's version and the parameters: where that version has been trained already, nothing is trained again.

Told so, a night leaves the training out where the live model is young and the input has not drifted (common.drift).

A new model is a challenger. It becomes the champion, which lists are made with, where it ranks better than popularity
and than the recipe of the champion fitted on the same events, and not far below the champion on its own night
(common.promotion).
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as f

from common.blend import MODEL
from common.contracts.events import UNKNOWN_CATEGORY
from common.contracts.models import MODEL_METRICS
from common.drift import retraining, stability_index
from common.embedding import ItemFactors, fold_in_arrays, load_model, write_model
from common.errors import ConfigError, ContractError, IncompleteInput
from common.features.windows import DAY_MS
from common.hybrid import weights_by_accuracy
from common.promotion import LARGEST_DROP, LEAST_SHARE, Group, Unjudged, verdict
from common.ranking_metrics import NAMES
from jobs.spark.als import Fit, Mode, Ratings, Recipe, fit, number
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.before import members_before
from jobs.spark.drift import ADDED, histograms
from jobs.spark.evaluation import ALL
from jobs.spark.increment import SOURCE, Seen, counted, days_between, on_days, wanted
from jobs.spark.interactions import item_events, pairs, require_ratings, tastes
from jobs.spark.judging import (
    TOP,
    judge,
    judged_visitors,
    liked,
    lists_of_blends,
    lists_of_fit,
    lists_of_popularity,
    split_instant,
)
from jobs.spark.models import models_folder, read_training, write_training
from jobs.spark.neighbours import CONTENT, COOCCURRENCE, as_arrays, content, cooccurrence
from jobs.spark.run import run
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake
from jobs.spark.tracking import Tracking, live_model, open_tracking

ALGORITHM = "als-4"
"""Part of a model's version; a change of what this file computes changes it."""

POPULARITY, HYBRID = "popularity", "hybrid"
"""Rankings that are judged beside the sources: what everybody takes up, and the blend of all sources."""

LIVE = "live"
"""The ranking by the live model's recipe, where that is another one."""


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Train ALS on the events before the cut."""

    mode: Mode = "implicit"
    """implicit: an item's summed weight says how sure it is that the visitor likes it; explicit: the value of the
    visitor's latest ``rate`` event says how much, and no other event counts."""

    rank: Annotated[int, Field(ge=1, le=512)] = 32
    """Length of an item's factor vector."""

    iterations: Annotated[int, Field(ge=1, le=200)] = 10
    """Alternations of the least squares."""

    reg: Annotated[float, Field(ge=0, le=100)] = 0.05
    """Regularisation; MLlib scales it by each visitor's number of items."""

    alpha: Annotated[float, Field(gt=0, le=10_000)] = 10.0
    """How fast confidence grows with an item's summed weight: c = 1 + alpha r; of no effect where explicit."""

    blocks: Annotated[int, Field(ge=1, le=10_000)] = 2
    """Blocks of visitors and of items; about as many as cores."""

    seed: int = 42
    """Seed of the first factors."""

    split: Literal["time", "random"] = "time"
    """How the events are split: the newest ones are for the test; or any, which needs --allow-random-split true."""

    allow_random_split: bool = False
    """Take a random split in spite of what it does: the fit sees what came after what it is judged by."""

    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """The part of the events that the first fit does not see."""

    test_users: Annotated[int, Field(ge=1)] = 20_000
    """Most visitors that the comparison ranks for; a sample by their ids' hash where there are more."""

    least_test_users: Annotated[int, Field(ge=1)] = 200
    """Fewest test visitors that a model can be judged by."""

    least_share: Annotated[float, Field(ge=0, le=1)] = LEAST_SHARE
    """How much of popularity's nDCG the model must reach in every group of test visitors; 0 to look at none."""

    largest_drop: Annotated[float, Field(ge=0, le=1)] = LARGEST_DROP
    """How far the model's nDCG may lie below the one that the live model reached on its own night, by that one, for the
    model to go live; 1 to look at none."""

    unjudged: Unjudged = "promote"
    """What becomes of a model that can't be judged: promote for newer data's sake, or hold it."""

    retrain: Literal["always", "drift"] = "always"
    """When to train: for each cut; or where the live model is too old, of another recipe, or the input has drifted."""

    oldest_days: Annotated[float, Field(gt=0, le=3_650)] = 7.0
    """With --retrain drift: the age in days at which the live model is followed by a new one whatever the drift."""

    drift_days: Annotated[int, Field(ge=1, le=3_650)] = 7
    """With --retrain drift: days before the live model's cut and before this one whose events are compared."""

    drift_threshold: Annotated[float, Field(gt=0, le=100)] = 0.1
    """With --retrain drift: the Population Stability Index from which a model is trained; also the part of its events
    that came in afterwards, such as imported history."""

    tracking_uri: str = ""
    """MLflow's tracking server or database; empty for sqlite in the lake's folder. none keeps no track, and then
    the newest model is the live one."""


def recipe_of(args: Any) -> Recipe:
    """The part of the arguments that a fit hangs on."""
    return Recipe(**{field.name: getattr(args, field.name) for field in fields(Recipe)})


# Judging


def held_out(weighed: DataFrame, args: Args) -> f.Column:
    """Which of the events are for the test: the first fit does not see them.

    Raises ConfigError for a random split that was not asked for outright.
    """
    if args.split == "time":
        return f.col("event_ms") >= split_instant(weighed, args.test_fraction)
    if not args.allow_random_split:
        raise ConfigError(
            "--split random lets the fit see what came after what it is judged by, so its figures are too good: "
            "leave it out, or add --allow-random-split true"
        )
    share = f.pmod(f.xxhash64("visitor_id", "item_id", f.lit(args.seed)), f.lit(10_000)) / 10_000
    return share < args.test_fraction


def judged_recipe(
    lake: Lake, events: DataFrame, weighed: DataFrame, recipe: Recipe, live: Recipe | None, args: Args
) -> tuple[list[Row], dict[str, float]]:
    """The figures of a fit of the events before the split, and how much each source counts in a blend.

    ``weighed`` are those of the item ``events`` that the mode is fitted on. Beside the fit stand popularity, items
    alike by visitors and by catalogue, the blend of those, and the ``live`` recipe where it is another one. The blend's
    figures are of weights that its visitors had no part in: either half of them is ranked for with the weights that the
    other half gives. The weights returned are by all of them. Where nobody can judge there are no figures, and the fit
    alone counts.
    """
    test = held_out(weighed, args)
    earlier = pairs(weighed.where(~test), args.mode).persist()
    taken = earlier if args.mode == "implicit" else pairs(events.where(~test))
    train = number(lake.spark, earlier)
    # Those of the night before: whether this cut's are there yet hangs on which step of the chain was quicker.
    segments = members_before(lake, args.cut).withColumnRenamed("from_segment", "segment")
    judged = judged_visitors(train, liked(weighed.where(test), train, args.mode), segments, args.test_users).persist()
    fitted = fit(train, recipe, args.blocks)
    alike = {
        COOCCURRENCE: as_arrays(cooccurrence(taken), train.item_ids),
        CONTENT: as_arrays(content(lake.read_or_empty("silver/items")), train.item_ids),
    }
    sources = (MODEL, *alike)
    lists = lists_of_blends(fitted, judged, alike, {name: {name: 1.0} for name in sources})
    lists = lists.unionByName(lists_of_popularity(train, judged, POPULARITY))
    if live is not None and live != recipe:
        lists = lists.unionByName(lists_of_fit(fit(train, live, args.blocks), judged, LIVE))
    figures = judge(train, judged, lists)
    if figures:
        first = of_first_half()
        blended = []
        for half, other in ((first, ~first), (~first, first)):
            weights = blend_weights(judge(train, judged.where(other), lists), sources)
            blended.append(lists_of_blends(fitted, judged.where(half), alike, {HYBRID: weights}))
        figures += judge(train, judged, blended[0].unionByName(blended[1]))
    weights = blend_weights(figures, sources)
    judged.unpersist()
    earlier.unpersist()
    train.forget()
    return figures, weights


def of_first_half() -> f.Column:
    """Whether a judged visitor is of the first of two halves, by a hash of the id."""
    return f.pmod(f.xxhash64("visitor_id", f.lit(HYBRID)), f.lit(2)) == 0


def blend_weights(figures: list[Row], sources: Sequence[str]) -> dict[str, float]:
    """How much each source counts in a blend by its figures; the model alone where nobody judged."""
    reached = {row["ranking"]: row["ndcg"] for row in figures if row["segment"] == ALL}
    if not reached:
        return {MODEL: 1.0}
    return weights_by_accuracy({name: reached[name] for name in sources}, reached[POPULARITY])


def metrics_rows(spark: SparkSession, version: str, figures: list[Row]) -> DataFrame:
    """Rows of gold/model_metrics."""
    rows = [Row(model_version=version, k=TOP, **row.asDict()) for row in figures]
    names = [field.name for field in struct_type(MODEL_METRICS).fields]
    return spark.createDataFrame([tuple(row[name] for name in names) for row in rows], struct_type(MODEL_METRICS))


def summary(figures: list[Row]) -> dict[str, Any]:
    """The figures of all visitors by name, those of other rankings with theirs behind; all 0 where nobody judged."""
    of_all = {row["ranking"]: row for row in figures if row["segment"] == ALL}
    found: dict[str, Any] = {"test_users": of_all[MODEL]["users"] if of_all else 0}
    for name in NAMES:
        for ranking, suffix in ((MODEL, ""), (POPULARITY, "_popularity"), (HYBRID, "_hybrid"), (LIVE, "_live")):
            if ranking in of_all or not of_all and ranking != LIVE:
                found[name + suffix] = round(of_all[ranking][name], 6) if of_all else 0.0
    return found


def groups(figures: list[Row]) -> dict[str, dict[str, Any]]:
    """By group of test visitors how many there are, the model's nDCG and popularity's: common.promotion.Group."""
    found = {(row["segment"], row["ranking"]): row for row in figures if row["segment"] != ALL}
    return {
        name: {
            "users": row["users"],
            "figure": round(row["ndcg"], 6),
            "popularity": round(found[name, POPULARITY]["ndcg"], 6),
        }
        for (name, ranking), row in sorted(found.items())
        if ranking == MODEL and (name, POPULARITY) in found
    }


def fold_in_difference(folder: Path, ratings: Ratings, fitted: Fit, limit: int = 2_000) -> tuple[int, float]:
    """Users compared, and the largest difference of the fold-in of a whole history from MLlib's own user factors,
    relative to the longest of them."""
    rows: pd.DataFrame = ratings.rated.where(f.col("user") < limit).toPandas()
    own: pd.DataFrame = fitted.user_factors.where(f.col("id") < limit).toPandas()
    if own.empty:
        return 0, 0.0
    vectors = fold_in_arrays(
        load_model(folder),
        int(own["id"].max()) + 1,
        rows["user"].to_numpy(),
        rows["item"].to_numpy(),
        rows["rating"].to_numpy(dtype=np.float64),
    ).vectors[own["id"].to_numpy()]
    theirs = np.stack(own["features"].to_list()).astype(np.float64)
    return len(own), float(np.abs(vectors - theirs).max() / np.linalg.norm(theirs, axis=1).max())


_WHEN = ("retrain", "oldest_days", "drift_days", "drift_threshold")
"""Arguments that say when to train."""

_NOT_CONTENT = ("lake", "tracking_uri", "least_test_users", "least_share", "largest_drop", "unjudged", *_WHEN)
"""Arguments that the model does not hang on."""


def version_of(args: Args, input_version: int) -> str:
    """The model's version: ``als_20261120_`` and a digest of what decides its content."""
    told = {k: v for k, v in asdict(args).items() if k not in _NOT_CONTENT}
    text = json.dumps([ALGORITHM, input_version, told], sort_keys=True)
    day = datetime.fromtimestamp(args.cut / 1000, UTC).strftime("%Y%m%d")
    return f"als_{day}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def item_columns(lake: Lake, item_ids: list[str]) -> dict[str, list[Any]]:
    """Category, title and price of the model's items, in their order."""
    known = {r["item_id"]: r for r in lake.read_or_empty("silver/items").collect()}
    rows = [known.get(i) for i in item_ids]
    return {
        "categories": [UNKNOWN_CATEGORY if r is None else r["category"] for r in rows],
        "titles": [i if r is None else r["title"] for i, r in zip(item_ids, rows, strict=True)],
        "prices": [None if r is None or r["price"] is None else float(r["price"]) for r in rows],
    }


def kind_of_test(args: Args) -> dict[str, Any]:
    """What decides the test that a model is judged by: figures of others can't be compared."""
    return {"mode": args.mode, "split": args.split, "test_fraction": args.test_fraction}


def recorded(live: dict[str, Any] | None, args: Args) -> dict[str, Any] | None:
    """What the live model reached on its own night, by how many visitors; None where that was another kind of test."""
    if live is None or live.get("test") != kind_of_test(args):
        return None
    return {name: live[name] for name in ("model_version", "test_users", "ndcg")}


def champion_training(tracking: Tracking | None, args: Args) -> dict[str, Any] | None:
    """What the training of the live model counted; None where there is none yet."""
    if tracking is None:
        return None
    live = next((version for version in tracking.versions() if version.live), None)
    return None if live is None else read_training(models_folder(args.lake) / live.model_version)


# When to train


def live_training(tracking: Tracking | None, args: Args) -> tuple[int, dict[str, Any]] | None:
    """Cut and counts of the model that lists for this cut would be made with; None where there is no whole one."""
    try:
        folder, manifest = live_model(args.lake, tracking, args.cut)
    except (IncompleteInput, ContractError):
        return None
    training = read_training(folder)
    return None if training is None else (manifest.cut_ms, training)


def added_since(lake: Lake, trained_ms: int, training: dict[str, Any], now: Seen) -> float | None:
    """Events that the training's cut covers and that came to silver, or changed there, after it, by the number that it
    had. None where it is not known what it had, or what has changed since."""
    version, events = training.get("input_version"), training.get("events")
    if version is None or not events or version > now.version:
        return None
    if lake.partitions_added(SOURCE, version, now.version) is None:
        return None
    covered = lake.changes(SOURCE, version)[0].where(f.col("ingest_ms") < trained_ms)
    weighed = item_events(covered, trained_ms)
    if training["recipe"]["mode"] == "explicit":
        weighed = tastes(weighed, "explicit")
    return round(weighed.select("event_id").distinct().count() / events, 6)


def drift_since(
    lake: Lake, trained_ms: int, model: ItemFactors, now: Seen, window_ms: int
) -> tuple[dict[str, float], dict[str, dict[str, list[int]]]]:
    """The drift of the input since the live model's cut by measure, and the histograms: by measure and bin the counts
    before and now. No drift where a window is empty."""
    days = {day for end in (trained_ms, now.cut_ms) for day in days_between(end - window_ms, end)}
    weighed = item_events(on_days(counted(lake, now), days), now.cut_ms)
    # Read once for the three measures.
    weighed = weighed.select("visitor_id", "item_id", "event_type", "event_ms", "ingest_ms").persist()
    known = lake.spark.createDataFrame(pd.DataFrame({"item_id": model.item_ids}), "item_id string")
    bins: dict[str, dict[str, list[int]]] = {}
    try:
        counts = histograms(weighed, known, trained_ms, now.cut_ms, window_ms).collect()
    finally:
        weighed.unpersist()
    for row in sorted(counts):
        bins.setdefault(row["measure"], {})[row["bin"]] = [row["before"], row["now"]]
    sides = {name: list(zip(*of_bin.values(), strict=True)) for name, of_bin in bins.items()}
    if not all(sum(side) for both in sides.values() for side in both):
        return {}, bins
    return {name: round(stability_index(*both), 6) for name, both in sides.items()}, bins


def due(lake: Lake, tracking: Tracking | None, args: Args, now: Seen) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The training of the live model where that is good enough to go on with, and what was decided by which figures."""
    live = live_training(tracking, args)
    if live is None:
        return None, {"retraining": "no model is live"}
    trained_ms, training = live
    if training["recipe"] != asdict(recipe_of(args)):
        return None, {"retraining": f"the live model has another recipe: {training['recipe']}"}
    added = added_since(lake, trained_ms, training, now)
    if added is None:
        return None, {"retraining": "it is not known what has come in since the live model was trained"}
    model = load_model(models_folder(args.lake) / training["model_version"])
    drift, bins = drift_since(lake, trained_ms, model, now, args.drift_days * DAY_MS)
    if drift:
        drift[ADDED] = added
    decided = retraining((args.cut - trained_ms) / DAY_MS, args.oldest_days, drift, args.drift_threshold)
    told = {"drift": max(drift.values(), default=None), "drift_by": drift, "drift_bins": bins}
    return None if decided.train else training, {"retraining": decided.why, **told}


def follow(tracking: Tracking, folder: Path, counts: dict[str, Any], args: Args) -> dict[str, Any]:
    """Keep a training in MLflow, and decide once whether its model becomes the live one."""
    version = counts["model_version"]
    versions = tracking.versions()
    known = next((v for v in versions if v.model_version == version), None)
    if known is None or not known.verdict:
        # MLflow takes a parameter once: what the version does not hang on may be another when a killed run is taken up.
        parameters = {k: v for k, v in asdict(args).items() if k not in _NOT_CONTENT}
        figures = {k: float(v) for k, v in counts.items() if isinstance(v, int | float)}
        run_id = tracking.log(version, {"model_version": version}, parameters, figures, folder=folder)
        tracking.register(version, args.cut, folder, run_id)
        live = counts.get("live_on_its_night")
        decided = verdict(
            counts["test_users"],
            args.least_test_users,
            counts["ndcg"],
            counts["ndcg_popularity"],
            counts.get("ndcg_live"),
            args.unjudged,
            outdated=any(v.live and v.cut_ms > args.cut for v in versions),
            groups={name: Group(**told) for name, told in counts.get("groups", {}).items()},
            least_share=args.least_share,
            recorded=live["ndcg"] if live and live["test_users"] >= args.least_test_users else None,
            largest_drop=args.largest_drop,
        )
        known = tracking.decide(version, decided.why, decided.promote)
    return {"promoted": known.live, "verdict": known.verdict}


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Judge on a split in time, fit on everything, write the artefact, promote it where it is better; or go on with
    the live model, where that is asked for and enough."""
    lake = Lake(spark, args.lake)
    now = wanted(lake, args.cut)
    version = version_of(args, now.version)
    folder = models_folder(args.lake) / version
    tracking = open_tracking(args.lake, args.tracking_uri)
    counts = read_training(folder)
    trained = counts is None
    if counts is None:
        kept, told = due(lake, tracking, args, now) if args.retrain == "drift" else (None, {})
        if kept is not None:
            return kept | told | {"trained": False}
        counts = train(spark, lake, args, now, version, champion_training(tracking, args)) | told
        write_training(folder, counts)
    decided = {} if tracking is None else follow(tracking, folder, counts, args)
    return counts | decided | {"trained": trained}


def train(
    spark: SparkSession, lake: Lake, args: Args, now: Seen, version: str, live: dict[str, Any] | None
) -> dict[str, Any]:
    """Judge the recipe, fit it on everything and write the artefact; returns what it counted.

    ``live`` is what the training of the live model counted.
    """
    folder = models_folder(args.lake) / version
    checkpoints = models_folder(args.lake).parent / "_checkpoints" / version
    spark.sparkContext.setCheckpointDir(str(checkpoints))
    events = item_events(counted(lake, now), args.cut)
    weighed = tastes(events, args.mode).persist()
    recipe = recipe_of(args)
    live_recipe = None if live is None else Recipe(**live["recipe"])
    try:
        require_ratings(weighed, args.mode)
        figures, weights = judged_recipe(lake, events, weighed, recipe, live_recipe, args)
        lake.upsert("gold/model_metrics", metrics_rows(spark, version, figures))
        count = weighed.count()
        everything = number(spark, pairs(weighed, args.mode))
        fitted = fit(everything, recipe, args.blocks)
        manifest = write_model(
            folder,
            model_version=version,
            cut_ms=args.cut,
            mode=args.mode,
            alpha=args.alpha,
            reg=args.reg,
            item_ids=everything.item_ids,
            factors=fitted.item_factors,
            **item_columns(lake, everything.item_ids),
        )
        compared, difference = fold_in_difference(folder, everything, fitted)
        everything.forget()
    finally:
        weighed.unpersist()
        shutil.rmtree(checkpoints, ignore_errors=True)
    return {
        "model_version": version,
        "input_version": now.version,
        "events": count,
        "items": manifest.items,
        **summary(figures),
        "groups": groups(figures),
        "test": kind_of_test(args),
        "live_on_its_night": recorded(live, args),
        "recipe": asdict(recipe),
        "source_weights": {name: round(weight, 6) for name, weight in weights.items()},
        "fold_in_users": compared,
        "fold_in_difference": difference,
    }


if __name__ == "__main__":
    run(main, Args)
