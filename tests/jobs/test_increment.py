"""What a day changes is what a run recomputes, and each table equals a recompute from scratch, to the row."""

import random
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from delta.tables import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from common.contracts.core import LONG, STRING, Contract, Field
from common.contracts.events import BRONZE_EVENTS, EVENT_TYPES
from common.features.groups import GROUPS as ALL_GROUPS
from common.features.windows import DAY_MS, HOUR_MS, MINUTE_MS
from jobs import cleanse, dedup_events, features, rfm, sessionize, visitor_features
from jobs.spark.before import events_before
from jobs.spark.increment import Seen, reaches, seen, wanted
from jobs.spark.schema import struct_type
from jobs.spark.tables import TABLES, Lake

pytestmark = [pytest.mark.spark, pytest.mark.timeout(900)]

GROUPS = {name: ALL_GROUPS[name] for name in ("activity", "interest", "covisits")}
"""One without decays, one with, and one where an event changes what its neighbours are: the others are made alike."""

START_MS = 1_772_323_200_000
"""2026-03-01T00:00:00Z."""


def events(count: int, first_ms: int, last_ms: int, seed: int, late_ms: int = 0) -> list[dict]:
    rng = random.Random(seed)
    rows = []
    for i in range(count):
        at = rng.randrange(first_ms, last_ms) // (20 * MINUTE_MS) * (20 * MINUTE_MS) + rng.choice((0, 1, MINUTE_MS))
        kind = rng.choice(sorted(EVENT_TYPES))
        row = dict.fromkeys(BRONZE_EVENTS.names)
        row |= {"event_id": f"e{seed}-{i}", "event_type": kind, "visitor_id": f"v{rng.randrange(9)}"}
        row |= {"category": rng.choice("abc"), "event_ms": at, "ingest_ms": at + late_ms, "late": late_ms > 0}
        row |= {"topic": "events", "partition": 0, "offset": seed * 10_000 + i}
        row |= {"event_date": datetime.fromtimestamp(at // 1000, UTC).date(), "device": rng.choice((None, "mobile"))}
        row |= {"item_id": f"i{rng.randrange(7)}"}
        if kind in ("purchase", "refund"):
            row |= {"price": Decimal(rng.randrange(1, 999)), "quantity": rng.randrange(1, 4)}
            row |= {"order_id": f"o{rng.randrange(40)}", "line": rng.choice((1, 2))}
        rows.append(row)
    return rows


def in_a_row(count: int) -> list[dict]:
    """Looks of one visitor at items of their own on the first day, ten minutes apart."""
    row = events(1, START_MS, START_MS + DAY_MS, seed=5)[0]
    row |= {"event_type": "view", "visitor_id": "looks", "price": None, "quantity": None, "order_id": None}
    return [
        row
        | {"event_id": f"look{i}", "item_id": f"look{i}", "event_ms": START_MS + i * 10 * MINUTE_MS, "offset": i + 10}
        for i in range(count)
    ]


def frame(spark, rows):
    schema = struct_type(BRONZE_EVENTS)
    return spark.createDataFrame([tuple(row[n] for n in BRONZE_EVENTS.names) for row in rows], schema)


def rows_of(frame) -> list[str]:
    return sorted(map(str, frame.select(sorted(frame.columns)).collect()))


def thirty_days(counted: DataFrame, cut_ms: int) -> DataFrame:
    """The rows of gold/visitor_features, recomputed."""
    return visitor_features.features(counted.where(f.col("event_ms") >= cut_ms - visitor_features.WINDOW_MS), cut_ms)


def recomputed(lake: Lake, cut_ms: int) -> dict[str, list[str]]:
    counted = events_before(lake, cut_ms).cache()
    figures = rfm.at_cut(rfm.figures(rfm.orders(counted)), cut_ms)
    made = {f"gold/{g.table}": features.batch_tiles(counted, g, cut_ms) for g in features.GROUPS.values()}
    made |= {"gold/sessions": sessionize.dated(sessionize.sessions(counted, cut_ms))}
    made |= {"gold/orders": rfm.orders(counted), "gold/rfm": rfm.scored(figures)}
    made |= {"gold/visitor_features": thirty_days(counted, cut_ms)}
    found = {name: rows_of(table) for name, table in made.items()}
    counted.unpersist()
    return found


MADE = (
    *(f"gold/{group.table}" for group in GROUPS.values()),
    "gold/sessions",
    "gold/orders",
    "gold/rfm",
    "gold/visitor_features",
)
GOLD: tuple[tuple[Any, Any], ...] = (
    (features.main, features.Args),
    (sessionize.main, sessionize.Args),
    (rfm.main, rfm.Args),
    (visitor_features.main, visitor_features.Args),
)
CHAIN: tuple[tuple[Any, Any], ...] = ((cleanse.main, cleanse.Args), (dedup_events.main, dedup_events.Args), *GOLD)


def differing(lake: Lake, cut_ms: int) -> list[str]:
    """The tables that are not what a recompute gives; all say for which cut they are."""
    found = recomputed(lake, cut_ms)
    assert set(found) == set(MADE) and all(found.values())
    assert {was.cut_ms if (was := seen(lake, table)) else None for table in MADE} == {cut_ms}
    return [table for table, rows in found.items() if rows_of(lake.read(table)) != rows]


class Killed(BaseException):
    """The end of a process, for all that runs in it."""


def test_each_day_equals_a_recompute_also_where_runs_are_killed_after_each_commit(spark, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "GROUPS", GROUPS)
    # A window that days leave as others come.
    monkeypatch.setattr(visitor_features, "WINDOW_MS", 3 * DAY_MS)
    lake = Lake(spark, str(tmp_path / "lake"))
    first, second = START_MS + 4 * DAY_MS, START_MS + 5 * DAY_MS
    # Four days of history, and a part of the fifth that waits for its cut.
    looks = in_a_row(3)
    history = events(200, START_MS, first + 12 * HOUR_MS, seed=1)
    lake.append("bronze/events", frame(spark, [*history, looks[0], looks[2]]))
    for main, args in CHAIN:
        main(spark, args(lake=lake.root, cut=first))

    # The fifth day, all on time.
    day = events(40, first, second, seed=2)
    lake.append("bronze/events", frame(spark, day))
    for main, args in CHAIN:
        main(spark, args(lake=lake.root, cut=second))
    assert differing(lake, second) == []

    # Some hours on: events within the horizon and from long ago, one of them between two others, one that a record
    # before its own replaces with another time, one that breaks a rule, and a visitor who is erased. Each job dies
    # after each of its commits.
    third = second + 7 * HOUR_MS
    late = [*events(9, START_MS, first, seed=3, late_ms=DAY_MS), looks[1]]
    sooner = {**day[0], "event_ms": START_MS, "ingest_ms": START_MS, "category": "b", "offset": 1}
    sooner["event_date"] = datetime.fromtimestamp(START_MS // 1000, UTC).date()
    wrong = {**day[1], "price": Decimal(-1), "offset": 2}
    lake.append("bronze/events", frame(spark, [*late, *events(9, second, third, seed=4), sooner, wrong]))
    lake.remove("silver/events", lake.read("silver/events").where(f.col("visitor_id") == "v3"))
    committed, deaths = Lake._committed, 0
    # One group after the other, so that each dies alone.
    monkeypatch.setattr(features, "at_once", lambda _, pieces: {name: piece() for name, piece in pieces.items()})

    def then_die(self, table, write):
        written = committed(self, table, write)
        if written.inserted:
            raise Killed
        return written

    for main, args in CHAIN:
        while True:
            with monkeypatch.context() as patch:
                patch.setattr(Lake, "_committed", then_die)
                try:
                    main(spark, args(lake=lake.root, cut=third))
                    break
                except Killed:
                    deaths += 1
    assert deaths == 10, "cleanse and rfm commit twice, features once for each of three groups, the others once"
    assert differing(lake, third) == []
    pairs = lake.read("gold/tiles_covisits").where("previous_item_id LIKE 'look%' AND span = 'ever'")
    assert {(row["previous_item_id"], row["dim"]) for row in pairs.collect()} == {
        ("look0", "look1"),
        ("look1", "look2"),
    }

    # Nothing is new, so nothing is written.
    versions = {table: lake.version(table) for table in MADE}
    for main, args in CHAIN:
        main(spark, args(lake=lake.root, cut=third))
    assert {table: lake.version(table) for table in versions} == versions


def seen_at(visitor: str, *hours: float, came: float | None = None) -> list[dict]:
    """Looks of a visitor so many hours after the start, all but at once or, for a late one, ``came`` hours after it."""
    rows = []
    for hour in hours:
        at = START_MS + int(hour * HOUR_MS)
        row = events(1, at, at + 1, seed=1)[0]
        row |= {"event_id": f"{visitor}-{hour}", "event_type": "view", "visitor_id": visitor, "event_ms": at}
        row |= {"ingest_ms": at if came is None else START_MS + int(came * HOUR_MS), "offset": int(hour * 60)}
        row |= {"event_date": datetime.fromtimestamp(at // 1000, UTC).date(), "topic": visitor}
        row |= {"price": None, "quantity": None, "order_id": None, "line": None}
        rows.append(row)
    return rows


def test_a_window_that_moves_computes_whom_it_leaves_and_whom_it_reaches(spark, tmp_path, monkeypatch):
    monkeypatch.setattr(visitor_features, "WINDOW_MS", 48 * HOUR_MS)
    lake = Lake(spark, str(tmp_path / "lake"))
    first, second = START_MS + 48 * HOUR_MS, START_MS + 54 * HOUR_MS

    def bring(cut_ms: int) -> tuple[dict[str, Any], dict[str, Any]]:
        told = visitor_features.main(spark, visitor_features.Args(lake=lake.root, cut=cut_ms))
        stored = lake.read("gold/visitor_features")
        assert rows_of(stored) == rows_of(thirty_days(events_before(lake, cut_ms), cut_ms))
        assert seen(lake, "gold/visitor_features") == wanted(lake, cut_ms)
        return dict(told), {row["visitor_id"]: row.asDict() for row in stored.collect()}

    rows = [
        *seen_at("leaves", 1, 2),
        *seen_at("is cut within a session", 5.9, 6.1, 6.4),
        *seen_at("stays", 12, 12.2, 30),
        *seen_at("begins at the border", 6, 20),
        *seen_at("came late", 20, 20.1),
        *seen_at("came late", 20.2, came=50),
        *seen_at("is known by late events alone", 40, came=50),
        *seen_at("comes", 50),
        *seen_at("comes again", 20, 50),
        *seen_at("is erased", 20),
        *seen_at("had been there", -30),
    ]
    lake.append("silver/events", frame(spark, rows))
    told, was = bring(first)
    assert told == {"visitors": 7, "changed": 7}
    lake.remove("silver/events", lake.read("silver/events").where("visitor_id = 'is erased'"))
    told, now = bring(second)
    same = {"stays", "begins at the border"}
    assert {name for name in now if now[name] == {**was.get(name, {}), "cut_ms": second}} == same
    assert was.keys() - now.keys() == {"leaves", "is erased"}
    assert now.keys() - was.keys() == {"is known by late events alone", "comes"}
    assert now["is cut within a session"]["session_ms"] < was["is cut within a session"]["session_ms"]
    assert told == {"visitors": len(now), "changed": 7}

    # The same cut, and only what the source has otherwise; then an earlier one, and one further than a window away.
    lake.append("silver/events", frame(spark, [*seen_at("comes", 51), *seen_at("had been there", -29)]))
    told, _ = bring(second)
    assert told["changed"] == 1
    assert bring(first)[0]["changed"] == bring(first - HOUR_MS)[0]["visitors"] == len(was) - 1
    lake.append("silver/events", frame(spark, seen_at("comes much later", 120)))
    assert bring(START_MS + 121 * HOUR_MS)[1].keys() == {"comes much later"}


def older(contract: Contract) -> Contract:
    """The contract as it was when a column was still to come, another had another type, and one was there."""
    fields = [x for x in contract.fields if x.name not in ("spend", "lines", "views", "r_score", "intent")]
    number = next(x.name for x in fields if x.kind == LONG and x.name not in contract.key)
    fields = [Field(x.name, STRING) if x.name == number else x for x in fields]
    return replace(contract, version=contract.version - 1, fields=(*fields, Field("gone", LONG, nullable=False)))


@pytest.mark.parametrize(("main", "args"), GOLD)
def test_a_table_of_other_columns_than_the_contracts_is_made_anew_and_gone_on_with(
    spark, tmp_path, monkeypatch, main, args
):
    one = {"activity": GROUPS["activity"]}
    monkeypatch.setattr(features, "GROUPS", one)
    lake, first, second = Lake(spark, str(tmp_path / "lake")), START_MS + DAY_MS, START_MS + 2 * DAY_MS
    lake.append("silver/events", frame(spark, events(60, START_MS, second, seed=1)))
    job = main.__module__.rpartition(".")[2]
    made = [table for table in MADE if TABLES[table].made_by == job]
    made = [f"gold/{group.table}" for group in one.values()] if main is features.main else made
    for table in made:
        now = TABLES[table]
        with monkeypatch.context() as patch:
            patch.setitem(TABLES, table, replace(now, contract=older(now.contract)))
            nothing = spark.createDataFrame([], struct_type(older(now.contract)))
            lake.append(table, nothing, mark=wanted(lake, first).mark)
        assert not lake.as_declared(table) and seen(lake, table) is None
    for cut in (first, second):
        main(spark, args(lake=lake.root, cut=cut))
        assert [seen(lake, table) for table in made] == [wanted(lake, cut)] * len(made)
    for table in made:
        detail = DeltaTable.forPath(spark, lake.path(table)).detail().collect()[0]
        contract = TABLES[table].contract
        assert detail["properties"]["dovetail.contract"] == f"{contract.name} v{contract.version}"
        assert tuple(detail["partitionColumns"]) == contract.partition_by
        assert lake.version(table) == 3, "made, marked, made anew, and gone on with"
    expected = recomputed(lake, second)
    assert {table: rows_of(lake.read(table)) for table in made} == {table: expected[table] for table in made}


@pytest.mark.parametrize("seed", range(2))
def test_whatever_comes_and_goes_the_window_equals_a_recompute(spark, tmp_path, monkeypatch, seed):
    monkeypatch.setattr(visitor_features, "WINDOW_MS", 2 * DAY_MS + 5 * HOUR_MS)
    lake, rng = Lake(spark, str(tmp_path / "lake")), random.Random(seed)
    cut = START_MS + 3 * DAY_MS
    lake.append("silver/events", frame(spark, events(60, START_MS, cut, seed=100 * seed)))
    for step in range(1, 5):
        told = visitor_features.main(spark, visitor_features.Args(lake=lake.root, cut=cut))
        expected = rows_of(thirty_days(events_before(lake, cut), cut))
        assert rows_of(lake.read("gold/visitor_features")) == expected and told["visitors"] == len(expected)
        late = rng.choice((0, HOUR_MS, 20 * HOUR_MS))
        more = events(rng.randrange(1, 5), cut - 3 * DAY_MS, cut + 9 * HOUR_MS, seed=100 * seed + step, late_ms=late)
        lake.append("silver/events", frame(spark, more))
        gone = f"e{100 * seed}-{rng.randrange(60)}"
        lake.remove("silver/events", lake.read("silver/events").where(f.col("event_id") == gone))
        cut += rng.choice((0, HOUR_MS, 7 * HOUR_MS, 30 * HOUR_MS))


def test_an_earlier_cut_is_not_reached_by_going_on():
    made = Seen(version=7, cut_ms=START_MS)
    assert reaches(made, Seen(7, START_MS)) and reaches(made, Seen(9, START_MS + HOUR_MS))
    assert not reaches(made, Seen(9, START_MS - HOUR_MS))
    assert not reaches(None, made)
