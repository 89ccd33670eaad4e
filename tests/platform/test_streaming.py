"""The application by ``flink run`` on a real cluster, with real Kafka and Cassandra, through faults and a replay."""

import json
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from cassandra.cluster import Session
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from common.admission import Rejection, policy_from_env, read_rejection, replay
from common.bundle import build
from common.contracts.triggers import TRIGGERS
from common.embedding import fold_in, load_model, unpack_history
from common.triggers import RULES
from local.flink import METRICS_PORTS, FlinkCluster
from local.kafka import WRITTEN, create_topic
from local.paths import project_root
from local.ports import is_open
from streaming.flink.metrics import COUNTS
from streaming.flink.patience import patiently
from streaming.foldin import POINTER_AGE_S
from streaming.names import job_name
from streaming.run import LATENESS_MS
from tests.platform.storm import LONG, keyspace, kill_workers, slots_freed
from tests.streaming.absent import fired
from tests.streaming.models import model
from tests.streaming.oracle import embedding_rows, stored, view_differences
from tests.streaming.traffic import Expected, Record, closer, expected, records
from tests.views.test_versions import publish
from views.connect import ClusterSpec, connect, connected, disconnect
from views.scan import digest
from views.schema import Table
from views.versions import BatchVersions, Generations, Version

pytestmark = [pytest.mark.platform, pytest.mark.timeout(3_600 if LONG else 1_500)]

SEED = 31
PARTITIONS = 2
RAISES = 3
EVENTS = 100_000 if LONG else 6_000
PIECES = 40
AWAY_S = 60 if LONG else 10
DRAINED_S = 1_200 if LONG else 300


@dataclass
class Run:
    """A generation that was played through faults, and what it was played from."""

    spec: ClusterSpec
    topic: str
    rejected_topic: str
    triggers_topic: str
    folder: Path
    traffic: list[Record]
    want: Expected
    generation: Version
    submit: Callable[..., str]
    restarts: int = 0
    raised: int = 0
    seconds_without_cassandra: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def last_ms(self) -> int:
        """The instant of the closing records, whose own sessions stay open as long as the topic has no end."""
        return max(record.kafka_ms for record in self.traffic)

    def differences(self, session: Session) -> dict[str, list[str]]:
        """What the views lack or have too much."""
        return view_differences(session, self.generation.tables, self.want.once, LATENESS_MS, open_from_ms=self.last_ms)


@pytest.fixture(scope="module")
def spec(cassandra) -> Iterator[ClusterSpec]:
    """A keyspace for what is played."""
    with keyspace(cassandra, "stream") as made:
        yield made


def submitter(flink_cluster: FlinkCluster, kafka: Any, spec: ClusterSpec, topic: str, folder: Path) -> Callable:
    """Submits the application on the topic for a generation, with more arguments; the job's id."""
    bundle = build(project_root(), folder / "dovetail.zip")

    def submit(generation: Version, *more: str) -> str:
        return flink_cluster.submit(
            project_root() / "streaming" / "run.py",
            [
                *("--kafka", kafka.address, "--topic", topic),
                *("--cassandra", spec.address, "--keyspace", spec.keyspace, "--generation", generation.name),
                *("--view-ttl", "0", "--parallelism", "2", "--checkpoint-interval", "2 seconds"),
                *("--checkpoints", str(folder / "checkpoints"), "--restart-delay", "500"),
                *more,
            ],
            py_files=[bundle],
        )

    return submit


def until(what: Callable[[], bool], limit: float, waiting_for: str, cluster: FlinkCluster) -> None:
    """Wait for a condition, a supervisor to the cluster meanwhile; fails naming the condition."""
    deadline = time.monotonic() + limit
    while not what():
        cluster.revive()
        assert time.monotonic() < deadline, f"waited {limit:.0f} s for {waiting_for}"
        time.sleep(1.0)


def produce(address: str, topic: str, rows: list[Record]) -> None:
    """Send the records with their partitions and timestamps; every one must be delivered."""
    failed: list[str] = []
    producer = Producer({"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 5, "log_level": 2})
    for row in rows:
        producer.produce(
            topic,
            row.value,
            row.key,
            row.partition,
            timestamp=row.kafka_ms,
            on_delivery=lambda error, _: failed.append(str(error)) if error else None,
        )
        producer.poll(0)
    producer.flush(60)
    assert failed == []


@pytest.fixture(scope="module")
def played(kafka, cassandra, flink_cluster, spec, pseudonym_key, tmp_path_factory) -> Run:
    """Half of the traffic; then the writer raises, Cassandra goes away, and the other half comes."""
    folder = tmp_path_factory.mktemp("stream")
    topic = f"stream-{uuid.uuid4().hex[:8]}"
    rejected, triggers = f"{topic}.rejected", f"{topic}.triggers"
    # the records are of a fixed day in the past: a retention would take them away
    for name, more in ((topic, {}), (rejected, WRITTEN), (triggers, WRITTEN)):
        create_topic(kafka.address, name, PARTITIONS, config={"retention.ms": "-1", **more})
    traffic = records(SEED, EVENTS, partitions=PARTITIONS, visitors=EVENTS // 10)
    traffic += closer(traffic, PARTITIONS)
    print(f"seed {SEED}, {len(traffic)} records")

    submit = submitter(flink_cluster, kafka, spec, topic, folder)
    session = connect(spec)
    generation = Generations(session).create()
    want = expected(traffic, policy_from_env("DOVETAIL_PSEUDONYM_KEY"))
    run = Run(spec, topic, rejected, triggers, folder, traffic, want, generation, submit)
    middle = len(traffic) // 2
    faults = folder / "faults"
    faults.mkdir()
    fault = f"folder={faults},seed={SEED},times={RAISES},every=3"
    job = submit(
        generation,
        *("--archive", str(folder / "archive"), "--rejected-topic", rejected, "--fault", fault),
        *("--triggers-topic", triggers, "--align", "30 minutes"),
    )
    flink_cluster.rest.wait_running(job, 120)
    # piece by piece, so that there is a batch to raise in until all raises have happened
    pieces = iter(range(0, middle, max(1, middle // PIECES)))
    sent = 0

    def raised() -> bool:
        nonlocal sent
        if (begin := next(pieces, None)) is not None:
            sent = min(middle, begin + middle // PIECES)
            produce(kafka.address, topic, traffic[begin:sent])
        return len(list(faults.iterdir())) == RAISES

    until(raised, 180, f"{RAISES} raises", flink_cluster)
    produce(kafka.address, topic, traffic[sent:middle])

    cassandra.stop()
    gone = time.monotonic()
    produce(kafka.address, topic, traffic[middle:])
    time.sleep(AWAY_S)
    cassandra.start()
    cassandra.wait_ready(180)
    run.seconds_without_cassandra = time.monotonic() - gone
    disconnect(session)
    session = patiently(lambda: connect(spec), 60)

    tables = generation.tables

    def drained() -> bool:
        return len(stored(session, tables["sessions"])) > 0 and not run.differences(session)

    try:
        until(drained, DRAINED_S, "the views to equal the oracle", flink_cluster)
    except AssertionError as error:  # the tests say what differs
        run.notes["waited"] = str(error)
    # archive files and rejections show with a checkpoint; auto-compaction with the one after
    flink_cluster.wait_ready(120)
    flink_cluster.rest.wait_running(job, 120)
    flink_cluster.rest.wait_checkpoint(job)
    flink_cluster.rest.wait_checkpoint(job)
    run.notes["metrics"] = metrics_of(job_name(spec.keyspace, generation.name))
    run.restarts, run.raised = flink_cluster.rest.restarts(job), len(list(faults.iterdir()))
    flink_cluster.rest.cancel(job)
    disconnect(session)
    return run


def test_the_faults_were_real(played: Run) -> None:
    assert played.raised == RAISES
    assert played.restarts >= 1, "two raises can fall into one restart"
    assert played.seconds_without_cassandra >= AWAY_S


def test_every_view_equals_the_oracle(played: Run) -> None:
    session = connect(played.spec)
    try:
        found = played.differences(session)
    finally:
        disconnect(session)
    assert found == {}, played.notes


def test_every_rejection_is_in_its_topic_once_with_its_reason_and_bytes(played: Run, kafka) -> None:
    want = [outcome for outcome in played.want.judged if isinstance(outcome, Rejection)]
    rows = [read_rejection(row.value or b"") for row in committed(kafka.address, played.rejected_topic)]
    assert Counter(row.reason for row in rows) == Counter(outcome.reason for outcome in want)
    assert len({(row.topic, row.partition, row.offset) for row in rows}) == len(rows)
    assert Counter(replay(row) for row in rows) == Counter(outcome.raw for outcome in want)


def test_every_absence_fires_once_as_it_is_defined(played: Run, kafka) -> None:
    found = [json.loads(row.value or b"") for row in committed(kafka.address, played.triggers_topic)]
    want = fired(played.want.once, RULES, LATENESS_MS)
    assert len({row["trigger_id"] for row in found}) == len(found), "each once, through every restart"
    assert {row["trigger_id"]: {name: row.get(name) for name in TRIGGERS.names} for row in found} == {
        key: row for key, row in want.items() if row["decided_ms"] < played.last_ms
    }
    assert len(found) > 50


def test_every_admitted_record_is_in_the_archive_once(played: Run) -> None:
    rows = archived_once(played.folder / "archive", played.want.events)
    assert all(row["late"] is (row["event_ms"] < row["ingest_ms"] - LATENESS_MS) for row in rows)


def test_a_replay_by_two_applications_with_half_the_outputs_gives_the_same_bytes(played: Run, flink_cluster) -> None:
    session = connect(played.spec)
    try:
        again = Generations(session).create()
        bounded = ("--bounded", "--restart-attempts", "0")
        jobs = [played.submit(again, *bounded, "--outputs", some) for some in ("visitors", "items,sessions")]
        for job in jobs:
            assert flink_cluster.rest.wait_finished(job, DRAINED_S) == "FINISHED", flink_cluster.rest.failure(job)
        for name, table in again.tables.items():
            keep = closed_before(table, played.last_ms) if name == "sessions" else None
            first = digest(session, played.generation.tables[name], where=keep)
            second = digest(session, table, where=keep)
            assert first == second and first.rows > 50, name
    finally:
        disconnect(session)


def test_what_the_documents_and_the_board_call_metrics_is_there_for_prometheus(played: Run) -> None:
    task, operator = "flink_taskmanager_job_task_", "flink_taskmanager_job_task_operator_"
    named = {
        *(f"{operator}{name}" for name in ("pendingRecords", "currentOutputWatermark", "unknown_items")),
        *(f"{operator}gate_{name}" for name in ("admitted", "rejected", "late")),
        *(f"{operator}writer_{name}" for name in (*COUNTS, "p99_ms")),
        *(f"{task}{name}" for name in ("backPressuredTimeMsPerSecond", "busyTimeMsPerSecond")),
        *(f"flink_jobmanager_job_{name}" for name in ("lastCheckpointSize", "numberOfFailedCheckpoints")),
    }
    board = (project_root() / "docker" / "grafana" / "dovetail.json").read_text()
    shown = set(re.findall(r"flink_\w+", board))
    assert len(shown) > 10
    assert (named | shown) - played.notes["metrics"] == set()


def test_a_model_that_goes_live_amid_the_stream_is_followed(kafka, cassandra, flink_cluster, pseudonym_key, tmp_path):
    """Each vector is the fold-in of its row's history by its row's model, and no visitor's history lacks an event."""
    folders = {name: model(tmp_path, name, items) for name, items in (("m1", range(40)), ("m2", range(20, 60)))}
    topic = f"models-{uuid.uuid4().hex[:8]}"
    create_topic(kafka.address, topic, PARTITIONS, config={"retention.ms": "-1"})
    traffic = records(SEED + 1, EVENTS // 3, partitions=PARTITIONS)
    first, second = traffic[: len(traffic) // 2], traffic[len(traffic) // 2 :]
    policy = policy_from_env("DOVETAIL_PSEUDONYM_KEY")
    want = embedding_rows(expected(traffic, policy).once)
    with slots_freed(flink_cluster), keyspace(cassandra, "models") as spec, connected(spec) as session:
        versions, generation = BatchVersions(session), Generations(session).create()
        publish(versions, model_version="m1", model_uri=str(folders["m1"]))
        submit = submitter(flink_cluster, kafka, spec, topic, tmp_path)
        job = submit(generation, "--outputs", "visitors")
        flink_cluster.rest.wait_running(job, 120)
        table = generation.tables["user_embedding"]
        produce(kafka.address, topic, first)
        until(lambda: len(stored(session, table)) > 0, 120, "the first embedding", flink_cluster)
        publish(versions, model_version="m2", model_uri=str(folders["m2"]))
        if LONG:
            assert kill_workers(flink_cluster) > 0
        time.sleep(2 * POINTER_AGE_S)
        produce(kafka.address, topic, second)

        def newest() -> dict[str, tuple[Any, ...]]:
            rows = sorted(stored(session, table).values(), key=lambda row: (row[-1], row[1]))
            return {row[0]: row for row in rows}

        def whole() -> bool:
            return {who: row[3:4] + row[5:] for who, row in newest().items()} == {
                who: row[3:4] + row[5:] for (who, _), row in want.items()
            }

        until(whole, DRAINED_S, "every history to be whole", flink_cluster)
        rows, last = list(stored(session, table).values()), newest()
        flink_cluster.rest.cancel(job)
    models = {name: load_model(folder) for name, folder in folders.items()}
    assert {row[1] for row in rows} == set(models)
    for _, version, vector, history, unknown, _ in rows:
        entries = unpack_history(history)
        np.testing.assert_allclose(
            np.frombuffer(vector, "<f4"), fold_in(models[version], entries), rtol=1e-5, atol=1e-6
        )
        assert unknown == sum(entry.item_id not in models[version].index for entry in entries)
    after = embedding_rows(expected(second, policy).once)
    assert len(after) > 10
    assert {last[who][1] for who, _ in after} == {"m2"}


def archived(events: Path) -> list[dict[str, Any]]:
    """The rows of the finished files in an archive's folder of events."""
    files = [path for path in events.rglob("*") if path.is_file() and path.name[0] != "."]
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def archived_once(folder: Path, want: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of an archive's finished files, which must be the wanted events, each record once."""
    rows = archived(folder / "events")
    assert len({(row["topic"], row["partition"], row["offset"]) for row in rows}) == len(rows)
    key = ("event_id", "visitor_id", "event_ms", "ingest_ms")
    have, wanted = (Counter(tuple(r[k] for k in key) for r in some) for some in (rows, want))
    hidden = [str(path.relative_to(folder)) for path in folder.rglob(".*") if path.is_file()]
    missing, surplus = list((wanted - have).elements()), list((have - wanted).elements())
    assert (len(missing), len(surplus)) == (0, 0), (missing[:20], surplus[:20], hidden)
    return rows


def metrics_of(job: str) -> set[str]:
    """The names of a job's metrics, on whichever of the ports its processes serve them."""
    first, last = map(int, METRICS_PORTS.split("-"))
    label = f'job_name="{re.sub(r"[^a-zA-Z0-9:_]", "_", job)}"'
    found: set[str] = set()
    for port in range(first, last + 1):
        if is_open(port):
            lines = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text.splitlines()
            found |= {line.partition("{")[0] for line in lines if label in line}
    return found


def closed_before(table: Table, ms: int) -> Callable[[tuple[Any, ...]], bool]:
    """Whether a row is a closed session that began before."""
    start, closed = (table.view.columns.index(name) for name in ("session_start", "closed"))
    return lambda row: row[closed] and row[start] < ms


def committed(address: str, topic: str, partitions: int = PARTITIONS) -> list[Record]:
    """Every committed record of a topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": uuid.uuid4().hex,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    found: list[Record] = []
    ended: set[int | None] = set()
    deadline = time.monotonic() + 60
    while len(ended) < partitions:
        assert time.monotonic() < deadline, f"waited 60 s for the end of topic {topic}"
        message = consumer.poll(1.0)
        if message is None:
            continue
        if error := message.error():
            assert error.code() == KafkaError._PARTITION_EOF, error
            ended.add(message.partition())
        else:
            found.append(Record(message.partition() or 0, message.value(), message.timestamp()[1], message.key()))
    consumer.close()
    return found
