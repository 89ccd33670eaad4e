"""Batch versions and generations against real Cassandra: one winner, nothing half live, no name twice."""

import threading
from typing import Any

import pytest
from cassandra.cluster import Session

from common.errors import ConcurrentRun, IncompleteInput
from common.features.declared import declared
from common.features.windows import HORIZON_MS, HOUR_MS
from views.connect import ClusterSpec, connect, disconnect
from views.errors import ViewCheckFailed, ViewMissing
from views.mutations import Upsert
from views.pointer import PointerCache, read_pointer
from views.versions import BatchVersions, Generations, Version, list_versions
from views.writer import ViewWriter

pytestmark = pytest.mark.platform

CUT = 1_795_132_800_000  # 2026-11-20 00:00 UTC


def load(session: Session, version: Version, profiles: int = 3) -> dict[str, int]:
    """Fill a version with a few rows of each view; what was written, by view."""
    rows: list[Upsert] = []
    for name, table in version.tables.items():
        for i in range(profiles if name == "profile" else 1):
            known: dict[str, Any] = {"visitor_id": f"k1_{i}", "item_id": "x", "segment_id": i, "tile_start": -1}
            known |= {"previous_item_id": "w", "dim": "x"}
            rows.append(Upsert(table, tuple(known.get(c) for c in table.view.columns), CUT * 1_000))
    ViewWriter(session).write(rows)
    return {name: profiles if name == "profile" else 1 for name in version.tables}


def publish(versions: BatchVersions, cut: int = CUT, **model: Any) -> Version:
    version = versions.claim(cut)
    versions.check(version, load(versions.session, version))
    versions.flip(version, **model)
    return version


def tables(session: Session) -> set[str]:
    keyspace = session.keyspace
    rows = session.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", (keyspace,))
    return {row.table_name for row in rows}


def test_a_version_goes_live_whole_and_two_before_it_stay(session: Session) -> None:
    versions = BatchVersions(session)
    assert versions.live() is None
    names = [publish(versions, CUT + i * 86_400_000, model_version=f"m{i}", model_uri=f"u{i}").name for i in range(4)]
    assert names == ["v20261120_1", "v20261121_1", "v20261122_1", "v20261123_1"]
    live = versions.live()
    assert live is not None
    assert (live.live, live.previous, live.serial) == (names[3], (names[2], names[1]), 4)
    assert live.info["features"] == declared()
    assert (live.cut_ms, live.model_version, live.model_uri) == (CUT + 3 * 86_400_000, "m3", "u3")
    assert versions.drop_old() == [names[0]]
    profiles = {name for name in tables(session) if name.startswith("profile_")}
    assert profiles == {f"profile_{name}" for name in names[1:]}
    assert versions.drop_old() == []


def test_a_name_is_never_used_twice(session: Session) -> None:
    versions = BatchVersions(session)
    first = publish(versions)
    for _ in range(3):
        publish(versions)
    versions.drop_old()
    assert first.name not in {v.name for v in list_versions(session, "batch") if v.state != "dropped"}
    assert publish(versions).name == "v20261120_5"


def test_a_failed_load_leaves_the_last_good_version_live(session: Session) -> None:
    versions = BatchVersions(session)
    good = publish(versions)
    broken = versions.claim(CUT)
    counts = load(session, broken, profiles=2)
    with pytest.raises(ViewCheckFailed, match="profile has 2 rows and not 3"):
        versions.check(broken, {**counts, "profile": 3})
    with pytest.raises(ViewCheckFailed, match="failed, not checked"):
        versions.flip(broken)
    live = versions.live()
    assert live is not None and live.live == good.name
    assert versions.drop_old() == [broken.name]


def test_an_empty_profile_and_an_unspoken_view_fail_the_check(session: Session) -> None:
    versions = BatchVersions(session)
    version = versions.claim(CUT)
    with pytest.raises(ViewCheckFailed, match="expected counts for"):
        versions.check(version, {"profile": 1})
    with pytest.raises(ViewCheckFailed, match="profile is empty"):
        versions.check(version, dict.fromkeys(version.tables, 0))


def test_of_two_publishers_one_wins(spec: ClusterSpec, session: Session) -> None:
    versions = BatchVersions(session)
    publish(versions)
    before = versions.live()
    rivals = [versions.claim(CUT) for _ in range(2)]
    assert len({rival.name for rival in rivals}) == 2
    for rival in rivals:
        versions.check(rival, load(session, rival))
    outcomes: list[str] = []
    barrier = threading.Barrier(len(rivals))

    def race(rival: Version) -> None:
        own = connect(spec)
        try:
            mine = BatchVersions(own)
            barrier.wait()
            mine.flip(rival, before=before)
            outcomes.append(rival.name)
        except ConcurrentRun:
            outcomes.append("lost")
        finally:
            disconnect(own)

    threads = [threading.Thread(target=race, args=(rival,)) for rival in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes)[0] == "lost" and sorted(outcomes)[1] != "lost"
    live = versions.live()
    assert live is not None and live.live in outcomes and live.serial == 2


def test_concurrent_claims_get_names_of_their_own(spec: ClusterSpec, session: Session) -> None:
    BatchVersions(session)
    names: list[str] = []

    def claim() -> None:
        own = connect(spec)
        try:
            names.append(BatchVersions(own).claim(CUT).name)
        finally:
            disconnect(own)

    threads = [threading.Thread(target=claim) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names) == ["v20261120_1", "v20261120_2", "v20261120_3"]


def test_an_older_cut_never_replaces_a_newer_one_but_a_rollback_goes_back(session: Session) -> None:
    versions = BatchVersions(session)
    first = publish(versions, CUT, model_version="m1", model_uri="u1")
    second = publish(versions, CUT + 86_400_000, model_version="m2", model_uri="u2")
    old = versions.claim(CUT)
    versions.check(old, load(session, old))
    with pytest.raises(ViewCheckFailed, match="rollback"):
        versions.flip(old)
    back = versions.rollback()
    assert (back.live, back.cut_ms, back.model_version, back.model_uri) == (first.name, CUT, "m1", "u1")
    assert versions.drop_old() == [second.name]
    with pytest.raises(ViewMissing, match="no batch version to go back to"):
        versions.rollback()


def test_a_rollback_goes_back_to_any_version_that_is_kept(session: Session) -> None:
    versions = BatchVersions(session)
    first, second, third = (publish(versions, CUT + day * 86_400_000, model_version=f"m{day}") for day in range(3))
    with pytest.raises(ViewMissing, match=f"v19700101_1 is not kept any more; there are {second.name}, {first.name}"):
        versions.rollback("v19700101_1")
    back = versions.rollback(first.name)
    assert (back.live, back.model_version, back.previous) == (first.name, "m0", ())
    assert set(versions.drop_old()) == {second.name, third.name}


def test_a_rollback_can_be_rolled_back_until_something_is_published(session: Session) -> None:
    versions = BatchVersions(session)
    assert versions.kept() == []
    first, second, third = (
        publish(versions, CUT + day * 86_400_000, model_version=f"m{day}", model_uri=f"u{day}") for day in range(3)
    )
    newest_first = [third.name, second.name, first.name]
    before = versions.live()
    assert before is not None and versions.kept() == newest_first
    assert versions.rollback(third.name) == before, "it is live"
    assert versions.rollback(first.name).previous == ()
    assert versions.kept() == newest_first
    middle = versions.rollback(second.name)
    assert (middle.live, middle.model_version, middle.previous) == (second.name, "m1", (first.name,))
    assert versions.rollback().live == first.name
    again = versions.rollback(third.name)
    assert versions.kept() == newest_first
    assert (again.live, again.cut_ms, again.previous) == (before.live, before.cut_ms, before.previous)
    assert (again.model_version, again.model_uri) == ("m2", "u2")
    versions.rollback()
    fourth = publish(versions, CUT + 3 * 86_400_000)
    assert versions.kept() == [fourth.name, second.name, first.name]
    assert versions.drop_old() == [third.name]
    with pytest.raises(ViewMissing, match=f"{third.name} is not kept any more; there are {second.name}, {first.name}"):
        versions.rollback(third.name)


def test_generations_are_made_live_once_they_read_from_early_enough(session: Session) -> None:
    publish(BatchVersions(session))
    generations = Generations(session)
    first = generations.create()
    late = generations.create(reads_from_ms=CUT - HORIZON_MS)
    early = generations.create(reads_from_ms=CUT - HORIZON_MS - HOUR_MS)
    assert [first.name, late.name, early.name] == ["g1", "g2", "g3"]
    generations.make_live(first.name)
    with pytest.raises(IncompleteInput, match="generation g2 reads from"):
        generations.make_live(late.name)
    live = generations.make_live(early.name)
    assert (live.live, live.previous, live.info["created_ms"]) == ("g3", ("g1",), early.created_ms)
    assert live.made_by(declared()) and not live.made_by({}), "a reader can tell what it was made by"
    with pytest.raises(ConcurrentRun, match="is live"):
        generations.drop("g3")
    session.execute("CREATE TABLE tiles_of_other_code_v2_g1 (k text PRIMARY KEY)", timeout=30.0)
    generations.drop("g1")
    assert not [name for name in tables(session) if name.endswith("_g1")]
    assert "sessions_g1" not in tables(session) and "sessions_g3" in tables(session)
    assert generations.create().name == "g4"
    with pytest.raises(ViewMissing, match="dropped"):
        generations.make_live("g1")


def test_the_pointer_is_read_at_most_once_in_its_age(session: Session) -> None:
    versions = BatchVersions(session)
    publish(versions)
    now = [0.0]
    cache = PointerCache(session, "batch", max_age_s=1.0, clock=lambda: now[0])
    first = cache.get()
    assert first is not None and first.live == "v20261120_1"
    publish(versions)
    assert cache.get() is first
    now[0] = 1.0
    second = cache.get()
    assert second is not None and second.live == "v20261120_2"
    assert read_pointer(session, "nothing") is None
