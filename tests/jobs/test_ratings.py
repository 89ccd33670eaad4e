"""Explicit models: stars decide, the latest of each visitor and item, and clicks say nothing against them."""

import random
from decimal import Decimal

import numpy as np
import pytest
from pyspark.sql import functions as f

from common.embedding import load_model
from common.errors import IncompleteInput
from jobs import catalogue, recommend, train_als, tune_als
from jobs.spark.increment import wanted
from jobs.spark.interactions import item_events, pairs, tastes
from jobs.spark.models import models_folder
from jobs.spark.tables import Lake
from tests.jobs.test_tables import DAY_MS, START_MS, event, frame

pytestmark = [pytest.mark.spark, pytest.mark.timeout(900)]

CUT_MS = START_MS + DAY_MS
VISITORS, ITEMS = 40, 16


def loves(visitor: int, item: int) -> bool:
    """Even visitors love the even items, odd visitors the odd ones."""
    return visitor % 2 == item % 2


def left_out(visitor: int) -> tuple[int, int]:
    """An even and an odd item that the visitor does not rate."""
    first = visitor // 2 % (ITEMS // 2) * 2
    return first, first + 1


@pytest.fixture(scope="module")
def shop(_spark_session, tmp_path_factory) -> Lake:
    """Visitors click five times on what they give one star, and give five stars to what they never clicked on."""
    rows: list[dict] = []

    def add(visitor: int, item: int, kind: str, **facts) -> None:
        rows.append(event(len(rows), event_type=kind, visitor_id=f"k1_{visitor:02}", item_id=f"i{item:02}", **facts))

    told = [(v, i) for v in range(VISITORS) for i in range(ITEMS) if i not in left_out(v)]
    random.Random(7).shuffle(told)
    for visitor, item in told:
        if loves(visitor, item):
            add(visitor, item, "rate", value=1.0)  # a slip, put right at once
            add(visitor, item, "rate", value=5.0)
            add(visitor, item, "rate")  # without a value
        else:
            for _ in range(5):
                add(visitor, item, "view")
            add(visitor, item, "rate", value=1.0)
    add(0, 2, "purchase", price=Decimal(3), quantity=1, order_id="o")
    add(0, left_out(0)[0], "purchase", price=Decimal(3), quantity=1, order_id="o")
    lake = Lake(_spark_session, str(tmp_path_factory.mktemp("ratings") / "lake"))
    lake.append("silver/events", frame(_spark_session, rows))
    catalogue.main(_spark_session, catalogue.Args(lake=lake.root, cut=CUT_MS))
    return lake


def args_of(lake: Lake) -> train_als.Args:
    return train_als.Args(lake=lake.root, cut=CUT_MS, mode="explicit", rank=4, reg=0.02, tracking_uri="none")


def test_stars_decide_where_clicks_say_the_contrary(spark, shop):
    told = train_als.main(spark, args_of(shop))
    pairs_rated = VISITORS * (ITEMS - 2)
    assert told["events"] == pairs_rated * 3 // 2, "two with a value of what is loved, one of what is not"
    assert told["fold_in_users"] == VISITORS and told["fold_in_difference"] < 1e-5
    assert told["test_users"] > 0
    model = load_model(models_folder(shop.root) / told["model_version"])
    assert model.manifest.mode == "explicit"

    weighed = item_events(shop.read("silver/events"), CUT_MS)
    shared = spark.sparkContext.broadcast(model)
    histories = recommend.histories(weighed, ("purchase",), "explicit")
    folded = {row["visitor_id"]: row for row in recommend.folded(histories, shared).collect()}
    assert len(folded) == VISITORS
    for visitor in range(VISITORS):
        row = folded[f"k1_{visitor:02}"]
        stars = model.factors @ np.array(row["vector"])
        for item in range(ITEMS):
            assert stars[item] == pytest.approx(5 if loves(visitor, item) else 1, abs=0.7), (visitor, item)
        rated = dict(zip(row["items"], row["weights"], strict=True))
        assert rated == {i: 5.0 if loves(visitor, i) else 1.0 for i in range(ITEMS) if i not in left_out(visitor)}
    assert sorted(folded["k1_00"]["left_out"]) == [left_out(0)[0], 2], "both were bought, one was never rated"

    # What came in afterwards without a rating is nothing that it missed.
    shop.append("silver/events", frame(spark, [event(10_000, event_type="view")]))
    now = wanted(shop, CUT_MS)
    assert train_als.added_since(shop, CUT_MS, told, now) == 0
    implicit = told | {"recipe": told["recipe"] | {"mode": "implicit"}}
    assert train_als.added_since(shop, CUT_MS, implicit, now) == round(1 / told["events"], 6)


def test_of_two_ratings_the_later_counts_and_of_one_instant_that_of_the_greater_id(spark):
    rows = [
        event(1, value=2.0, event_type="rate", event_ms=START_MS + 5),
        event(2, value=4.0, event_type="rate", event_ms=START_MS + 9),
        event(3, value=3.0, event_type="rate", event_ms=START_MS + 9),
        event(4, event_type="rate", event_ms=START_MS + 20),
        event(5, event_type="purchase", value=9.0, event_ms=START_MS + 20),
        event(6, value=0.0, event_type="rate", item_id="i2"),
        event(7, event_type="view", value=30.0, item_id="i3"),
        event(8, value=5.0, event_type="rate", item_id="i4", event_ms=CUT_MS),
        event(9, value=5.0, event_type="rate", item_id=None),
    ]
    weighed = item_events(frame(spark, rows), CUT_MS)
    found = {row["item_id"]: row["weight"] for row in pairs(tastes(weighed, "explicit"), "explicit").collect()}
    assert found == {"i1": 3.0, "i2": 0.0}
    (row,) = recommend.histories(weighed, ("purchase",), "explicit").collect()
    assert sorted(map(tuple, row["items"])) == [("i1", 3.0, True), ("i2", 0.0, False)]
    implicit = {row["item_id"]: row["weight"] for row in pairs(tastes(weighed, "implicit")).collect()}
    assert implicit == {"i1": 4 * 2 + 5, "i2": 2, "i3": 1}


def test_what_is_liked_later_is_what_gets_no_fewer_stars_than_the_mean(spark, shop):
    args = tune_als.Args(lake=shop.root, cut=CUT_MS, mode="explicit", test_fraction=0.1, tracking_uri="none")
    (fold,) = tune_als.split(shop, args)
    assert {row[0] for row in fold.train.rated.select("rating").distinct().collect()} == {1.0, 5.0}
    number = {item: int(item_id[1:]) for item, item_id in enumerate(fold.train.item_ids)}
    judged = fold.judged.select("visitor_id", "relevant").collect()
    assert judged
    for row in judged:
        assert {loves(int(row["visitor_id"][3:]), number[item]) for item in row["relevant"]} == {True}


def test_without_ratings_the_remedy_is_named(spark, shop, tmp_path):
    lake = Lake(spark, str(tmp_path / "lake"))
    clicks = shop.read("silver/events").where((f.col("event_type") != "rate") | f.col("value").isNull())
    lake.append("silver/events", clicks)
    with pytest.raises(IncompleteInput, match="no rate event before the cut has .* --mode implicit"):
        train_als.main(spark, args_of(lake))
    with pytest.raises(IncompleteInput, match="no rate event before the cut has .* --mode implicit"):
        tune_als.split(lake, tune_als.Args(lake=lake.root, cut=CUT_MS, mode="explicit"))
