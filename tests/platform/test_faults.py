"""The application while its platform is broken under it: afterwards every view equals the single-process fold.

One stream is carried through all faults in turn, under traffic that never stops. The long form
(``make test-faults``) sends 100,000 events, a crowd as large, and repeats the faults.
"""

import json
import random
import threading
import time
import uuid
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from common.admission import Rejection, policy_from_env, read_rejection, replay
from common.bundle import build
from common.contracts.triggers import TRIGGERS
from common.errors import ServerUnavailable
from common.triggers import RULES
from local.flink import latest_state
from local.kafka import WRITTEN, create_topic
from local.paths import project_root
from streaming.run import LATENESS_MS
from tests.platform.storm import (
    IDLE,
    LONG,
    PARTITIONS,
    Sender,
    keyspace,
    kill_workers,
    python_workers,
    slots_freed,
    slow,
    stormy,
)
from tests.platform.test_streaming import archived_once, closed_before, committed
from tests.streaming.absent import fired
from tests.streaming.oracle import Rows, differences, expected_views, stored
from tests.streaming.traffic import LARGEST_SENT_BYTES, Expected, Record, closer, expected
from views.connect import ClusterSpec, connect, connected, disconnect
from views.scan import digest
from views.versions import Generations, Version

pytestmark = [pytest.mark.platform, pytest.mark.timeout(3_600 if LONG else 900)]

SEED = 47
EVENTS = 100_000 if LONG else 4_000
SECONDS = 3_600.0 if LONG else 600.0
"""How long the traffic would last at its pace: longer than the faults take; what is left then comes at once."""
KILLS = 5 if LONG else 1
AWAY_S = 60.0 if LONG else 5.0
SILENT = "3 minutes" if LONG else "1 minute"
"""How long a partition may say nothing before the others pass it: longer than a fault silences all of them."""
SLOW_S = 30.0 if LONG else 6.0
MENDED = {
    ("invalid_json", None): lambda row: row.raw + b'mulator"}',
    ("invalid_utf8", None): lambda row: row.raw.decode(errors="ignore").encode(),
    ("unknown_event_type", "event_type"): lambda row: _with(row.raw, event_type="view"),
    ("missing_field", "item_id"): lambda row: _with(row.raw, item_id="i1"),
    ("missing_field", "event_id"): lambda row: _with(row.raw, event_id=f"mended-{row.partition}-{row.offset}"),
    ("future", "event_ms"): lambda row: row.raw,
}
"""How a rejected record is mended by hand, by reason and field; the clock is set for all."""


@dataclass
class Storm:
    """What was sent, what became of it, and what was done to the platform meanwhile."""

    spec: ClusterSpec
    topic: str
    rejected_topic: str
    triggers_topic: str
    folder: Path
    traffic: list[Record]
    generation: Version
    submit: Callable[..., str]
    done: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def note(self, what: str) -> None:
        """Remember and show what was done."""
        self.done.append(what)
        print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)

    @property
    def last_ms(self) -> int:
        """The instant of the closing records: what they alone decide is open as long as the topic has no end."""
        return min(row.kafka_ms for row in self.traffic[-IDLE:])

    @cached_property
    def once(self) -> list[dict[str, Any]]:
        """The distinct events of the traffic, once that is all there."""
        return judged(self.traffic).once

    @cached_property
    def views(self) -> dict[str, Rows]:
        """What the views must hold."""
        return expected_views(self.once, LATENESS_MS)

    def differences(self) -> dict[str, list[str]]:
        """What the views lack or have too much, by view."""
        found = {}
        with connected(self.spec) as session:
            for name, want in self.views.items():
                have = stored(session, self.generation.tables[name])
                if name == "sessions":
                    have, want = ({k: v for k, v in rows.items() if k[1] < self.last_ms} for rows in (have, want))
                found[name] = differences(have, want)
        return {name: lines for name, lines in found.items() if lines}


@pytest.fixture(scope="module")
def spec(cassandra) -> Iterator[ClusterSpec]:
    """A keyspace for the storm."""
    with keyspace(cassandra, "faults") as made:
        yield made


@pytest.fixture(scope="module")
def storm(kafka, cassandra, flink_cluster, spec, pseudonym_key, tmp_path_factory) -> Storm:
    """One stream, carried through every fault while events keep coming."""
    rng = random.Random(SEED)
    folder = tmp_path_factory.mktemp("faults")
    topic = f"storm-{uuid.uuid4().hex[:8]}"
    rejected, triggers = f"{topic}.rejected", f"{topic}.triggers"
    config = {"retention.ms": "-1", "max.message.bytes": str(LARGEST_SENT_BYTES)}
    for name, more in ((topic, {}), (rejected, WRITTEN), (triggers, WRITTEN)):
        create_topic(kafka.address, name, PARTITIONS, config=config | more)
    traffic = stormy(SEED, EVENTS)
    print(f"seed {SEED}, {len(traffic)} records")
    rest = flink_cluster.rest
    bundle = build(project_root(), folder / "dovetail.zip")
    session = connect(spec)
    generation = Generations(session).create()
    disconnect(session)
    checkpoints = folder / "checkpoints"

    def submit(
        generation: Version, *more: str, parallelism: int = 2, savepoint: str | None = None, code: Path = bundle
    ) -> str:
        return flink_cluster.submit(
            project_root() / "streaming" / "run.py",
            [
                *("--kafka", kafka.address, "--topic", topic),
                *("--cassandra", cassandra.address, "--keyspace", spec.keyspace, "--generation", generation.name),
                *("--view-ttl", "0", "--parallelism", str(parallelism), "--checkpoint-interval", "2 seconds"),
                *("--checkpoints", str(checkpoints), "--restart-delay", "500", "--idle", SILENT),
                *more,
            ],
            py_files=[code],
            savepoint=savepoint,
        )

    def go_on(savepoint: str | None, parallelism: int = 2, code: Path = bundle) -> str:
        outputs = ("--rejected-topic", rejected, "--triggers-topic", triggers, "--archive", str(folder / "archive"))
        job = submit(generation, *outputs, parallelism=parallelism, savepoint=savepoint, code=code)
        rest.wait_running(job, 180)
        rest.wait_checkpoint(job, 120)
        return job

    made = Storm(spec, topic, rejected, triggers, folder, traffic, generation, submit)
    sender = Sender(kafka.address, topic)
    with flink_cluster.supervised(), slots_freed(flink_cluster):
        job = go_on(None)
        with pytest.raises(ServerUnavailable, match=f"speed-{generation.name} runs already, as job {job}"):
            submit(generation, "--rejected-topic", rejected)
        made.note("started twice")
        stop = threading.Event()
        sent: list[int] = []
        during: list[bool] = []
        load = threading.Thread(target=lambda: sent.append(sender.send(traffic, len(traffic) / SECONDS, stop)))
        load.start()

        def settle(what: str) -> None:
            made.note(what)
            flink_cluster.wait_ready(120)
            rest.wait_running(job, 180)
            rest.wait_checkpoint(job, 120)

        try:
            for number in range(KILLS):
                time.sleep(rng.uniform(0, 2))
                begun = rest.wait_checkpoint_begins(job) if number % 2 == 0 else None
                flink_cluster.taskmanagers[rng.randrange(len(flink_cluster.taskmanagers))].kill()
                settle("a TaskManager killed")
                during.append(begun is not None and not rest.checkpoint_completed(job, begun))
            for _ in range(KILLS):
                time.sleep(rng.uniform(0, 2))
                assert kill_workers(flink_cluster) > 0
                settle("Python workers killed")
            with slow(cassandra, 2.0):
                time.sleep(SLOW_S)
            settle("Cassandra slow")
            kafka.server.kill()
            kafka.start()
            kafka.wait_ready(120)
            settle("Kafka killed")
            kafka.stop()
            kafka.start()
            kafka.wait_ready(120)
            settle("Kafka restarted")
            if LONG:
                cassandra.stop()
                time.sleep(AWAY_S)
                cassandra.start()
                cassandra.wait_ready(180)
                settle("Cassandra away")
            flink_cluster.jobmanager.kill()
            time.sleep(1)
            flink_cluster.wait_ready(120)
            job = go_on(latest_state(checkpoints), 1)
            made.note("the JobManager killed, gone on at parallelism 1")
            for parallelism in (2, 1) if LONG else (2,):
                savepoint = rest.stop(job, folder / "savepoints")
                marks = folder / f"newer-{parallelism}"
                marks.mkdir()
                job = go_on(savepoint, parallelism, newer(bundle, folder / f"newer-{parallelism}.zip", marks))
                who = {path.name for path in marks.iterdir()} & set(map(str, python_workers(flink_cluster)))
                assert who, "no worker runs the other code"
                made.note(f"stopped with a savepoint, restored with other code at parallelism {parallelism}")
            assert load.is_alive(), "events must come for as long as the faults last"
        finally:
            stop.set()
            load.join()
        sender.send(traffic[sent[0] :])
        sender.flush()
        made.notes["kills during a checkpoint"] = sum(during)
        # a batch may lie in the topic twice (in_topic), so that more are refused than were sent
        refused = sum(isinstance(o, Rejection) for o in judged(traffic).judged)
        deadline = time.monotonic() + (900 if LONG else 180)
        while len(rejections := committed(kafka.address, rejected, PARTITIONS)) < refused:
            assert time.monotonic() < deadline, f"{len(rejections)} of {refused} rejections are there"
            time.sleep(2)
        mended = mended_again(rejections, traffic)
        made.notes["mended"] = len(mended)
        ending = closer(traffic, IDLE)
        sender.send([*mended, *ending])
        sender.flush()
        made.traffic = in_topic(kafka.address, topic, [*traffic, *mended, *ending])
        deadline = time.monotonic() + (900 if LONG else 180)
        while made.differences() and time.monotonic() < deadline:
            time.sleep(2)
        rest.wait_running(job, 120)
        rest.wait_checkpoint(job)
        rest.wait_checkpoint(job)
        made.notes["restarts of the last job"] = rest.restarts(job)
        rest.cancel(job)
    return made


def judged(rows: Iterable[Record]) -> Expected:
    """What the records amount to."""
    return expected(rows, policy_from_env("DOVETAIL_PSEUDONYM_KEY"))


def in_topic(address: str, topic: str, sent: list[Record]) -> list[Record]:
    """What was sent, and before what closes all sessions what the topic holds once more.

    A broker that was killed has forgotten an idempotent producer whose records are older than
    ``producer.id.expiration.ms`` (a day), as simulated ones are: a batch whose answer was lost is appended once more.
    """

    def names(rows: Iterable[Record]) -> Counter[tuple[Any, ...]]:
        return Counter((row.partition, row.kafka_ms, row.key, row.value) for row in rows)

    have, want = names(committed(address, topic, PARTITIONS)), names(sent)
    assert want - have == Counter(), "the topic lacks records that were sent"
    again = [Record(at, value, ms, key) for at, ms, key, value in (have - want).elements()]
    return [*sent[:-IDLE], *again, *sent[-IDLE:]]


def newer(bundle: Path, out: Path, marks: Path) -> Path:
    """The bundle with other code in a module that workers run, as an upgrade has; the steps are the same.

    Each process that loads it leaves its id in ``marks``.
    """
    mark = f"\n__import__('pathlib').Path({str(marks)!r}, str(__import__('os').getpid())).touch()\n"
    with zipfile.ZipFile(bundle) as have, zipfile.ZipFile(out, "w") as made:
        for name in have.namelist():
            more = mark.encode() if name == "streaming/write.py" else b""
            made.writestr(name, have.read(name) + more)
    return out


def mended_again(rejections: Iterable[Record], traffic: Iterable[Record]) -> list[Record]:
    """What was refused, mended by hand, as records that come after all others of their partition."""
    last = {partition: max(r.kafka_ms for r in traffic if r.partition == partition) for partition in range(IDLE)}
    found = []
    for row in map(read_rejection, (record.value or b"" for record in rejections)):
        mend, at = MENDED.get((row.reason, row.field)), last[row.partition]
        # the poison's torn texts alone have a known end
        if mend is not None and b"browser-poisoned" in row.raw:
            found.append(Record(row.partition, _with(mend(row), event_ms=at), at, b"mended"))
    return found


def _with(raw: bytes, **changes: Any) -> bytes:
    return json.dumps(json.loads(raw) | changes).encode()


def test_every_fault_happened(storm: Storm) -> None:
    kinds = Counter(storm.done)
    assert kinds["a TaskManager killed"] == KILLS
    assert kinds["Python workers killed"] == KILLS
    assert kinds["the JobManager killed, gone on at parallelism 1"] == kinds["started twice"] == 1
    assert len(kinds) >= 8, kinds
    if LONG:
        assert storm.notes["kills during a checkpoint"] > 0


def test_what_was_refused_and_mended_by_hand_is_admitted(storm: Storm) -> None:
    again = [row for row in storm.traffic if row.key == b"mended"]
    assert len(again) == storm.notes["mended"] >= 6
    outcomes = judged(again)
    assert len(outcomes.events) == len(again), [o for o in outcomes.judged if isinstance(o, Rejection)]


def test_every_view_equals_the_fold_of_all_events(storm: Storm) -> None:
    assert storm.differences() == {}, (storm.done, storm.notes)


def test_every_rejection_is_there_once_with_its_reason(storm: Storm, kafka) -> None:
    want = [outcome for outcome in judged(storm.traffic).judged if isinstance(outcome, Rejection)]
    rows = [read_rejection(row.value or b"") for row in committed(kafka.address, storm.rejected_topic, PARTITIONS)]
    assert Counter(row.reason for row in rows) == Counter(outcome.reason for outcome in want)
    assert len({(row.topic, row.partition, row.offset) for row in rows}) == len(rows)
    assert Counter((row.size, row.sha256) for row in rows) == Counter((o.size, o.sha256) for o in want)
    whole = [row for row in rows if row.reason != "oversize"]
    assert Counter(replay(row) for row in whole) == Counter(o.raw for o in want if o.reason != "oversize")
    assert len({row.reason for row in rows}) >= 15


def test_every_absence_fires_once_as_it_is_defined(storm: Storm, kafka) -> None:
    found = [json.loads(row.value or b"") for row in committed(kafka.address, storm.triggers_topic, PARTITIONS)]
    want = fired(storm.once, RULES, LATENESS_MS)
    assert len({row["trigger_id"] for row in found}) == len(found), "each once, through every restart"
    assert {row["trigger_id"]: {name: row.get(name) for name in TRIGGERS.names} for row in found} == {
        key: row for key, row in want.items() if row["decided_ms"] < storm.last_ms
    }
    assert len(found) > 50


def test_every_admitted_record_is_in_the_archive_once(storm: Storm) -> None:
    want = judged(storm.traffic).events
    archived_once(storm.folder / "archive", want)


@pytest.mark.parametrize("parallelism", [1, 4] if LONG else [4])
def test_the_same_input_gives_the_same_views_at_any_parallelism(storm: Storm, flink_cluster, parallelism: int) -> None:
    last = storm.last_ms
    session = connect(storm.spec)
    try:
        again = Generations(session).create()
        with flink_cluster.supervised():
            # whatever lies in the topic, poison above all, must not make the job fail once
            bounded = ("--bounded", "--restart-attempts", "0", "--rejected-topic", "")
            job = storm.submit(again, *bounded, parallelism=parallelism)
            limit = 600 if LONG else 180
            assert flink_cluster.rest.wait_finished(job, limit) == "FINISHED", flink_cluster.rest.failure(job)
        for name, table in again.tables.items():
            keep = closed_before(table, last) if name == "sessions" else None
            first = digest(session, storm.generation.tables[name], where=keep)
            assert first == digest(session, table, where=keep) and first.rows > 50, name
    finally:
        disconnect(session)
