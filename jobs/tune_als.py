"""Tune ALS: TPE looks for the recipe that ranks best, trial by trial, and keeps each in the lake.

Only events before the instant from which ``train_als`` tests are used, so that its test stays unseen: the newest part
of them validates, or several parts one after the other (folds), each by a fit of all before it. Ratings are numbered
and cached once for all trials. A study is known by what decides it, so a run
that was killed goes on after the last trial in gold/tuning_trials, and one that is done does nothing.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, NamedTuple

from py4j.protocol import Py4JJavaError
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as f

from common.contracts.models import TUNING_TRIALS
from common.errors import ConfigError, DovetailError, IncompleteInput
from jobs.spark.als import Mode, Ratings, Recipe, fit, number
from jobs.spark.args import ARGUMENTS, JobArgs, Names
from jobs.spark.before import events_before
from jobs.spark.evaluation import ALL
from jobs.spark.interactions import item_events, pairs, require_ratings, tastes
from jobs.spark.judging import judge, judged_visitors, liked, lists_of_fit, split_instant
from jobs.spark.models import models_folder
from jobs.spark.run import run
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake
from jobs.spark.tracking import Tracking, open_tracking
from jobs.spark.tuning import Search, Space, Trial, stale, suggest

OK = "ok"


class Fold(NamedTuple):
    """The ratings before an instant, and the visitors that a fit of them is judged by."""

    train: Ratings
    judged: DataFrame


def _whole(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or not all(name.isdigit() and 1 <= int(name) <= 200 for name in names):
        raise ValueError("must be whole numbers from 1 to 200, separated by commas")
    return names


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Look for the recipe of ALS that ranks best on events before the test's."""

    trials: Annotated[int, Field(ge=1, le=10_000)] = 40
    """Most fits."""

    patience: Annotated[int, Field(ge=1)] = 15
    """The study ends after so many fits without a better one."""

    startup: Annotated[int, Field(ge=1)] = 8
    """First fits at random, before TPE has something to learn from."""

    search: Search = "tpe"
    """tpe (hyperopt's), optuna (Optuna's TPE, which needs the extra of that name), or random to compare with."""

    mode: Mode = "implicit"
    """As train_als has it."""

    min_rank: Annotated[int, Field(ge=1, le=512)] = 8
    """Smallest length of an item's factor vector."""

    max_rank: Annotated[int, Field(ge=1, le=512)] = 96
    """Largest length of an item's factor vector."""

    iterations: Annotated[Names, AfterValidator(_whole)] = ("5", "10", "15")
    """Numbers of alternations to choose from."""

    min_reg: Annotated[float, Field(gt=0, le=100)] = 0.005
    """Smallest regularisation."""

    max_reg: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Largest regularisation."""

    min_alpha: Annotated[float, Field(gt=0, le=10_000)] = 0.05
    """Smallest growth of confidence."""

    max_alpha: Annotated[float, Field(gt=0, le=10_000)] = 50.0
    """Largest growth of confidence."""

    blocks: Annotated[int, Field(ge=1, le=10_000)] = 2
    """Blocks of visitors and of items; about as many as cores."""

    seed: int = 42
    """Seed of the fits and of the search."""

    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """The newest part of the events, which train_als tests by and no trial sees."""

    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """The newest part of the others, which trials are judged by."""

    folds: Annotated[int, Field(ge=1, le=20)] = 1
    """How many such parts, one before the other in time; a recipe's figure is their mean."""

    test_users: Annotated[int, Field(ge=1)] = 20_000
    """Most visitors that a trial ranks for."""

    tracking_uri: str = ""
    """MLflow's tracking server or database; empty for sqlite in the lake's folder, none to keep no track."""


def space_of(args: Args) -> Space:
    """What is searched; raises ConfigError where bounds cross."""
    for name in ("rank", "reg", "alpha"):
        low, high = getattr(args, f"min_{name}"), getattr(args, f"max_{name}")
        if low >= high:
            raise ConfigError(f"--min-{name} {low} is not below --max-{name} {high}")
    return Space(
        (args.min_rank, args.max_rank),
        tuple(int(name) for name in args.iterations),
        (args.min_reg, args.max_reg),
        (args.min_alpha, args.max_alpha),
    )


def study_of(args: Args, input_version: int | None) -> str:
    """The study's name: a digest of what decides its trials. How many there may be does not."""
    told = {k: v for k, v in asdict(args).items() if k not in ("lake", "tracking_uri", "trials", "patience")}
    return hashlib.sha256(json.dumps([input_version, told], sort_keys=True).encode()).hexdigest()[:12]


def trial_of(row: Row) -> Trial:
    """A row of the table as the search takes it."""
    recipe = Recipe(
        mode=row["mode"],
        rank=row["rank"],
        iterations=row["iterations"],
        reg=row["reg"],
        alpha=row["alpha"],
        seed=row["seed"],
    )
    return Trial(recipe, row["ndcg"])


def tried(folds: Sequence[Fold], recipe: Recipe, blocks: int) -> tuple[float | None, str]:
    """Mean nDCG of a recipe over the folds, and how it ended: a fit that Spark could not do is a trial that failed."""
    reached = []
    for fold in folds:
        try:
            fitted = fit(fold.train, recipe, blocks)
        except Py4JJavaError as error:
            return None, str(error.java_exception.getClass().getSimpleName())
        figures = judge(fold.train, fold.judged, lists_of_fit(fitted, fold.judged, "trial"))
        row = next((row for row in figures if row["segment"] == ALL), None)
        if row is None:
            raise IncompleteInput("no visitor took up anything new after a split: take fewer --folds, or more history")
        reached.append(float(row["ndcg"]))
    return sum(reached) / len(reached), OK


def follow(tracking: Tracking, study: str, rows: Sequence[Row], args: Args) -> None:
    """Keep each trial as a run nested in the study's; those that are kept already stay as they are."""
    tags = {"study": study}
    best = max((row["ndcg"] for row in rows if row["ndcg"] is not None), default=0.0)
    read = max((row["input_version"] for row in rows if row["input_version"] is not None), default=None)
    figures = {"best_ndcg": best} | ({} if read is None else {"input_version": read})
    parent = tracking.log(f"study {study}", {**tags, "kind": "study"}, {"cut": args.cut}, figures)
    kept = tracking.runs(**tags, kind="trial")
    for row in rows:
        name = f"trial {row['trial']}"
        if name not in kept:
            recipe = asdict(trial_of(row).recipe)
            metrics = {"seconds": row["seconds"]} | ({} if row["ndcg"] is None else {"ndcg": row["ndcg"]})
            tracking.log(name, {**tags, "kind": "trial"}, recipe, metrics, parent=parent)


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Try recipes until there are enough, or none of the last ones was better."""
    lake = Lake(spark, args.lake)
    version = lake.version("silver/events")
    study = study_of(args, version)
    space, base = space_of(args), Recipe(mode=args.mode, seed=args.seed)
    table = lake.read_or_empty("gold/tuning_trials").where(f.col("study") == study)
    rows = sorted(table.collect(), key=lambda row: row["trial"])
    resumed = len(rows)
    tracking = open_tracking(args.lake, args.tracking_uri)
    if tracking is not None:
        follow(tracking, study, rows, args)
    checkpoints = models_folder(args.lake).parent / "_checkpoints" / f"tune_{study}"
    spark.sparkContext.setCheckpointDir(str(checkpoints))
    try:
        if not enough(rows, args):
            folds = split(lake, args)
            while not enough(rows, args):
                recipe = suggest(space, map(trial_of, rows), base, args.search, args.seed, args.startup)
                begun = time.monotonic()
                ndcg, outcome = tried(folds, recipe, args.blocks)
                seconds = round(time.monotonic() - begun, 3)
                made = {"study": study, "trial": len(rows), "cut_ms": args.cut, "search": args.search, **asdict(recipe)}
                row = Row(**made, ndcg=ndcg, seconds=seconds, outcome=outcome, input_version=version)
                lake.upsert("gold/tuning_trials", _frame(spark, row))
                rows.append(row)
                if tracking is not None:
                    follow(tracking, study, rows[-1:], args)
            for fold in folds:
                fold.judged.unpersist()
                fold.train.forget()
    finally:
        shutil.rmtree(checkpoints, ignore_errors=True)
    best = max((row for row in rows if row["ndcg"] is not None), key=lambda row: row["ndcg"], default=None)
    if best is None:
        raise DovetailError(f"none of {len(rows)} fits came to an end ({rows[-1]['outcome']}): narrow the bounds")
    return {
        "study": study,
        "trials": len(rows),
        "resumed": resumed,
        "failed": sum(row["ndcg"] is None for row in rows),
        "ndcg": best["ndcg"],
        "recipe": asdict(trial_of(best).recipe),
    }


def enough(rows: Sequence[Row], args: Args) -> bool:
    """Whether the study is done."""
    return len(rows) >= args.trials or stale([trial_of(row) for row in rows], args.patience)


def split(lake: Lake, args: Args) -> list[Fold]:
    """The folds, oldest first, kept in memory: each is judged by what came after all that it is fitted on.

    Raises ConfigError where so many folds leave nothing to fit the first on.
    """
    validated = args.folds * args.validation_fraction
    if validated >= 1:
        raise ConfigError(f"--folds {args.folds} of --validation-fraction {args.validation_fraction} leave no history")
    weighed = tastes(item_events(events_before(lake, args.cut), args.cut), args.mode)
    require_ratings(weighed, args.mode)
    known = weighed.where(f.col("event_ms") < split_instant(weighed, args.test_fraction)).persist()
    newest = [(args.folds - fold) * args.validation_fraction for fold in range(args.folds)]
    instants = [split_instant(known, fraction) for fraction in newest]
    nobody = lake.read_or_empty("gold/segments").limit(0)
    found = []
    ends: list[int | None] = [*instants[1:], None]
    for begin, end in zip(instants, ends, strict=True):
        train = number(lake.spark, pairs(known.where(f.col("event_ms") < begin), args.mode))
        later = known.where(f.col("event_ms") >= begin)
        later = later if end is None else later.where(f.col("event_ms") < end)
        judged = judged_visitors(train, liked(later, train, args.mode), nobody, args.test_users).persist()
        judged.count()
        found.append(Fold(train, judged))
    known.unpersist()
    return found


def _frame(spark: SparkSession, row: Row) -> DataFrame:
    schema = struct_type(TUNING_TRIALS)
    return spark.createDataFrame([tuple(row[name] for name in schema.names)], schema)


if __name__ == "__main__":
    run(main, Args)
