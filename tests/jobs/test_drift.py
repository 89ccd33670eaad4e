"""Drift-triggered training: what is counted, and nights with and without a reason to train."""

import shutil
from dataclasses import replace

import pytest
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from common.features.windows import DAY_MS, HOUR_MS
from jobs import recommend, similar_items, train_als
from jobs.spark.drift import histograms
from jobs.spark.increment import wanted
from jobs.spark.interactions import item_events
from jobs.spark.models import models_folder, write_training
from jobs.spark.tables import Lake
from tests.jobs.small_shop import CUT_MS

pytestmark = [pytest.mark.spark, pytest.mark.timeout(900)]

TRAINED, CUT = 100, 120
WINDOW = 30


def test_histograms_count_both_windows_by_bins(spark):
    def events(item: str, at: int, n: int, visitor: str, kind: str = "view", came: int = 0):
        return [(visitor, item, kind, at, came or at)] * n

    rows = [
        *events("a", 80, 12, "anna"),  # the most popular: six tenths of the window before
        *events("b", 90, 5, "bob"),
        *events("c", 75, 2, "cleo"),
        *events("d", 99, 1, "cleo", "purchase"),
        *events("e", 10, 9, "anna"),  # known to the model, before its window
        *events("b", 95, 3, "bob", came=101),  # happened before the training and came after it
        *events("b", 110, 4, "bob"),
        *events("e", 110, 2, "bob"),
        *events("z", 119, 1, "dora"),  # new
        *events("y", 80, 1, "anna"),  # came in with a history that was imported after the training
    ]
    frame = spark.createDataFrame(
        rows, "visitor_id string, item_id string, event_type string, event_ms long, ingest_ms long"
    )
    known = spark.createDataFrame([(item,) for item in "abcdef"], "item_id string")
    found = {
        (r["measure"], r["bin"]): (r["before"], r["now"])
        for r in histograms(frame, known, TRAINED, CUT, WINDOW).collect()
    }
    assert found == {
        ("items", "1"): (12, 0),
        ("items", "7"): (5, 12),  # twelve of twenty are more popular
        ("items", "9"): (2, 0),
        ("items", "10"): (1, 3),  # with e, which the window before has not
        ("items", "unknown"): (1, 1),
        ("event_types", "view"): (20, 15),
        ("event_types", "purchase"): (1, 1),
        ("activity", "1"): (0, 2),  # now: cleo's purchase, and dora
        ("activity", "2 to 4"): (1, 0),
        ("activity", "5 to 9"): (1, 0),
        ("activity", "10 to 19"): (1, 1),
    }


def again(lake: Lake, name: str, at: Column) -> DataFrame:
    """The events about items once more, at another time and under other names."""
    return (
        lake.read("silver/events")
        .where("item_id IS NOT NULL")
        .withColumns(
            {
                "event_id": f.concat(f.lit(name), "event_id"),
                "topic": f.concat(f.lit(name), "topic"),
                "event_ms": at,
                "ingest_ms": at,
                "event_date": f.to_date(f.timestamp_millis(at)),
            }
        )
    )


def test_a_night_without_drift_goes_on_with_the_live_model_and_one_with_drift_trains(built, tmp_path):
    lake = Lake(built.spark, str(tmp_path / "lake"))
    shutil.copytree(built.lake.root, lake.root)
    first = train_als.main(built.spark, train_als.Args(lake=lake.root, cut=CUT_MS))
    assert (first["trained"], first["promoted"]) == (False, True), "the lake's model, which is now live in MLflow"
    night = train_als.Args(lake=lake.root, cut=CUT_MS + 6 * HOUR_MS, retrain="drift")

    quiet = train_als.main(built.spark, night)
    assert (quiet["trained"], quiet["model_version"]) == (False, first["model_version"])
    assert "is 0.25 days old and drift" in quiet["retraining"]
    assert 0 < quiet["drift"] == max(quiet["drift_by"].values()) < 0.1
    assert train_als.main(built.spark, night) == quiet

    similar_items.main(built.spark, similar_items.Args(lake=lake.root, cut=night.cut))
    listed = recommend.main(built.spark, recommend.Args(lake=lake.root, cut=night.cut))
    assert listed["model_version"] == first["model_version"] and listed["visitors"] > 0
    assert lake.read("gold/recommendations").select("cut_ms").distinct().collect() == [(night.cut,)]

    for changes, why in (
        ({"rank": 3}, "another recipe"),
        ({"oldest_days": 0.2}, "0.25 days old, 0.2 are allowed"),
        ({"cut": night.cut + 30 * DAY_MS, "oldest_days": 100}, "no events to measure drift by"),
        ({"cut": CUT_MS - DAY_MS}, "no model is live"),
    ):
        args = replace(night, **changes)
        kept, told = train_als.due(lake, None, args, wanted(lake, args.cut))
        assert kept is None and why in told["retraining"]

    # The same visitors turn to other items, within the last hours.
    moved = again(lake, "moved-", f.lit(night.cut - HOUR_MS)).withColumn("item_id", f.concat(f.lit("new-"), "item_id"))
    assert lake.insert_new("silver/events", moved).inserted > 100
    changed = train_als.main(built.spark, night)
    assert changed["trained"] is True and changed["model_version"] != first["model_version"]
    assert "of items reaches 0.1" in changed["retraining"]
    assert changed["drift_bins"]["items"]["unknown"][0] == 0 < changed["drift_bins"]["items"]["unknown"][1]
    assert train_als.main(built.spark, night) == changed | {"trained": False}

    # A history from long before both spans is imported after the training.
    later = replace(night, cut=night.cut + 6 * HOUR_MS)
    kept, told = train_als.due(lake, None, later, wanted(lake, later.cut))
    assert kept is not None and kept["model_version"] == changed["model_version"]
    assert told["drift_by"]["added"] == 0 < told["drift_by"]["items"]
    history = again(lake, "old-", f.col("event_ms") - 30 * DAY_MS)
    assert lake.insert_new("silver/events", history).inserted > 100
    kept, added = train_als.due(lake, None, later, wanted(lake, later.cut))
    assert kept is None and "of added reaches 0.1" in added["retraining"]
    taken = item_events(history, night.cut).count()
    assert added["drift_by"] == told["drift_by"] | {"added": round(taken / changed["events"], 6)}

    # What a training before these counts has seen is not known.
    folder = models_folder(lake.root) / changed["model_version"]
    write_training(folder, {name: value for name, value in changed.items() if name != "input_version"})
    assert train_als.due(lake, None, later, wanted(lake, later.cut)) == (
        None,
        {"retraining": "it is not known what has come in since the live model was trained"},
    )
