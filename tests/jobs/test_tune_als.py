"""Tuning over the small shop: a study ended half-way is taken up where it was."""

import pytest
from pyspark.sql import functions as f

from common.errors import ConfigError
from jobs import tune_als
from jobs.spark.tracking import open_tracking
from tests.jobs.dying import run_killed
from tests.jobs.small_shop import CUT_MS

pytestmark = [pytest.mark.spark, pytest.mark.timeout(900)]


def test_folds_that_leave_no_history_are_refused(built):
    args = tune_als.Args(lake=built.lake.root, cut=CUT_MS, folds=5, tracking_uri="none")
    with pytest.raises(ConfigError, match="leave no history"):
        tune_als.main(built.spark, args)


def test_folds_follow_each_other_in_time(built):
    args = tune_als.Args(lake=built.lake.root, cut=CUT_MS, folds=2)
    older, newer = tune_als.split(built.lake, args)
    sizes = [fold.train.rated.agg(f.sum("rating")).collect()[0][0] for fold in (older, newer)]
    assert 0 < sizes[0] < sizes[1], "the second fit sees what the first is judged by"
    assert all(fold.judged.count() > 0 for fold in (older, newer))


def test_a_study_is_taken_up_again_though_killed_and_then_done(built, tmp_path, monkeypatch):
    tracking_uri = f"sqlite:///{tmp_path}/mlflow.db"

    def study(trials: int) -> tune_als.Args:
        return tune_als.Args(
            lake=built.lake.root,
            cut=CUT_MS,
            trials=trials,
            startup=1,
            min_rank=2,
            max_rank=5,
            iterations=("1", "2"),
            folds=2,
            tracking_uri=tracking_uri,
        )

    first = tune_als.main(built.spark, study(1))
    deaths, second = run_killed(monkeypatch, built.spark, tune_als.main, study(2))
    third = tune_als.main(built.spark, study(2))
    assert deaths == 1, "before the second trial is written down"
    assert (first["trials"], second["trials"], third["trials"]) == (1, 2, 2)
    assert (first["resumed"], second["resumed"], third["resumed"]) == (0, 1, 2)
    assert second == third | {"resumed": 1}
    rows = built.lake.read("gold/tuning_trials").orderBy("trial").collect()
    assert [(row["study"], row["trial"], row["outcome"]) for row in rows] == [(first["study"], n, "ok") for n in (0, 1)]
    assert max(row["ndcg"] for row in rows) == second["ndcg"]
    tracking = open_tracking(built.lake.root, tracking_uri)
    assert tracking is not None
    assert sorted(tracking.runs(study=first["study"], kind="trial")) == ["trial 0", "trial 1"]
    read = built.lake.version("silver/events")
    assert {row["input_version"] for row in rows} == {read}
    (parent,) = tracking.runs(study=first["study"], kind="study").values()
    assert tracking._client.get_run(parent).data.metrics["input_version"] == read
