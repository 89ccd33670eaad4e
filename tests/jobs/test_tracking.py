"""The registry in MLflow: one champion, what was live before, and a way back."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from common.embedding import write_model
from common.errors import ConfigError, IncompleteInput
from jobs import train_als
from jobs.spark.models import models_folder
from jobs.spark.tracking import Tracking, live_model, open_tracking
from tests.jobs.dying import Killed


@pytest.fixture
def lake(tmp_path):
    """A lake with three models of cuts 10, 20 and 30."""
    import numpy as np

    for version, cut in (("a", 10), ("b", 20), ("c", 30)):
        write_model(
            models_folder(str(tmp_path)) / version,
            model_version=version,
            cut_ms=cut,
            alpha=1,
            reg=0.1,
            item_ids=["i"],
            factors=np.ones((1, 2)),
            categories=["c"],
            titles=["t"],
            prices=[None],
        )
    return str(tmp_path)


def test_promotion_rollback_and_what_was_live_when(lake):
    def live(cut: int) -> str:
        return live_model(lake, open_tracking(lake, ""), cut)[1].model_version

    tracking = open_tracking(lake, "")
    assert tracking is not None and tracking.versions() == []
    with pytest.raises(IncompleteInput, match="no model is live up to the cut; none is trained"):
        live(50)
    for version, cut in (("a", 10), ("b", 20), ("c", 30)):
        folder = models_folder(lake) / version
        tags = {"model_version": version}
        run_id = tracking.log(version, tags, {"rank": 2}, {"ndcg": 0.1}, folder=folder)
        assert tracking.log(version, tags, {"rank": 2}, {"ndcg": 0.1}, folder=folder) == run_id
        assert tracking.register(version, cut, folder, run_id) == tracking.register(version, cut, folder, run_id)
    tracking.decide("a", "worse", promote=False)
    with pytest.raises(IncompleteInput, match="was held back: worse"):
        live(10)
    tracking.decide("a", "better", promote=True)
    tracking.decide("b", "better", promote=True)
    tracking.decide("c", "worse", promote=False)
    assert [live(cut) for cut in (10, 19, 20, 50)] == ["a", "a", "b", "b"]
    assert [(v.model_version, v.live) for v in tracking.versions()] == [("c", False), ("b", True), ("a", False)]
    assert tracking.rollback().model_version == live(50) == "a"
    with pytest.raises(ConfigError, match="nothing to go back to"):
        tracking.rollback()
    tracking.decide("c", "asked for", promote=True)
    assert (live(50), live(29)) == ("c", "a")
    assert tracking.rollback().model_version == "a"
    assert next(v.verdict for v in tracking.versions() if v.model_version == "c") == "rolled back"
    with pytest.raises(ConfigError, match="there is no model 'x'; the newest are: c, b, a"):
        tracking.decide("x", "asked for", promote=True)


def test_a_training_killed_before_its_verdict_is_taken_up_under_other_arguments_of_the_night(lake, monkeypatch):
    tracking = open_tracking(lake, "")
    assert tracking is not None
    folder = models_folder(lake) / "a"
    counts = {"model_version": "a", "test_users": 150, "ndcg": 0.2, "ndcg_popularity": 0.1}
    args = train_als.Args(lake=lake, cut=3_600_000, unjudged="hold")

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(tracking, "register", die)
        train_als.follow(tracking, folder, counts, args)
    other = replace(args, least_test_users=100, least_share=0.1, unjudged="promote", retrain="drift", drift_days=3)
    assert train_als.follow(tracking, folder, counts, other)["promoted"] is True


class Dying:
    """MLflow's client in a process that is killed after so many of its writes."""

    def __init__(self, client: Any, writes: int) -> None:
        self._client = client
        self.left = writes

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name.startswith(("get_", "search_")):
            return method

        def write_or_die(*given: Any, **named: Any) -> Any:
            if not self.left:
                raise Killed
            self.left -= 1
            return method(*given, **named)

        return write_or_die


def trained(tracking: Tracking, lake: str, ndcg: float, **more: Any) -> dict[str, Any]:
    """Model b's night, which a training of that nDCG ends."""
    counts = {"model_version": "b", "test_users": 500, "ndcg": ndcg, "ndcg_popularity": 0.1} | more
    return train_als.follow(tracking, models_folder(lake) / "b", counts, train_als.Args(lake=lake, cut=7_200_000))


ACTS: dict[str, tuple[Callable[[Tracking, str], Any], int, str]] = {
    "promoted": (lambda tracking, lake: trained(tracking, lake, 0.2), 10, "b"),
    "held": (lambda tracking, lake: trained(tracking, lake, 0.1), 8, "a"),
    "by hand": (lambda tracking, _: tracking.decide("c", "by hand", promote=True), 3, "c"),
    "rolled back": (lambda tracking, _: tracking.rollback(), 3, "c"),
}
"""What is done, in how many writes, and what is live then."""


@pytest.mark.parametrize("name", ACTS)
def test_whatever_write_it_is_killed_after_a_rerun_ends_as_one_that_was_not(lake, tmp_path_factory, name):
    act, writes, live = ACTS[name]

    def opened(at: str) -> Tracking:
        tracking = open_tracking(at, "")
        assert tracking is not None
        return tracking

    tracking = opened(lake)
    for version, cut in (("a", 3_600_000), ("c", 3_600_000)):
        tracking.register(version, cut, models_folder(lake) / version, "")
    for version in ("c", "a"):
        tracking.decide(version, "better", promote=True)

    def outcome(died_after: int) -> Any:
        at = str(tmp_path_factory.mktemp("killed") / "lake")
        shutil.copytree(lake, at)
        if died_after < writes:
            killed = opened(at)
            killed._client = Dying(killed._client, died_after)
            with pytest.raises(Killed):
                act(killed, at)
        rerun = opened(at)
        rerun._client = Dying(rerun._client, writes)  # it makes no more than these
        told = act(rerun, at)
        after = opened(at)
        return told, after.versions(), len(after.runs(model_version="b"))

    undisturbed = outcome(writes)
    assert [v.model_version for v in undisturbed[1] if v.live] == [live]
    assert [outcome(died_after) for died_after in range(writes)] == [undisturbed] * writes


@pytest.mark.parametrize(("users", "promoted"), [(200, False), (199, True)])
def test_the_live_models_own_night_counts_where_enough_visitors_judged_it(lake, users, promoted):
    tracking = open_tracking(lake, "")
    assert tracking is not None
    live = {"model_version": "a", "test_users": users, "ndcg": 0.3}
    told = trained(tracking, lake, 0.2, live_on_its_night=live)
    assert told["promoted"] is promoted
    assert promoted or "more than 20% below the 0.3000" in told["verdict"]


def test_a_promotion_is_told_by_the_alias(lake):
    tracking = open_tracking(lake, "")
    assert tracking is not None
    assert trained(tracking, lake, 0.2)["promoted"] is True
    tracking.register("c", 7_200_000, models_folder(lake) / "c", "")
    tracking.decide("c", "by hand", promote=True)
    assert trained(tracking, lake, 0.2)["promoted"] is False


def test_where_no_track_is_kept_the_newest_model_is_live(lake):
    assert open_tracking(lake, "none") is None
    assert [live_model(lake, open_tracking(lake, "none"), cut)[1].model_version for cut in (15, 40)] == ["a", "c"]
