"""Prepared features and fills of a table of sessions: Spark's pipeline, serving's function and a plain count agree."""

import random
import statistics
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import functions as f

from common.contracts.catalogue import ITEMS
from common.contracts.sessions import BATCH_SESSIONS
from common.errors import ConfigError, IncompleteInput
from common.features.windows import DAY_MS
from common.preparation import OneHot, prepare, read_preparation
from jobs import impute
from jobs import prepare as prepare_job
from jobs.impute import filled
from jobs.prepare import LABEL
from jobs.spark.observing import observed
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake
from tests.jobs.dying import run_killed

pytestmark = pytest.mark.spark

CUT = 20_000 * DAY_MS
SESSIONS = 160
ITEMS_COUNT = 60


def sessions() -> list[dict]:
    """Sessions whose device and entry say something about whether they end with a purchase."""
    rng = random.Random(8)
    rows = []
    for i in range(SESSIONS):
        entry = rng.choice(["i1", "i2", "i3", None])
        bought = rng.random() < {"i1": 0.8, "i2": 0.3, "i3": 0.1, None: 0.5}[entry]
        rows.append(
            {name: 0 for name in BATCH_SESSIONS.names}
            | {"visitor_id": f"v{i}", "session_start": CUT - i, "session_end": CUT, "pages": rng.randint(1, 12)}
            | {"intent": rng.randint(0, 900), "device": rng.choice(["mobile", "desktop", None]), "entry": entry}
            | {"exit": None, "suspected_bot": False, "closed": True, "session_date": date(2024, 10, 4)}
            | {"spend": Decimal("9.5") if bought else Decimal(0), "categories": 2}
        )
    return rows


def items() -> list[dict]:
    """Items whose price follows the category; every fifth lacks it, and one currency is missing."""
    rng = random.Random(4)
    base = {"tea": 5, "cups": 50, "pots": 500}
    rows = []
    for i in range(ITEMS_COUNT):
        category = ("tea", "cups", "pots")[i % 3]
        price = None if i % 5 == 0 else Decimal(base[category] + rng.randint(0, 4))
        rows.append(
            {"item_id": f"i{i}", "title": f"Item {i}", "category": category, "price": price, "updated_ms": 1000 + i % 3}
            | {"currency": None if i == 7 else "EUR" if category != "pots" else "GBP"}
        )
    return rows


@pytest.fixture(scope="module")
def lake(_spark_session, tmp_path_factory) -> Lake:
    lake = Lake(_spark_session, str(tmp_path_factory.mktemp("preparation")))
    for table, contract, rows in (("gold/sessions", BATCH_SESSIONS, sessions()), ("silver/items", ITEMS, items())):
        values = [tuple(row[name] for name in contract.names) for row in rows]
        lake.append(table, lake.spark.createDataFrame(values, struct_type(contract)))
    return lake


def args(lake: Lake, **more) -> prepare_job.Args:
    given = {"min_max": "intent,categories", "z_score": "pages,intent", "one_hot": "device", "target": "entry,device"}
    given |= {"label": "spend > 0", "name": "visits", "table": "gold/sessions"}
    return prepare_job.Args(lake=lake.root, cut=CUT, **(given | more))


@pytest.fixture(scope="module")
def prepared(lake):
    return prepare_job.main(lake.spark, args(lake))


def test_serving_prepares_a_row_as_the_saved_pipeline_does(lake, prepared):
    folder = prepare_job.folder_of(args(lake))
    made = read_preparation(folder / "parameters.json")
    assert prepared["rows"] == SESSIONS and prepared["features"] == len(made.names) == 9
    assert made.steps[4] == OneHot("device", ["desktop", "mobile"])

    # The saved pipeline, loaded anew, over the rows and over texts that it never saw.
    rows = [{n: r[n] for n in ("intent", "categories", "pages", "device", "entry")} for r in sessions()]
    rows.append(rows[0] | {"device": "tv", "entry": "i99", "intent": 5000})
    frame = lake.spark.createDataFrame(
        [(float(r["intent"]), float(r["categories"]), float(r["pages"]), r["device"], r["entry"]) for r in rows],
        "intent double, categories double, pages double, device string, entry string",
    ).withColumn(LABEL, f.lit(0.0))
    spark_says = [
        row["features"].toArray() for row in PipelineModel.load(str(folder / "pipeline")).transform(frame).collect()
    ]
    np.testing.assert_allclose([prepare(made, row) for row in rows], spark_says, atol=1e-9, rtol=0)


def test_a_row_never_tells_its_own_label(lake, prepared, monkeypatch):
    before = sorted(map(str, lake.read("gold/prepared").collect()))
    stored = {row["row_key"]: row for row in lake.read("gold/prepared").collect()}
    smoothing, folds = args(lake).smoothing, args(lake).folds
    keyed = lake.spark.createDataFrame([(key,) for key in stored], "row_key string")
    fold = {r[0]: r[1] for r in keyed.select("row_key", f.pmod(f.xxhash64("row_key"), f.lit(folds))).collect()}
    rows = {f'["{r["visitor_id"]}","{r["session_start"]}"]': r for r in sessions()}
    assert rows.keys() == stored.keys()
    for key, row in rows.items():
        others = [r for k, r in rows.items() if fold[k] != fold[key]]
        mean = statistics.fmean(r["spend"] > 0 for r in others)
        alike = [r["spend"] > 0 for r in others if r["entry"] == row["entry"]]
        expected = (sum(alike) + smoothing * mean) / (len(alike) + smoothing)
        assert stored[key]["features"][7] == pytest.approx(expected, abs=1e-9)
        assert stored[key]["label"] == float(row["spend"] > 0)
    deaths, _ = run_killed(monkeypatch, lake.spark, prepare_job.main, args(lake))
    assert deaths == 1
    assert sorted(map(str, lake.read("gold/prepared").collect())) == before, "a second run changes nothing"


def test_what_cannot_be_prepared_is_refused(lake):
    for more, error, message in (
        ({"table": "gold/session"}, ConfigError, "did you mean gold/sessions"),
        ({"one_hot": "devise"}, ConfigError, "no column devise; did you mean device"),
        ({"label": ""}, ConfigError, "needs a --label"),
        ({"label": "spent > 0"}, ConfigError, "--label does not read as Spark SQL over gold/sessions"),
        ({"min_max": "", "z_score": "", "one_hot": "", "target": ""}, ConfigError, "nothing to prepare"),
        (
            {"table": "silver/items", "z_score": "price", "min_max": "", "one_hot": "", "target": "", "label": ""},
            IncompleteInput,
            "price is missing in 12 of 60 rows of silver/items: fill them with impute, then prepare with --fills true",
        ),
    ):
        with pytest.raises(error, match=message):
            prepare_job.main(lake.spark, args(lake, **more))


def fill(lake: Lake, **more):
    given = {"table": "silver/items", "column": "price", **more}
    counts = impute.main(lake.spark, impute.Args(lake=lake.root, cut=CUT, **given))
    rows = lake.read("gold/fills").where(f.col("column") == given["column"]).collect()
    return counts, {row["row_key"]: row for row in rows}


@pytest.mark.parametrize("method", ["mean", "median", "mode", "neighbours", "model"])
def test_each_method_fills_what_is_missing_and_says_how(lake, method):
    more = {"by": "category"} if method in ("mean", "median", "mode") else {"features": "category"}
    counts, found = fill(lake, method=method, **more)
    assert counts["missing"] == counts["filled"] == len(found) == ITEMS_COUNT / 5
    known = [r for r in items() if r["price"] is not None]
    for row in items():
        if row["price"] is None:
            fill_row = found[f'["{row["item_id"]}"]']
            prices = [float(r["price"]) for r in known if r["category"] == row["category"]]
            value = float(fill_row["value"])
            exact = {"mean": statistics.fmean(prices), "median": statistics.median(prices)}
            assert value == pytest.approx(exact[method]) if method in exact else min(prices) <= value <= max(prices)
            assert (fill_row["method"], fill_row["table_version"]) == (method, 1)
    assert '"category"' in next(iter(found.values()))["parameters"]
    frame = filled(lake.read("silver/items"), "silver/items", "price", lake.read("gold/fills"))
    assert frame.where("price IS NULL").count() == 0 and frame.schema == lake.read("silver/items").schema


def test_what_was_imputed_can_be_prepared(lake):
    def priced() -> dict:
        of_items = {"name": "prices", "table": "silver/items", "min_max": "", "z_score": "price", "target": ""}
        return prepare_job.main(lake.spark, args(lake, **of_items, one_hot="currency", label="price > 9", fills=True))

    fill(lake, method="neighbours", features="title", reach=0.5)
    with pytest.raises(IncompleteInput, match="price is missing in 12 of 60 rows .* nothing for these: .* --method"):
        priced()
    _, found = fill(lake, method="mean", by="category")
    fill(lake, column="currency", method="mode", by="category")
    counted = priced()
    assert counted["rows"] == ITEMS_COUNT

    table = {f'["{r["item_id"]}"]': r["price"] for r in items()}
    prices = {key: float(found[key]["value"] if price is None else price) for key, price in table.items()}
    mean, deviation = statistics.fmean(prices.values()), statistics.stdev(prices.values())
    stored = {r["row_key"]: r for r in lake.read("gold/prepared").where("name = 'prices'").collect()}
    assert stored.keys() == prices.keys()
    for key, row in stored.items():
        # The table's prices have four decimals, and so have those that stand in.
        assert row["features"][0] == pytest.approx((prices[key] - mean) / deviation, abs=1e-5)
        assert row["label"] == float(prices[key] > 9) and row["features"][-1] == 0.0, "no currency is missing any more"
    priced()
    again = {r["row_key"]: r for r in lake.read("gold/prepared").where("name = 'prices'").collect()}
    assert again == stored, "a second run changes nothing"


def test_a_killed_fill_is_done_again_and_whole(lake, monkeypatch):
    fill(lake, method="mean", by="category")
    before = sorted(map(str, lake.read("gold/fills").collect()))
    again = impute.Args(lake=lake.root, cut=CUT, table="silver/items", column="price", method="mean", by=("category",))
    deaths, _ = run_killed(monkeypatch, lake.spark, impute.main, again)
    assert deaths == 1 and sorted(map(str, lake.read("gold/fills").collect())) == before


def test_texts_are_filled_and_columns_kept_apart(lake):
    counted, seen = observed(lake.read("silver/items"), f.count("*").alias("rows"))
    counted.write.format("noop").mode("overwrite").save()
    assert seen.get() == {"rows": ITEMS_COUNT}, "as a session that has cleansed before"
    fill(lake, method="mean")
    for method, more in (("mode", {"by": "category"}), ("model", {"features": "category"})):
        counts, found = fill(lake, column="currency", method=method, **more)
        assert (counts["missing"], counts["filled"]) == (1, 1)
        assert found['["i7"]']["value"] == "EUR"
    assert lake.read("gold/fills").groupBy("column").count().count() == 2, "other columns' fills stay"


def test_what_no_method_can_say_stays_unfilled(lake):
    counts, found = fill(lake, method="neighbours", features="title", reach=0.5)
    assert (counts["missing"], counts["filled"], found) == (12, 0, {}), "no two titles are alike"
    for more, message in (
        ({"method": "mean", "column": "currency"}, "takes numbers"),
        ({"method": "model"}, "needs --features"),
        ({"method": "model", "features": "price"}, "from itself"),
        ({"method": "mode", "column": "item_id"}, "nor a key"),
    ):
        with pytest.raises(ConfigError, match=message):
            fill(lake, **more)
