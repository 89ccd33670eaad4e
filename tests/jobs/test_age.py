"""The band of age in Spark is that of the plain function, whatever a source says; a profile carries it."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as f

from common import age
from common.contracts.customers import CUSTOMERS
from common.contracts.events import EVENTS
from common.contracts.registry import ALL
from common.embedding import load_model, write_model
from common.features.windows import DAY_MS, HOUR_MS
from jobs import publish
from jobs.features import batch_tiles
from jobs.spark.age import age_band, age_bands
from jobs.spark.interactions import item_events
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake

pytestmark = pytest.mark.spark

AT = 20_000 * DAY_MS  # 2024-10-04, of a leap year

DATES = st.dates().map(str)
NEAR = st.builds(
    "{:04}-{:02}-{:02}".format, st.sampled_from([0, 1903, 1904, 1959, 1999, 2000, 2006, 2023, 2024, 2025]),
    st.sampled_from([0, 2, 9, 10, 11, 13]), st.sampled_from([1, 3, 4, 5, 28, 29, 30, 31]),
)  # fmt: skip
TEXTS = st.none() | st.text(max_size=11) | st.sampled_from(["2000-01-01\n", " 2000-01-01", "2000-1-1", "٢٠٠٠-٠١-٠١"])


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(DATES | NEAR | TEXTS, min_size=150, max_size=200), st.sampled_from([0, 147, 148, 500]))
def test_spark_and_python_agree_on_any_text(_spark_session, texts, days):
    at_ms = AT + days * DAY_MS + 5  # days 147 and 148 are 28 February and 1 March
    frame = _spark_session.createDataFrame(list(enumerate(texts)), "at int, birth_date string")
    found = {
        row["at"]: row["band"]
        for row in frame.select("at", age_band(f.col("birth_date"), at_ms).alias("band")).collect()
    }
    assert [found[i] for i in range(len(texts))] == [age.age_band(text, at_ms) for text in texts]


def test_customers_whose_age_is_known_have_a_band(spark, tmp_path):
    lake = Lake(spark, str(tmp_path / "lake"))
    assert age_bands(lake, AT).collect() == [], "a lake without customers"
    people = {"a": "1995-05-05", "b": "1995", "c": None, "d": "2012-02-29"}
    facts = [{"customer_id": c, "source": "shop", "birth_date": b, "updated_ms": 1} for c, b in people.items()]
    rows = [tuple(row.get(name) for name in CUSTOMERS.names) for row in facts]
    lake.replace("silver/customers", spark.createDataFrame(rows, struct_type(CUSTOMERS)))
    assert {tuple(row) for row in age_bands(lake, AT).collect()} == {("a", "25-34"), ("d", "under 18")}


def test_a_profile_carries_the_band_of_its_visitor_alone(spark, tmp_path):
    cut = AT + HOUR_MS
    write_model(
        tmp_path / "m1",
        model_version="m1",
        cut_ms=cut,
        alpha=10.0,
        reg=0.1,
        item_ids=["i"],
        factors=np.ones((1, 8), np.float32),
        categories=["tea"],
        titles=["Tea"],
        prices=[1.0],
    )
    view = {"event_type": "view", "event_ms": AT, "ingest_ms": AT, "item_id": "i", "category": "tea"}
    seen = [view | {"event_id": visitor, "visitor_id": visitor} for visitor in ("a", "b")]
    frame = spark.createDataFrame([tuple(row.get(n) for n in EVENTS.names) for row in seen], struct_type(EVENTS))
    names = ("rfm", "segments", "batch_sessions", "recommendations")
    none = {name: spark.createDataFrame([], struct_type(ALL[name])) for name in names}
    profiles = publish.profiles(
        {group.name: batch_tiles(frame, group, cut) for group in publish.OF_VISITORS},
        item_events(frame, cut),
        none["rfm"],
        none["segments"],
        none["batch_sessions"],
        spark.createDataFrame([("a", "25-34"), ("stranger", "18-24")], "visitor_id string, age_band string"),
        none["recommendations"],
        spark.sparkContext.broadcast(load_model(tmp_path / "m1")),
        cut,
    )
    found = {row["visitor_id"]: row["age_band"] for row in profiles.collect()}
    assert found == {"a": "25-34", "b": None}
