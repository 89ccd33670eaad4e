"""The writer against real Cassandra: the same rows in the end, whatever the order, the batches and the faults."""

import random
import threading
import time
from decimal import Decimal
from typing import Any

import pytest
from cassandra.cluster import Session

from common.errors import ServerUnavailable
from common.features.groups import GROUPS
from local.cassandra import Cassandra
from views.connect import ClusterSpec, connect, disconnect
from views.errors import ViewMissing
from views.mutations import Mutation, RowDelete, Upsert
from views.scan import digest, scan
from views.speed import SpeedRows
from views.tables import create_tables
from views.writer import ViewWriter, WriteLimits, routing_key

pytestmark = pytest.mark.platform

HOUR = 3_600_000
MINUTE = 60_000


def fresh_rows(session: Session, generation: str, created_ms: int = 1_000) -> SpeedRows:
    rows = SpeedRows(generation, created_ms, ttl_s=0)
    create_tables(session, rows.tables.values())
    return rows


def stored(session: Session, rows: SpeedRows, view: str, *columns: str) -> set[tuple[Any, ...]]:
    return set(scan(session, rows.tables[view], columns))


def tile(rows: SpeedRows, visitor: str, hour: int, n: int) -> Mutation:
    return rows.tile(
        GROUPS["activity"],
        {"visitor_id": visitor, "tile_start": hour * HOUR, "n": n, "views": n, "spend": Decimal(n) / 100},
    )


def session_row(visitor: str, start: int, end: int, events: int) -> dict[str, Any]:
    return {"visitor_id": visitor, "session_start": start, "session_end": end, "events": events, "pages": events}


def history(rows: SpeedRows, visitors: int, hours: int, events: int) -> list[Mutation]:
    """Running rows as a stream makes them: every tile and embedding once for each of its events."""
    out: list[Mutation] = []
    for v in range(visitors):
        for h in range(hours):
            out += [tile(rows, f"k1_{v}", h, n) for n in range(1, events + 1)]
        out += [
            rows.embedding({"visitor_id": f"k1_{v}", "model_version": "m1", "history": bytes([n]), "updates": n})
            for n in range(1, events + 1)
        ]
    return out


def test_any_order_in_any_batches_ends_in_the_same_rows(session: Session) -> None:
    generator = random.Random(7)
    first = fresh_rows(session, "g1")
    second = fresh_rows(session, "g2")
    ViewWriter(session).write(history(first, visitors=12, hours=3, events=20))
    shuffled = history(second, visitors=12, hours=3, events=20)
    shuffled += generator.sample(shuffled, k=len(shuffled) // 5)  # what a restore writes again
    generator.shuffle(shuffled)
    writer = ViewWriter(session)
    while shuffled:
        size = generator.randrange(1, 120)
        writer.write(shuffled[:size])
        del shuffled[:size]
    for view in ("tiles_activity", "user_embedding"):
        one = digest(session, first.tables[view])
        assert one.rows == {"tiles_activity": 36, "user_embedding": 12}[view]
        assert digest(session, second.tables[view]) == one
    assert stored(session, second, "tiles_activity", "n", "views", "spend") == {(20, 20, Decimal("0.2"))}
    assert stored(session, second, "user_embedding", "history") == {(bytes([20]),)}


def test_a_partition_is_hashed_as_the_server_hashes_it(session: Session) -> None:
    rows = fresh_rows(session, "g1")
    popular = {"item_id": "x", "tile_start": HOUR, "n": 1}
    for mutation in (tile(rows, "k1_é", 1, 1), rows.tile(GROUPS["popularity"], popular)):
        assert isinstance(mutation, Upsert)
        prepared = session.prepare(mutation.table.insert(session.keyspace))
        assert prepared.bind((*mutation.values, 1, 0)).routing_key == routing_key(mutation)


@pytest.mark.parametrize("closed_first", [True, False])
def test_a_closed_session_swallows_its_provisional_rows(session: Session, closed_first: bool) -> None:
    rows = fresh_rows(session, "g1")
    provisional: list[Mutation] = []
    # Arrival out of order: the session that truly began at minute 0 was first seen at minutes 5 and 9.
    provisional += [rows.open_session(session_row("a", 5 * MINUTE, 8 * MINUTE, n)) for n in (1, 2, 3)]
    provisional += [rows.open_session(session_row("a", 9 * MINUTE, 20 * MINUTE, n)) for n in (1, 2)]
    provisional += [rows.open_session(session_row("a", 0, 20 * MINUTE, 1))]
    later = rows.open_session(session_row("a", 90 * MINUTE, 91 * MINUTE, 2))
    closed = rows.closed_session(session_row("a", 0, 20 * MINUTE, 6))
    writer = ViewWriter(session)
    for batch in [closed, [*provisional, later]] if closed_first else [[*provisional, later], closed]:
        writer.write(batch)
    wanted = {(0, 6, True), (90 * MINUTE, 2, False)}
    assert stored(session, rows, "sessions", "session_start", "events", "closed") == wanted


def test_a_row_lives_as_long_as_its_anchor_allows(session: Session) -> None:
    now = time.time_ns() // 1_000_000
    rows = SpeedRows("g1", 0, ttl_s=3_600)
    create_tables(session, rows.tables.values())
    writer = ViewWriter(session)
    young: dict[str, Any] = {"visitor_id": "a", "tile_start": now - 600_000, "n": 1}
    dead = {"visitor_id": "a", "tile_start": now - 3_700_000, "n": 1}
    writer.write([rows.tile(GROUPS["activity"], young), rows.tile(GROUPS["activity"], dead)])
    found = session.execute("SELECT tile_start, TTL(n) AS ttl, WRITETIME(n) AS stamp FROM tiles_activity_g1").all()
    assert [row.tile_start for row in found] == [young["tile_start"]]
    assert 2_900 < found[0].ttl <= 3_000
    assert found[0].stamp == young["tile_start"] * 1_000 + 1
    assert writer.metrics.snapshot()["expired"] == 1


def test_deletes_are_versioned_like_writes(session: Session) -> None:
    rows = fresh_rows(session, "g1")
    writer = ViewWriter(session)
    table = rows.tables["tiles_activity"]
    writer.write([tile(rows, "a", 1, 5), tile(rows, "b", 1, 5)])
    writer.write([RowDelete(table, ("a", HOUR), HOUR * 1_000 + 4), RowDelete(table, ("b", HOUR), HOUR * 1_000 + 6)])
    assert stored(session, rows, "tiles_activity", "visitor_id", "n") == {("a", 5)}


def test_a_missing_table_is_named(session: Session) -> None:
    with pytest.raises(ViewMissing, match="tiles_activity_g9"):
        ViewWriter(session).write([tile(SpeedRows("g9", 0), "a", 500_000, 1)])


def test_a_value_of_the_wrong_type_is_a_defect_and_not_retried(session: Session) -> None:
    rows = fresh_rows(session, "g1")
    writer = ViewWriter(session)
    with pytest.raises(TypeError):
        writer.write([rows.tile(GROUPS["activity"], {"visitor_id": "a", "tile_start": 0, "n": 1, "views": "many"})])
    assert writer.metrics.retries == 0


def test_a_node_that_dies_and_returns_costs_only_time(cassandra: Cassandra, session: Session) -> None:
    rows = fresh_rows(session, "g1")
    mutations = history(rows, visitors=200, hours=2, events=3)
    writer = ViewWriter(session, WriteLimits(deadline_s=120.0, request_timeout_s=2.0))
    stop = threading.Event()
    failures: list[BaseException] = []

    def write_on() -> None:
        try:
            while not stop.is_set():
                for start in range(0, len(mutations), 100):
                    writer.write(mutations[start : start + 100])
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=write_on)
    thread.start()
    try:
        time.sleep(1.0)
        cassandra.server.kill()
        time.sleep(2.0)
        cassandra.start()
        cassandra.wait_ready()
        retried = writer.metrics.retries
    finally:
        stop.set()
        thread.join(timeout=150)
    assert not thread.is_alive()
    assert not failures
    assert retried > 0
    # Acknowledged is not yet on disk (commitlog_sync: periodic): write once more, then compare.
    writer.write(mutations)
    assert stored(session, rows, "tiles_activity", "visitor_id", "tile_start", "n") == {
        (f"k1_{v}", h * HOUR, 3) for v in range(200) for h in range(2)
    }


def test_a_node_that_stays_away_ends_the_call_with_one_clear_line(cassandra: Cassandra, spec: ClusterSpec) -> None:
    session = connect(spec)
    try:
        rows = fresh_rows(session, "g1")
        writer = ViewWriter(session, WriteLimits(deadline_s=2.0, request_timeout_s=0.5))
        writer.write([tile(rows, "a", 1, 1)])
        cassandra.server.pause()
        try:
            with pytest.raises(ServerUnavailable, match="took no write for 2 s"):
                writer.write([tile(rows, "a", 1, 2)])
        finally:
            cassandra.server.resume()
        assert writer.metrics.retries > 0
        ViewWriter(session, WriteLimits(deadline_s=60.0)).write([tile(rows, "a", 1, 3)])
        assert stored(session, rows, "tiles_activity", "n") == {(3,)}
    finally:
        disconnect(session)
