"""What a night's model is held against: visitors who had no part in it, and the live model's own night."""

import shutil
from dataclasses import replace

import pytest

from common.features.windows import HOUR_MS
from common.hybrid import weights_by_accuracy
from jobs import train_als
from jobs.spark.evaluation import ALL
from jobs.spark.models import models_folder, write_training
from jobs.spark.tables import Lake
from jobs.spark.tracking import open_tracking
from tests.jobs.small_shop import CUT_MS

pytestmark = [pytest.mark.spark, pytest.mark.timeout(900)]


@pytest.fixture
def lake(built, tmp_path) -> Lake:
    shutil.copytree(built.lake.root, tmp_path / "lake")
    return Lake(built.spark, str(tmp_path / "lake"))


def args_of(lake: Lake, **changes) -> train_als.Args:
    """A night of few visitors that are enough to judge by."""
    return replace(
        train_als.Args(lake=lake.root, cut=CUT_MS, rank=4, iterations=3, least_test_users=5, least_share=0.0), **changes
    )


def test_a_model_far_below_the_live_ones_own_night_is_held_until_somebody_promotes_it(built, lake):
    night = args_of(lake)
    first = train_als.main(built.spark, night)
    tracking = open_tracking(lake.root, "")
    assert tracking is not None and first["live_on_its_night"] is None
    tracking.decide(first["model_version"], "by hand", promote=True)
    # As if that night had been a much better one.
    best = first | {"ndcg": 0.99, "ndcg_popularity": 0.0}
    write_training(models_folder(lake.root) / first["model_version"], best)

    later = replace(night, cut=CUT_MS + HOUR_MS)
    held = train_als.main(built.spark, later)
    assert held["live_on_its_night"] == {name: best[name] for name in ("model_version", "test_users", "ndcg")}
    assert held["promoted"] is False
    assert held["ndcg"] > held["ndcg_popularity"], "it would be promoted else"
    assert "more than 20% below the 0.9900" in held["verdict"]
    tracking.decide(held["model_version"], "by hand", promote=True)
    assert train_als.main(built.spark, later)["promoted"] is True

    other = train_als.main(built.spark, replace(later, test_fraction=0.3))
    assert other["live_on_its_night"] is None, "figures of another test can't be compared"


def test_the_blend_is_judged_by_visitors_who_had_no_part_in_its_weights(built, lake, monkeypatch):
    judged: list[tuple[set[str], dict[str, float]]] = []
    ranked: list[tuple[set[str], dict[str, float]]] = []
    judge, lists_of_blends = train_als.judge, train_als.lists_of_blends

    def ids(visitors) -> set[str]:
        return {row[0] for row in visitors.select("visitor_id").collect()}

    def seen_judge(train, visitors, lists):
        figures = judge(train, visitors, lists)
        judged.append((ids(visitors), {row["ranking"]: row["ndcg"] for row in figures if row["segment"] == ALL}))
        return figures

    def seen_lists(fitted, visitors, alike, blends):
        if train_als.HYBRID in blends:
            ranked.append((ids(visitors), blends[train_als.HYBRID]))
        return lists_of_blends(fitted, visitors, alike, blends)

    monkeypatch.setattr(train_als, "judge", seen_judge)
    monkeypatch.setattr(train_als, "lists_of_blends", seen_lists)
    told = train_als.main(built.spark, args_of(lake, tracking_uri="none"))

    def weights_of(reached: dict[str, float]) -> dict[str, float]:
        sources = {name: reached[name] for name in ("als", "cooccurrence", "content")}
        return weights_by_accuracy(sources, reached[train_als.POPULARITY])

    (everyone, reached), *halves, (last, hybrid) = judged
    assert len(everyone) == told["test_users"] > 10 and last == everyone
    assert told["source_weights"] == pytest.approx(weights_of(reached), abs=1e-6)
    assert hybrid == {train_als.HYBRID: pytest.approx(told["ndcg_hybrid"], abs=1e-6)}
    assert len(ranked) == len(halves) == 2
    for (visitors, weights), (others, figures) in zip(ranked, halves, strict=True):
        assert visitors and others and visitors | others == everyone and not visitors & others
        assert weights == pytest.approx(weights_of(figures))
