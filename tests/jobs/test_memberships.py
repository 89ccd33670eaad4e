"""Rule segments in Spark are what serving's path says of the same visitors: by value, and from events on."""

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import types as t

from common.age import age_band
from common.contracts.customers import CUSTOMERS
from common.contracts.events import EVENTS
from common.errors import IncompleteInput
from common.features.tiles import batch_tiles
from common.features.windows import DAY_MS, HOUR_MS, MINUTE_MS
from common.merge import merge_tiles
from common.segments import DERIVED, GROUPS_READ, PERSON, RULES, SESSION, rule_segments, visitor_values
from common.sessions import fold_session, sessionize
from jobs import features, memberships
from jobs.memberships import READ, members
from jobs.sessionize import dated, sessions
from jobs.spark.increment import Seen
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake

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
        return t.StringType(), st.sampled_from(["mobile", "mobile", None, "Mobile", "desktop", ""])
    if (source, name) == (SESSION, DERIVED):
        return t.LongType(), st.sampled_from([None, 0, 17, 18, 22, 23])
    if (source, name) == (PERSON, "age_band"):
        return t.StringType(), st.sampled_from(["25-34", "25-34", None, "18-24", "35-44"])
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
    for visitor in range(150):
        for burst in range(rng.randint(1, 6)):
            at = rng.choice(borders) + rng.choice((-1, 0, 1, -HOUR_MS, -40 * MINUTE_MS))
            for step in range(rng.choice((1, 1, 2, 6))):
                at += rng.randrange(4 * MINUTE_MS)
                if at >= CUT:
                    continue
                kind = rng.choices(("view", "cart", "purchase", "search"), (6, 2, 3, 1))[0]
                row: dict[str, Any] = dict.fromkeys(EVENTS.names)
                row |= {"event_id": f"{visitor}-{burst}-{step}", "visitor_id": f"v{visitor}", "event_type": kind}
                if kind == "purchase":
                    row |= {"price": Decimal(rng.choice((100, 250, 400))), "quantity": 1}
                row |= {"event_ms": at, "ingest_ms": at, "item_id": "a", "line": rng.choice((1, 2))}
                row["category"] = rng.choice(("tea", "tea", "paper.notebooks", "paper"))
                rows.append(row | {"device": rng.choice(("mobile", "mobile", "desktop", None))})
    return rows


def customers(rows: list[dict[str, Any]]) -> dict[str, str | None]:
    """The birth date of most visitors, around the borders of a band, and of one who never came."""
    rng = random.Random(6)
    visitors = sorted({row["visitor_id"] for row in rows})
    dates = ("1989-10-04", "1989-10-05", "1994-01-01", "1999-10-04", "1999-10-05", "1999", None)
    return {visitor: rng.choice(dates) for visitor in visitors if rng.random() < 0.9} | {"stranger": "1994-01-01"}


def expected_of(rows: list[dict[str, Any]], born: dict[str, str | None]) -> dict[str, set[str]]:
    """What serving's path says of the same visitors."""
    sessions_of: dict[str, list[dict[str, Any]]] = {}
    for events_of in sessionize(rows):
        session = fold_session(events_of)
        row = {name: getattr(session, name) for name in session.__struct_fields__}
        sessions_of.setdefault(session.visitor_id, []).append(row)
    oracle = {group.name: batch_tiles(group, rows, CUT) for group in GROUPS_READ}
    expected = {}
    for visitor, its in sessions_of.items():
        merged = {g.name: merge_tiles(g, oracle[g.name].get(visitor), (), CUT) for g in GROUPS_READ}
        expected[visitor] = set(rule_segments(visitor_values(merged, its, age_band(born.get(visitor), CUT), CUT)))
    return {visitor: rules for visitor, rules in expected.items() if rules}


def test_from_events_on_spark_says_what_serving_would(spark, tmp_path):
    rows, lake = events(), Lake(spark, str(tmp_path / "lake"))
    frame = spark.createDataFrame([tuple(r[n] for n in EVENTS.names) for r in rows], struct_type(EVENTS)).cache()
    for group in GROUPS_READ:
        lake.replace(f"gold/{group.table}", features.batch_tiles(frame, group, CUT))
    lake.replace("gold/sessions", dated(sessions(frame, CUT)))

    args = memberships.Args(lake=lake.root, cut=CUT)
    counts = memberships.main(spark, args)
    found = held(lake.read("gold/memberships").collect())
    assert found == expected_of(rows, {}), "a lake without customers"
    assert counts["evening_writers"] == 0 < counts["evening_browsers"]

    born = customers(rows)
    facts = [{"customer_id": c, "source": "shop", "birth_date": b, "updated_ms": CUT} for c, b in born.items()]
    people = [tuple(row.get(name) for name in CUSTOMERS.names) for row in facts]
    lake.replace("silver/customers", spark.createDataFrame(people, struct_type(CUSTOMERS)))
    counts = memberships.main(spark, args)
    found = held(lake.read("gold/memberships").collect())
    assert found == expected_of(rows, born)
    assert min(counts.values()) > 0 and set(counts) == set(RULES), "each rule has members here"
    writers = {visitor for visitor, rules in found.items() if "evening_writers" in rules}
    assert {born[visitor] for visitor in writers} <= {"1989-10-05", "1994-01-01", "1999-10-04"}

    for table in ("gold/sessions", f"gold/{GROUPS_READ[0].table}"):
        before = lake.version(table) or 0
        lake.append(table, lake.read(table).limit(0), mark=Seen(0, CUT + DAY_MS).mark)
        with pytest.raises(IncompleteInput, match=f"{table} was made for the cut {CUT + DAY_MS}, not {CUT}: run its"):
            memberships.main(spark, args)
        lake.restore(table, before)
