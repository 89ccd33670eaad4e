"""Reads by key from an event loop: whole partitions, bounds, deadlines, and tables that are gone."""

import asyncio
from typing import Any

import pytest
from cassandra.cluster import Session

import views.reads
from common.features.groups import GROUPS
from local.cassandra import Cassandra
from views.errors import ViewMissing
from views.reads import KeyReader
from views.speed import SpeedRows
from views.tables import create_tables
from views.writer import ViewWriter

pytestmark = pytest.mark.platform


@pytest.fixture
def rows(session: Session) -> SpeedRows:
    made = SpeedRows("g1", 0, ttl_s=0)
    create_tables(session, made.tables.values())
    popular = [{"item_id": f"i{i:03}", "tile_start": 0, "n": i + 1} for i in range(350)]
    active = [{"visitor_id": "a", "tile_start": t * 3_600_000, "n": t + 1} for t in range(5)]
    ViewWriter(session).write(
        [made.tile(GROUPS["popularity"], row) for row in popular]
        + [made.tile(GROUPS["activity"], row) for row in active]
    )
    return made


def test_partitions_are_read_whole_bounded_and_since(
    session: Session, rows: SpeedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views.reads, "PAGE_ROWS", 100)
    reader = KeyReader(session)

    async def ask() -> tuple[list[Any], ...]:
        popular, active = rows.tables["tiles_popularity"], rows.tables["tiles_activity"]
        return await asyncio.gather(
            reader.partition(popular, (0,), 10.0),
            reader.partition(active, ("a",), 10.0, since=3 * 3_600_000),
            reader.partition(active, ("a",), 10.0, limit=2),
            reader.partition(active, ("nobody",), 10.0),
        )

    popular, since, limited, nobody = asyncio.run(ask())
    assert [row.item_id for row in popular] == [f"i{i:03}" for i in range(350)]
    assert [row.n for row in since] == [4, 5]
    assert [row.n for row in limited] == [1, 2]
    assert nobody == []


def test_a_dropped_table_is_named_and_its_statement_forgotten(session: Session, rows: SpeedRows) -> None:
    table = rows.tables["tiles_activity"]

    async def ask() -> None:
        reader = KeyReader(session)
        assert await reader.row(table, ("a",), 10.0) is not None
        await asyncio.to_thread(session.execute, f"DROP TABLE {table.name}", timeout=30.0)
        for _ in range(2):
            with pytest.raises(ViewMissing, match="tiles_activity_g1"):
                await reader.row(table, ("a",), 10.0)
        with pytest.raises(ViewMissing):
            await reader.warm([(table, True, None)])

    asyncio.run(ask())


def test_a_deadline_ends_a_read(cassandra: Cassandra, session: Session, rows: SpeedRows) -> None:
    table = rows.tables["tiles_activity"]

    async def ask() -> None:
        reader = KeyReader(session)
        await reader.row(table, ("a",), 10.0)
        cassandra.server.pause()
        try:
            with pytest.raises(TimeoutError):
                await reader.row(table, ("a",), 0.2)
        finally:
            cassandra.server.resume()
        assert (await reader.row(table, ("a",), 20.0)).n == 1

    asyncio.run(ask())
