"""Publishing fills a version, checks it, flips the pointer; what Cassandra holds is what the oracles say."""

from collections import defaultdict

import pytest

from common.embedding import last_items, unpack_history, unpack_recommendations
from common.errors import IncompleteInput
from common.features.groups import GROUPS
from common.features.previous import with_previous
from common.features.tiles import batch_tiles, unpack
from common.features.windows import EVER, HOUR_MS
from jobs import publish
from jobs.spark.interactions import item_events
from tests.jobs.small_shop import CUT_MS
from views.connect import connect, disconnect
from views.pointer import read_pointer
from views.scan import digest, scan
from views.versions import find_version

pytestmark = [pytest.mark.spark, pytest.mark.platform, pytest.mark.timeout(900)]


@pytest.fixture
def session(cluster_spec):
    session = connect(cluster_spec)
    yield session
    disconnect(session)


def args(built, spec, cut=CUT_MS):
    return publish.Args(lake=built.lake.root, cut=cut, cassandra=spec.address, keyspace=spec.keyspace)


def rows_of(session, table):
    names = table.view.columns
    return [dict(zip(names, row, strict=True)) for row in scan(session, table, names)]


def test_a_published_version_is_what_the_oracles_say_and_the_next_one_equals_it(built, cluster_spec, session):
    told = publish.main(built.spark, args(built, cluster_spec))
    pointer = read_pointer(session, "batch")
    assert pointer is not None
    assert (pointer.live, pointer.cut_ms, pointer.model_version) == (told["version"], CUT_MS, told["model_version"])
    version = find_version(session, "batch", told["version"])

    lake = built.lake
    events = [row.asDict() for row in lake.read("silver/events").where(f"event_ms < {CUT_MS}").collect()]
    profiles = {row["visitor_id"]: row for row in rows_of(session, version.tables["profile"])}
    assert set(profiles) == {row["visitor_id"] for row in events}

    for name in ("activity", "interest"):
        expected = batch_tiles(GROUPS[name], events, CUT_MS)
        stored = {v: unpack(row["features"])[name] for v, row in profiles.items()}
        assert {v: tiles for v, tiles in stored.items() if tiles.ever or tiles.hours} == expected

    weighed = item_events(lake.read("silver/events"), CUT_MS).collect()
    entries = defaultdict(list)
    for row in weighed:
        entries[row["visitor_id"]].append((row["item_id"], row["weight"], row["event_ms"], row["event_id"]))
    assert {v: unpack_history(r["last_items"]) for v, r in profiles.items() if r["last_items"]} == {
        v: last_items(found) for v, found in entries.items()
    }

    rfm = {row["visitor_id"]: row for row in lake.read("gold/rfm").collect()}
    lists = {row["visitor_id"]: bytes(row["recommendations"]) for row in lake.read("gold/recommendations").collect()}
    for visitor, row in profiles.items():
        assert row["recommendations"] == lists.get(visitor)
        figures = rfm.get(visitor)
        assert row["monetary"] == (figures["monetary"] if figures else None)
        assert row["rfm"] == (f"{figures['r_score']}{figures['f_score']}{figures['m_score']}" if figures else None)
        assert (row["segment"] is None) == (figures is None)
        if figures:
            assert len(unpack_recommendations(row["purchased"])[0]) > 0
    assert sum(row["sessions"] for row in profiles.values()) == lake.read("gold/sessions").count()

    tiles = rows_of(session, version.tables["popularity"])
    assert {row["tile_start"] for row in tiles} - {EVER} <= set(range(CUT_MS - 48 * HOUR_MS, CUT_MS, HOUR_MS))
    assert sum(row["n"] for row in tiles) == len(weighed)
    pairs = rows_of(session, version.tables["covisits"])
    wanted = batch_tiles(GROUPS["covisits"], with_previous(events), CUT_MS)
    assert {(row["previous_item_id"], row["tile_start"], row["dim"], row["n"], row["mass"]) for row in pairs} == {
        (item, tile.start, tile.dim, tile.n, tile.values[0])
        for item, tiles in wanted.items()
        for tile in (*sorted(tiles.ever, key=lambda t: (-t.values[0], t.dim))[: publish.FOLLOWERS], *tiles.hours)
    }
    segments = rows_of(session, version.tables["segments"])
    assert sum(row["size"] for row in segments) == len(rfm)

    again = publish.main(built.spark, args(built, cluster_spec))
    assert again["version"] != told["version"]
    flipped = read_pointer(session, "batch")
    assert flipped is not None
    assert (flipped.live, flipped.previous) == (again["version"], (told["version"],))
    second = find_version(session, "batch", again["version"])
    for name, table in version.tables.items():
        assert digest(session, table) == digest(session, second.tables[name]), name


def test_tables_of_another_cut_are_not_published(built, cluster_spec, session):
    with pytest.raises(IncompleteInput, match="was made for the cut"):
        publish.main(built.spark, args(built, cluster_spec, CUT_MS + HOUR_MS))
    assert read_pointer_or_none(session) is None


def read_pointer_or_none(session):
    tables = session.cluster.metadata.keyspaces[session.keyspace].tables
    return read_pointer(session, "batch") if "view_pointer" in tables else None
