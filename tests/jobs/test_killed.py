"""Whatever job is killed, before whichever of its commits: run again, it gives the tables of a run that was not.

The jobs that read the change feed are killed in test_increment, those about customers in test_resolve, prepare and
impute in test_preparation, tune_als in test_tune_als, land, replay, rollback and the chain in tests of their names,
publish in test_publish; parity has one commit, its last.
"""

import shutil
from collections.abc import Sequence
from typing import Any

import pytest

from jobs import (
    catalogue,
    import_events,
    memberships,
    personas,
    recommend,
    replay_quarantine,
    segment,
    similar_items,
    train_als,
)
from jobs.spark.models import models_folder, newest_model, read_training
from jobs.spark.tables import TABLES, Lake
from tests.jobs.dying import run_killed
from tests.jobs.small_shop import CUT_MS

pytestmark = [pytest.mark.spark, pytest.mark.timeout(900)]

GOLD: tuple[tuple[Any, Any, int], ...] = (
    (catalogue.main, catalogue.Args, 1),
    (segment.main, segment.Args, 4),
    (memberships.main, memberships.Args, 1),
    (personas.main, personas.Args, 1),
    (similar_items.main, similar_items.Args, 1),
    (recommend.main, recommend.Args, 2),
)
"""Jobs whose tables hang on the cut alone, and how many commits each makes."""


def name_of(main: Any) -> str:
    return str(main.__module__).rpartition(".")[2]


def rows_of(lake: Lake, table: str, but: Sequence[str] = ()) -> list[str]:
    return sorted(map(str, lake.read(table).drop(*but).collect()))


@pytest.fixture(scope="module")
def copy(built, tmp_path_factory) -> Lake:
    """The built lake's files once more, for tests that damage them."""
    root = tmp_path_factory.mktemp("killed") / "lake"
    shutil.copytree(built.lake.root, root)
    return Lake(built.spark, str(root))


@pytest.mark.parametrize(("main", "args", "commits"), GOLD, ids=[name_of(main) for main, *_ in GOLD])
def test_a_killed_job_run_again_gives_the_same_tables(spark, built, copy, monkeypatch, main, args, commits):
    made = [table.name for table in TABLES.values() if table.made_by == name_of(main)]
    made = [table for table in made if copy.exists(table)]
    before = {table: rows_of(copy, table) for table in made}
    for table in made:
        shutil.rmtree(copy.path(table))
    more = {"tracking_uri": "none"} if main is recommend.main else {}
    deaths, _ = run_killed(monkeypatch, spark, main, args(lake=copy.root, cut=CUT_MS, **more))
    assert deaths == commits
    assert {table: rows_of(copy, table) for table in made} == before


def test_a_killed_training_is_done_again_and_whole(spark, copy, monkeypatch):
    folder, manifest = newest_model(copy.root, CUT_MS)
    was = read_training(folder)
    shutil.rmtree(models_folder(copy.root))
    shutil.rmtree(copy.path("gold/model_metrics"))
    args = train_als.Args(lake=copy.root, cut=CUT_MS, tracking_uri="none")
    deaths, told = run_killed(monkeypatch, spark, train_als.main, args)
    assert deaths == 1 and told["trained"] is True
    assert newest_model(copy.root, CUT_MS)[1].model_version == manifest.model_version
    now = read_training(folder)
    assert was is not None and now is not None
    assert now["items"] == was["items"]
    assert now["groups"].keys() >= was["groups"].keys(), "the cut's segments, which it also looks at, are there by now"
    assert now["ndcg"] == pytest.approx(was["ndcg"], abs=0.02), "sums of a fit follow the order of tasks"


def test_a_killed_import_is_done_again_and_counts_nothing_twice(spark, built, tmp_path, monkeypatch, pseudonym_key):
    args = import_events.Args(lake=str(tmp_path / "lake"), format="events", path=str(built.shop.path))
    deaths, told = run_killed(monkeypatch, spark, import_events.main, args)
    lake = Lake(spark, args.lake)
    assert deaths == 2
    assert told["rows_in"] == built.shop.lines == lake.read("bronze/events").count() + built.shop.broken
    assert rows_of(lake, "bronze/events") == rows_of(built.lake, "bronze/events")
    assert rows_of(lake, "bronze/rejections") == rows_of(built.lake, "bronze/rejections")


def test_a_killed_replay_leaves_each_row_in_one_table(spark, copy, monkeypatch):
    from jobs import cleanse

    mended = tuple(rule for rule in cleanse.RULES if rule.name != "sale_price_is_positive")
    monkeypatch.setattr(cleanse, "RULES", mended)
    rows = copy.read("silver/cleansed").count() + copy.read("quarantine/events").count()
    args = replay_quarantine.Args(lake=copy.root, rules=("sale_price_is_positive",))
    deaths, told = run_killed(monkeypatch, spark, replay_quarantine.main, args)
    # Killed before it takes the rows out of the quarantine, it has put them in already, and then moves none.
    assert deaths >= 2 and told["stays"] == told["filed_anew"] == 0
    keys = ["topic", "partition", "offset"]
    both = copy.read("silver/cleansed").select(*keys).unionByName(copy.read("quarantine/events").select(*keys))
    assert both.count() == both.distinct().count() == rows
