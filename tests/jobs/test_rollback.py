"""A rollback takes every table back to what a run left, and the next run goes on from there and loses nothing."""

import json
from collections import defaultdict
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from common.errors import ConcurrentRun, ConfigError, IncompleteInput, ServerUnavailable
from jobs import chain, cleanse, rollback
from jobs.spark.run import Run, alone, execute, new_run_id, record, record_killed
from jobs.spark.tables import Lake, recording
from tests.jobs.dying import Killed, run_killed
from tests.jobs.test_tables import DAY_MS, START_MS, carried, event, frame
from views.connect import connected
from views.errors import ViewMissing
from views.pointer import Pointer
from views.versions import BatchVersions

pytestmark = pytest.mark.spark

STEPS = ("cleanse", "dedup_events", "rfm")
MADE = ("silver/cleansed", "quarantine/events", "silver/events", "gold/orders", "gold/rfm")


def sale(offset: int, event_id: str | None = None, **changes: Any) -> dict:
    facts: dict[str, Any] = {"event_type": "purchase", "quantity": 1, "line": 1, "price": Decimal(3)}
    return event(offset, event_id, **facts | {"order_id": f"o{offset}"} | changes)


def execute_of(main: Any, spark: Any, args: Any) -> Run:
    return execute(spark, main, args)


def run_all(spark, lake: Lake) -> str:
    """Three steps of the chain; the id that it says of itself."""
    skipped = tuple(step.name for step in chain.STEPS if step.name not in STEPS)
    return execute(spark, chain.main, chain.Args(lake=lake.root, cut=START_MS + DAY_MS, skip=skipped)).run_id


def contents(lake: Lake) -> dict[str, list[str]]:
    return {name: sorted(map(str, lake.read(name).collect())) for name in MADE}


def test_tables_go_back_though_killed_and_the_next_run_goes_on_from_there(spark, tmp_path, monkeypatch):
    lake = Lake(spark, str(tmp_path / "lake"))
    lake.append("bronze/events", frame(spark, [sale(1), sale(2, price=Decimal(0))]))
    first = run_all(spark, lake)
    then = contents(lake)
    lake.append("bronze/events", frame(spark, [sale(3), sale(4, "e1", ingest_ms=START_MS), sale(5, order_id=None)]))
    run_all(spark, lake)
    now = contents(lake)
    assert all(now[name] != then[name] for name in MADE)

    args = rollback.Args(lake=lake.root, run=first, pointer=False)
    restore = Lake.restore

    def killed_half_way(self, table, version):
        if table == "gold/rfm":
            raise Killed
        restore(self, table, version)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Lake, "restore", killed_half_way)
        rollback.main(spark, args)
    assert contents(lake) not in (then, now)
    assert set(rollback.main(spark, args)["restored"]) == set(MADE)
    assert contents(lake) == then
    run_all(spark, lake)
    assert contents(lake) == now


def test_a_killed_chain_run_again_gives_the_tables_of_one_that_was_not(spark, tmp_path, monkeypatch):
    rows = [sale(1), sale(2, price=Decimal(0)), sale(3, "e1", ingest_ms=START_MS)]
    lakes = [Lake(spark, str(tmp_path / name)) for name in ("whole", "killed")]
    for lake in lakes:
        lake.append("bronze/events", frame(spark, rows))
    run_all(spark, lakes[0])
    skipped = tuple(step.name for step in chain.STEPS if step.name not in STEPS)
    args = chain.Args(lake=lakes[1].root, cut=START_MS + DAY_MS, skip=skipped)
    deaths, told = run_killed(monkeypatch, spark, partial(execute_of, chain.main), args)
    # What a killed attempt has committed, the next does not commit again.
    assert deaths >= 4 and set(json.loads(told.counts)) == set(STEPS)
    assert contents(lakes[1]) == contents(lakes[0])

    # Every commit's run is in gold/runs with the versions it wrote: of those that were killed, by the commits.
    runs = {(row["run_id"], row["job"]): row for row in lakes[1].read("gold/runs").collect()}
    killed = {run for run, row in runs.items() if row["outcome"] == "killed"}
    assert {job for _, job in killed} >= set(STEPS)
    assert killed.isdisjoint({(told.run_id, job) for job in (*STEPS, "chain")})
    written: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for table in MADE:
        for version, said in enumerate(carried(lakes[1], table)):
            written[said["dovetail.run"], said["dovetail.job"]][table] = version
    for run, row in runs.items():
        assert {name: at for name, at in row["writes"].items() if name in MADE} == written.pop(run, {}), run
    assert not written
    dedup = next(row for row in runs.values() if (row["job"], row["outcome"]) == ("dedup_events", "killed"))
    assert set(dedup["reads"]) == {"silver/cleansed"} and dedup["arguments"] == dedup["counts"] == "{}"


def test_a_rollback_to_a_killed_run_is_refused_though_no_run_came_after_it(spark, tmp_path, monkeypatch):
    lake = Lake(spark, str(tmp_path / "lake"))
    lake.append("bronze/events", frame(spark, [sale(1)]))
    args = cleanse.Args(lake=lake.root, cut=START_MS + DAY_MS)
    committed = Lake._committed

    def killed_at_quarantine(self, table, write):
        if table == "quarantine/events":
            raise Killed
        return committed(self, table, write)

    killed = new_run_id()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Lake, "_committed", killed_at_quarantine)
        execute(spark, cleanse.main, args, killed)
    with pytest.raises(ConfigError, match="cleanse of that run ended with killed: choose one that ended well"):
        execute(spark, rollback.main, rollback.Args(lake=lake.root, run=killed, pointer=False))
    # The quarantine was made, and nothing written yet.
    row = lake.read("gold/runs").where("job = 'cleanse'").collect()[0]
    assert (row["reads"], row["writes"]) == ({"bronze/events": 1}, {"silver/cleansed": 1, "quarantine/events": 0})


def test_a_run_that_is_at_work_is_not_taken_for_a_killed_one(spark, tmp_path, capsys):
    lake = Lake(spark, str(tmp_path / "lake"))
    with recording("dead", "cleanse"):
        lake.append("silver/cleansed", frame(spark, [sale(1)]))
    with alone(lake.root, "import_events"), recording("at-work", "import_events"):
        lake.append("bronze/events", frame(spark, [sale(1)]))
        assert [run.run_id for run in record_killed(spark, lake.root, "rfm")] == ["dead"]
    lake.replace("gold/runs", lake.read("gold/runs").limit(0))
    version = lake.version("gold/runs") or 0
    killed = record_killed(spark, lake.root, "rfm")
    assert sorted((run.run_id, *run.writes.items()) for run in killed) == [
        ("at-work", ("bronze/events", 1)),
        ("dead", ("silver/cleansed", 1)),
    ]
    assert lake.version("gold/runs") == version + 1, "one commit for all"
    assert "of 2 killed: at-work of import_events, dead of cleanse" in capsys.readouterr().err
    assert record_killed(spark, lake.root, "rfm") == []


def idle(spark: Any, lake: Lake) -> Run:
    return execute(spark, lambda *_: {}, cleanse.Args(lake=lake.root, cut=START_MS))


def test_commits_from_before_the_first_row_are_no_killed_runs(spark, tmp_path, monkeypatch):
    lake = Lake(spark, str(tmp_path / "lake"))
    with recording("long ago", "import_events"):
        lake.append("bronze/events", frame(spark, [sale(1)]))
    with monkeypatch.context() as patch:
        patch.setattr("jobs.spark.run.record_killed", lambda *_: [])
        idle(spark, lake)
    assert record_killed(spark, lake.root, "rfm") == []


def test_a_conflict_about_killed_runs_is_left_to_the_next_run(spark, tmp_path, monkeypatch, capsys):
    lake = Lake(spark, str(tmp_path / "lake"))
    idle(spark, lake)
    with recording("dead", "import_events"):
        lake.append("bronze/events", frame(spark, [sale(1)]))

    def conflict(*_: Any, **__: Any) -> None:
        raise ConcurrentRun("another run wrote gold/runs at the same moment: start this one again")

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "insert_new", conflict)
        assert idle(spark, lake).outcome == "ok"
    assert "the next run adds to gold/runs 1 killed: dead of import_events" in capsys.readouterr().err
    idle(spark, lake)
    outcomes = [row["outcome"] for row in lake.read("gold/runs").collect()]
    assert sorted(outcomes) == ["killed", "ok", "ok", "ok"]


def test_a_run_that_is_unknown_or_failed_is_refused(spark, tmp_path):
    lake = Lake(spark, str(tmp_path / "lake"))
    failed = new_run_id()
    with pytest.raises(IncompleteInput):
        execute(spark, cleanse.main, cleanse.Args(lake=lake.root, cut=START_MS), failed)
    with pytest.raises(ConfigError, match="cleanse of that run ended with IncompleteInput: choose one that ended well"):
        rollback.main(spark, rollback.Args(lake=lake.root, run=failed))
    with pytest.raises(ConfigError, match=f"--run: name a run; the last are {failed}"):
        rollback.main(spark, rollback.Args(lake=lake.root))
    nothing = idle(spark, lake).run_id
    with pytest.raises(ConfigError, match="read and wrote no table that could go back"):
        rollback.main(spark, rollback.Args(lake=lake.root, run=nothing))


def test_customers_go_back_with_their_own_import_and_with_no_run_that_read_them():
    steps = [
        {"job": "memberships", "outcome": "ok", "reads": {"silver/customers": 3}, "writes": {"gold/memberships": 7}},
        {"job": "publish", "outcome": "ok", "reads": {"silver/customers": 3, "gold/rfm": 5}, "writes": {}},
    ]
    assert rollback.versions_after(steps) == {"gold/memberships": 7, "gold/rfm": 5}  # type: ignore[arg-type]
    imported = {"job": "import_customers", "outcome": "ok", "reads": {}, "writes": {"silver/customers": 4}}
    assert rollback.versions_after([imported]) == {"silver/customers": 4}  # type: ignore[list-item]


def publishing(spark: Any, lake: Lake, version: str, offset: int) -> str:
    """A run that wrote silver/cleansed and published that version; its id."""
    lake.append("silver/cleansed", frame(spark, [sale(offset)]))
    run_id, writes = new_run_id(), {"silver/cleansed": lake.version("silver/cleansed") or 0}
    counts = {"cleanse": {}, "publish": {"version": version}}
    steps = [
        Run(run_id, job, "{}", {}, writes if job == "cleanse" else {}, json.dumps(told), START_MS, 1.0, "ok")
        for job, told in counts.items()
    ]
    record(spark, lake.root, steps)
    return run_id


class Views:
    """The pointer to three versions, of which the first is gone; it keeps what is asked of it."""

    def __init__(self, asked: list[str]) -> None:
        self.asked = asked
        self.names = ["v3", "v2"]
        self.at = "v3"

    def kept(self) -> list[str]:
        self.asked.append("kept")
        return self.names

    def live(self) -> Pointer:
        return Pointer("batch", self.at)

    def rollback(self, to: str) -> Pointer:
        self.asked.append(to)
        if to not in self.names:
            raise ViewMissing(f"batch version {to} is not kept any more")
        self.at = to
        return self.live()


def test_whether_the_views_can_go_back_is_looked_at_before_a_table_does(spark, tmp_path, monkeypatch, capsys):
    lake = Lake(spark, str(tmp_path / "lake"))
    runs = [publishing(spark, lake, f"v{number}", number) for number in (1, 2, 3)]
    asked: list[str] = []
    views = Views(asked)
    restore = Lake.restore

    def restored(self: Lake, table: str, version: int) -> None:
        asked.append(table)
        restore(self, table, version)

    @contextmanager
    def away(_: Any) -> Any:
        raise ServerUnavailable("no Cassandra")
        yield

    @contextmanager
    def there(_: Any) -> Any:
        yield None

    monkeypatch.setattr(Lake, "restore", restored)
    monkeypatch.setattr(rollback, "BatchVersions", lambda _: views)

    def back_to(run: str) -> Any:
        asked.clear()
        return rollback.main(spark, rollback.Args(lake=lake.root, run=run))

    with monkeypatch.context() as patch, pytest.raises(ServerUnavailable):
        patch.setattr(rollback, "connected", away)
        back_to(runs[1])
    assert asked == [] and lake.read("silver/cleansed").count() == 3

    monkeypatch.setattr(rollback, "connected", there)
    with alone(lake.root, "publish"), pytest.raises(ConcurrentRun, match="another run of publish"):
        back_to(runs[1])
    assert back_to(runs[1]) == {"restored": {"silver/cleansed": 2}, "live": "v2", "not_kept": None}
    assert asked == ["kept", "silver/cleansed", "v2"]
    assert back_to(runs[1])["live"] == "v2", "a second time"
    assert "not kept" not in capsys.readouterr().err
    assert back_to(runs[0]) == {"restored": {"silver/cleansed": 1}, "live": "v2", "not_kept": "v1"}
    assert asked == ["kept", "silver/cleansed"] and lake.read("silver/cleansed").count() == 1
    assert "the views stay at v2: batch version v1 is not kept any more; run publish for" in capsys.readouterr().err
    assert back_to(runs[2])["live"] == "v3" and lake.read("silver/cleansed").count() == 3


@pytest.mark.platform
@pytest.mark.timeout(600)
def test_tables_and_views_go_back_and_forth_together(spark, tmp_path, cluster_spec, capsys):
    from tests.views.test_versions import publish

    lake = Lake(spark, str(tmp_path / "lake"))
    with connected(cluster_spec) as session:
        versions = BatchVersions(session)
        made = [publish(versions, model_version=f"m{number}").name for number in (1, 2, 3, 4)]
        runs = [publishing(spark, lake, name, number) for number, name in enumerate(made)]

        def back_to(number: int) -> tuple[Any, ...]:
            args = rollback.Args(
                lake=lake.root, run=runs[number], cassandra=cluster_spec.address, keyspace=cluster_spec.keyspace
            )
            told = rollback.main(spark, args)
            pointer = versions.live()
            assert pointer is not None and pointer.live == told["live"]
            rows = lake.read("silver/cleansed").count()
            return made.index(told["live"]), told["not_kept"], pointer.model_version, pointer.previous, rows

        assert back_to(1) == (1, None, "m2", (), 2)
        assert back_to(3) == (3, None, "m4", (made[2], made[1]), 4)
        assert back_to(2) == (2, None, "m3", (made[1],), 3)
        assert "not kept" not in capsys.readouterr().err
        # Three versions were published after it.
        assert back_to(0) == (2, made[0], "m3", (made[1],), 1)
        assert f"batch version {made[0]} is not kept any more" in capsys.readouterr().err
        made.append(publish(versions, model_version="m5").name)
        assert versions.drop_old() == [made[0], made[3]]
        assert back_to(3) == (4, made[3], "m5", (made[2], made[1]), 4)
