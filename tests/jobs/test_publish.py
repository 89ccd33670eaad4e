"""Publishing fills a version, checks it, flips the pointer; what Cassandra holds is what the oracles say."""

import shutil
from collections import defaultdict

import pytest
from pyspark.sql import functions as f

from common.embedding import last_items, unpack_history, unpack_recommendations
from common.errors import IncompleteInput, QualityGateFailed
from common.features.groups import GROUPS
from common.features.previous import with_previous
from common.features.tiles import batch_tiles, unpack
from common.features.windows import EVER, HOUR_MS
from jobs import chain, publish
from jobs.spark.interactions import item_events
from jobs.spark.tables import Lake
from tests.jobs.dying import Killed
from tests.jobs.small_shop import CUT_MS
from views.connect import connect, disconnect
from views.pointer import read_pointer
from views.scan import digest, scan
from views.versions import BatchVersions, find_version

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


def test_killed_anywhere_a_version_is_live_whole_or_not_at_all(built, cluster_spec, session, monkeypatch):
    first = publish.main(built.spark, args(built, cluster_spec))
    stored: list[tuple] = []

    def killed(*given):
        raise Killed

    def killed_at_the_third(*given):
        if len(stored) == 2:
            raise Killed
        stored.append(given)
        return store(*given)

    store = publish.store
    live = first["version"]
    for where, what, by in (
        (publish, "store", killed_at_the_third),
        (BatchVersions, "flip", killed),
    ):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(where, what, by)
            publish.main(built.spark, args(built, cluster_spec))
        assert live_versions(session) == (live,)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(BatchVersions, "drop_old", killed)
        publish.main(built.spark, args(built, cluster_spec))
    flipped = live_versions(session)
    assert flipped[0] != live and flipped[1:] == (live,)
    last = publish.main(built.spark, args(built, cluster_spec))
    whole, again = (find_version(session, "batch", told["version"]) for told in (first, last))
    for name, table in whole.tables.items():
        assert digest(session, table) == digest(session, again.tables[name]), name
    assert live_versions(session) == (last["version"], *flipped)
    tables = session.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", [session.keyspace])
    of_versions = {row.table_name for row in tables if row.table_name.startswith("profile")}
    assert len(of_versions) == 3, "what a killed run had claimed is dropped"


def test_a_spoiled_table_stops_the_chain_and_yesterdays_views_stay_live(built, cluster_spec, session, tmp_path):
    told = publish.main(built.spark, args(built, cluster_spec))
    root = tmp_path / "lake"
    shutil.copytree(built.lake.root, root)
    lake = Lake(built.spark, str(root))
    spoiled = lake.read("gold/rfm").withColumn(
        "frequency", f.when(f.col("r_score") < 5, f.col("frequency")).otherwise(0)
    )
    lake.replace("gold/rfm", spoiled.localCheckpoint())
    steps = chain.Args(
        lake=lake.root,
        cut=CUT_MS,
        cassandra=cluster_spec.address,
        keyspace=cluster_spec.keyspace,
        tracking_uri="none",
        steps='{"check": {"tables": ["gold/rfm", "gold/segments"]}}',
        skip=tuple(step.name for step in chain.STEPS if step.name not in ("check", "publish")),
    )
    with pytest.raises(QualityGateFailed, match="gold/rfm: .* rows break buyer_has_an_order"):
        chain.main(built.spark, steps)
    assert live_versions(session) == (told["version"],)
    assert lake.read("gold/runs").where("job = 'publish'").count() == 0


def test_tables_of_another_cut_are_not_published(built, cluster_spec, session):
    with pytest.raises(IncompleteInput, match="was made for the cut"):
        publish.main(built.spark, args(built, cluster_spec, CUT_MS + HOUR_MS))
    assert read_pointer_or_none(session) is None


def live_versions(session):
    """The live version, then those before it that are kept."""
    pointer = read_pointer(session, "batch")
    assert pointer is not None
    return (pointer.live, *pointer.previous)


def read_pointer_or_none(session):
    tables = session.cluster.metadata.keyspaces[session.keyspace].tables
    return read_pointer(session, "batch") if "view_pointer" in tables else None
