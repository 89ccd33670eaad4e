"""Rule segments in Spark are what serving's path says of the same visitors: by value, and from events on."""

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as f
from pyspark.sql import types as t

from common.contracts.events import EVENTS
from common.features.groups import activity
from common.features.tiles import batch_tiles
from common.features.windows import DAY_MS, HOUR_MS, MINUTE_MS, horizon_start
from common.merge import merge_tiles
from common.segments import RULES, SESSION, rule_segments, visitor_values
from common.sessions import fold_session, sessionize
from jobs import features, memberships
from jobs.memberships import READ, current, members, windowed
from jobs.sessionize import sessions
from jobs.spark.schema import data_type, struct_type

pytestmark = pytest.mark.spark

CUT = 20_000 * DAY_MS + 20 * HOUR_MS


def held(rows: Any) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["visitor_id"], set()).add(row["rule_segment"])
    return found


def value_of(source: str, name: str) -> tuple[t.DataType, st.SearchStrategy[Any]]:
    """The type of a value that rules read, and values around the borders that rules draw."""
    if name == "spend":
        return t.LongType(), st.integers(498, 502)
    if (source, name) == (SESSION, "device"):
        return t.StringType(), st.sampled_from([None, "mobile", "Mobile", "desktop", ""])
    if name in ("session_start", "session_end"):
        return t.LongType(), st.integers(0, 12 * MINUTE_MS)
    if source == SESSION:
        return t.LongType(), st.none() | st.integers(0, 24)
    return t.LongType(), st.integers(0, 7)


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_spark_and_python_agree_on_values(_spark_session, data):
    names = [f"{source}/{name}" for source, name in READ]
    types, strategies = zip(*(value_of(*pair) for pair in READ), strict=True)
    visitors = data.draw(st.lists(st.tuples(*strategies), min_size=150, max_size=200))
    schema = t.StructType(
        [t.StructField(n, k) for n, k in zip(["visitor_id", *names], [t.StringType(), *types], strict=True)]
    )
    frame = _spark_session.createDataFrame([(f"v{i}", *row) for i, row in enumerate(visitors)], schema)
    expected = {f"v{i}": set(rule_segments(dict(zip(names, row, strict=True)))) for i, row in enumerate(visitors)}
    assert held(members(frame, CUT).collect()) == {v: rules for v, rules in expected.items() if rules}


def events() -> list[dict[str, Any]]:
    """Visitors with events around the borders of windows, hours and sessions."""
    rng = random.Random(5)
    borders = [CUT - 24 * HOUR_MS, CUT - 48 * HOUR_MS, CUT - CUT % DAY_MS - 30 * DAY_MS, CUT - 30 * MINUTE_MS, CUT]
    rows = []
    for visitor in range(60):
        for burst in range(rng.randint(1, 6)):
            at = rng.choice(borders) + rng.choice((-1, 0, 1, -HOUR_MS, -40 * MINUTE_MS))
            for step in range(rng.choice((1, 1, 2, 6))):
                at += rng.randrange(4 * MINUTE_MS)
                if at >= CUT:
                    continue
                kind = rng.choices(("view", "cart", "purchase"), (6, 2, 3))[0]
                row: dict[str, Any] = dict.fromkeys(EVENTS.names)
                row |= {"event_id": f"{visitor}-{burst}-{step}", "visitor_id": f"v{visitor}", "event_type": kind}
                if kind == "purchase":
                    row |= {"price": Decimal(rng.choice((100, 250, 400))), "quantity": 1}
                row |= {"event_ms": at, "ingest_ms": at, "category": "tea", "item_id": "a", "line": rng.choice((1, 2))}
                rows.append(row | {"device": rng.choice(("mobile", "mobile", "desktop", None))})
    return rows


def test_from_events_on_spark_says_what_serving_would(spark):
    rows = events()
    frame = spark.createDataFrame([tuple(r[n] for n in EVENTS.names) for r in rows], struct_type(EVENTS)).cache()
    border = horizon_start(CUT)
    days = features.tiles(frame.where(f.col("event_ms") < border), activity, DAY_MS)
    hours = features.tiles(frame.where(f.col("event_ms") >= border), activity, HOUR_MS)
    tiles = days.withColumn("span", f.lit("day")).unionByName(hours.withColumn("span", f.lit("hour")))
    values = windowed(tiles, CUT).join(current(sessions(frame, CUT), CUT), "visitor_id", how="full_outer")
    found = held(members(values, CUT).collect())

    by_visitor: dict[str, list[dict[str, Any]]] = {}
    for events_of in sessionize(rows):
        session = fold_session(events_of)
        row = {name: getattr(session, name) for name in session.__struct_fields__}
        by_visitor.setdefault(session.visitor_id, []).append(row)
    oracle = batch_tiles(activity, rows, CUT)
    expected = {}
    for visitor, its in by_visitor.items():
        merged = merge_tiles(activity, oracle[visitor], (), CUT)
        expected[visitor] = set(rule_segments(visitor_values(merged, its, CUT)))
    assert found == {visitor: rules for visitor, rules in expected.items() if rules}
    assert set().union(*found.values()) == set(RULES), "each rule has members here"


def test_every_value_that_rules_read_has_the_declared_type():
    for source, name in READ:
        if source != SESSION:
            assert memberships.tiles_type(name) == data_type(
                activity.contract().field(name).kind
            ).simpleString().replace("bigint", "long")
