"""What a day changes is what a run recomputes, and each table equals a recompute from scratch, to the row."""

import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import functions as f

from common.contracts.events import BRONZE_EVENTS, EVENT_TYPES
from common.features.groups import GROUPS as ALL_GROUPS
from common.features.windows import DAY_MS, HOUR_MS, MINUTE_MS
from jobs import cleanse, dedup_events, features, rfm, sessionize
from jobs.spark.before import events_before
from jobs.spark.increment import Seen, reaches, seen
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake

pytestmark = pytest.mark.spark

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


def recomputed(lake: Lake, cut_ms: int) -> dict[str, list[str]]:
    counted = events_before(lake, cut_ms).cache()
    figures = rfm.at_cut(rfm.figures(rfm.orders(counted)), cut_ms)
    made = {f"gold/{g.table}": features.batch_tiles(counted, g, cut_ms) for g in features.GROUPS.values()}
    made |= {"gold/sessions": sessionize.dated(sessionize.sessions(counted, cut_ms))}
    made |= {"gold/orders": rfm.orders(counted), "gold/rfm": rfm.scored(figures)}
    found = {name: rows_of(table) for name, table in made.items()}
    counted.unpersist()
    return found


MADE = (*(f"gold/{group.table}" for group in GROUPS.values()), "gold/sessions", "gold/orders", "gold/rfm")
GOLD: tuple[tuple[Any, Any], ...] = (
    (features.main, features.Args),
    (sessionize.main, sessionize.Args),
    (rfm.main, rfm.Args),
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
    assert deaths == 9, "cleanse and rfm commit twice, features once for each of three groups, the others once"
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


def test_an_earlier_cut_is_not_reached_by_going_on():
    made = Seen(version=7, cut_ms=START_MS)
    assert reaches(made, Seen(7, START_MS)) and reaches(made, Seen(9, START_MS + HOUR_MS))
    assert not reaches(made, Seen(9, START_MS - HOUR_MS))
    assert not reaches(None, made)
