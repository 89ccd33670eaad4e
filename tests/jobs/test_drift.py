"""Drift-triggered training: what is counted, and nights with and without a reason to train."""

import shutil
from dataclasses import replace

import pytest
from pyspark.sql import functions as f

from common.features.windows import DAY_MS, HOUR_MS
from jobs import recommend, similar_items, train_als
from jobs.spark.drift import histograms
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
    ]
    frame = spark.createDataFrame(
        rows, "visitor_id string, item_id string, event_type string, event_ms long, ingest_ms long"
    )
    found = {
        (r["measure"], r["bin"]): (r["before"], r["now"]) for r in histograms(frame, TRAINED, CUT, WINDOW).collect()
    }
    assert found == {
        ("items", "1"): (12, 0),
        ("items", "7"): (5, 12),  # twelve of twenty are more popular
        ("items", "9"): (2, 0),
        ("items", "10"): (1, 3),  # with e, which the window before has not
        ("items", "unknown"): (0, 1),
        ("event_types", "view"): (19, 15),
        ("event_types", "purchase"): (1, 1),
        ("activity", "1"): (0, 2),  # now: cleo's purchase, and dora
        ("activity", "2 to 4"): (1, 0),
        ("activity", "5 to 9"): (1, 0),
        ("activity", "10 to 19"): (1, 1),
    }


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
        kept, told = train_als.due(lake, None, replace(night, **changes))
        assert kept is None and why in told["retraining"]

    # The same visitors turn to other items, within the last hours.
    moved = (
        lake.read("silver/events")
        .where("item_id IS NOT NULL")
        .withColumns(
            {
                "event_id": f.concat(f.lit("moved-"), "event_id"),
                "item_id": f.concat(f.lit("new-"), "item_id"),
                "offset": f.col("offset") + 100_000,
                "event_ms": f.lit(night.cut - HOUR_MS),
                "ingest_ms": f.lit(night.cut - HOUR_MS),
                "event_date": f.to_date(f.timestamp_millis(f.lit(night.cut - HOUR_MS))),
            }
        )
    )
    assert lake.insert_new("silver/events", moved).inserted > 100
    changed = train_als.main(built.spark, night)
    assert changed["trained"] is True and changed["model_version"] != first["model_version"]
    assert "of items reaches 0.1" in changed["retraining"]
    assert changed["drift_bins"]["items"]["unknown"][0] == 0 < changed["drift_bins"]["items"]["unknown"][1]
    assert train_als.main(built.spark, night) == changed | {"trained": False}
