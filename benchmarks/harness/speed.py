"""What the benchmarks of the speed layer share: a platform, a filled topic, a drained job, and the oracle's verdict."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cassandra.cluster import Session
from confluent_kafka import Producer

from benchmarks.harness import REPOSITORY, say
from common.admission import policy_from_env
from common.bundle import build
from common.embedding import ItemFactors, fold_in_batch, last_items, load_model, unpack_history, write_model
from common.errors import ServerUnavailable
from local.cassandra import Cassandra
from local.flink import FlinkSize
from local.guard import guard
from local.kafka import create_topic
from local.ports import free_ports
from local.servers import Platform, Ports
from streaming.run import LATENESS_MS
from tests.streaming.oracle import differences, expected_views, stored
from tests.streaming.traffic import LARGEST_SENT_BYTES, Expected, Record, closer, expected, records
from views.connect import ClusterSpec, connected, ensure_keyspace
from views.schema import Table, identifier
from views.tables import POINTER_VIEW, SPEED, create_base, create_tables, tables_of

PARTITIONS = 2
PARALLELISM = 2
KEY_ENV = "DOVETAIL_PSEUDONYM_KEY"
MODEL = "bench"
FACTORS = 32
"""The rank that conf/jobs/train_als.yaml trains."""
ITEMS = 60
"""As many as the traffic speaks of."""


@dataclass
class Store:
    """A Cassandra that is up, and a model."""

    spec: ClusterSpec
    session: Session
    folder: Path
    model: ItemFactors

    @property
    def models(self) -> Path:
        """The folder of model artefacts."""
        return self.folder / "models"

    def tables(self, suffix: str) -> dict[str, Table]:
        """The speed tables of a generation of that name, created."""
        made = tables_of(SPEED.values(), suffix)
        create_tables(self.session, made.values())
        return made


@dataclass
class Bench(Store):
    """A platform that is up, with a model that is live."""

    platform: Platform
    bundle: Path

    def fill(self, topic: str, rows: Sequence[Record]) -> dict[int, int]:
        """Create the topic and send the records; how many each partition then holds."""
        config = {"retention.ms": "-1", "max.message.bytes": str(LARGEST_SENT_BYTES)}
        create_topic(self.platform.kafka.address, topic, PARTITIONS, config=config)
        return self.append(topic, rows)

    def append(self, topic: str, rows: Sequence[Record]) -> dict[int, int]:
        """Send more records; how many went to each partition."""
        return send(self.platform.kafka.address, topic, rows)

    def stream(self, topic: str, generation: str, *more: str, script: Path | None = None) -> str:
        """Submit the application from the topic's beginning; its job id. The generation needs no register."""
        self.tables(generation)
        return self.platform.flink.submit(
            script or REPOSITORY / "streaming" / "run.py",
            [
                *("--kafka", self.platform.kafka.address, "--topic", topic),
                *("--cassandra", self.platform.cassandra.address, "--keyspace", self.spec.keyspace),
                *("--generation", generation, "--generation-created-ms", "1", "--models", str(self.models)),
                *("--view-ttl", "0", "--parallelism", str(PARALLELISM)),
                *("--checkpoints", str(self.folder / "checkpoints" / generation)),
                *more,
            ],
            py_files=[self.bundle],
        )

    def drained(self, job: str, begun: Callable[[], bool], limit: float = 600.0) -> float:
        """Seconds from the first row that is there to the end of a bounded job; start-up is left out."""
        deadline = time.monotonic() + 120
        while not begun():
            if time.monotonic() > deadline:
                state = self.platform.flink.rest.state(job)
                raise ServerUnavailable(f"no row after 120 s; the job is {state}: {self.failure(job)}")
            time.sleep(0.05)
        first = time.time()
        state = self.platform.flink.rest.wait_finished(job, limit)
        if state != "FINISHED":
            raise ServerUnavailable(f"the job ended as {state}: {self.failure(job)}")
        return self.platform.flink.rest.get(f"/jobs/{job}")["end-time"] / 1000 - first

    def failure(self, job: str) -> str:
        """The cause of a job's last failure."""
        return self.platform.flink.rest.failure(job)

    def has_rows(self, table: Table) -> bool:
        """Whether a table holds anything."""
        # a server that drains a full topic beside it takes its time
        return bool(self.session.execute(f"SELECT * FROM {identifier(table.name)} LIMIT 1", timeout=60.0).one())

    def verdict(self, tables: Mapping[str, Table], want: Expected) -> dict[str, list[str]]:
        """The differences of all speed views to the oracle, by view."""
        found = {}
        for name, rows in expected_views(want.once, LATENESS_MS).items():
            have = stored(self.session, tables[name])
            if name == "user_embedding":
                have, rows = self._vectors(have), self._folded(rows)
            found[name] = differences(have, rows)
        return {name: lines for name, lines in found.items() if lines}

    def _folded(self, rows: dict[tuple[Any, ...], tuple[Any, ...]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        """The oracle's histories with the live model's vectors."""
        kept = [last_items(unpack_history(row[3])) for row in rows.values()]
        folded = fold_in_batch(self.model, kept)
        return {
            (key[0], MODEL): (key[0], MODEL, _rounded(vector.astype("<f4")), row[3], unknown, row[5])
            for (key, row), vector, unknown in zip(rows.items(), folded.vectors, folded.unknown.tolist(), strict=True)
        }

    @staticmethod
    def _vectors(rows: dict[tuple[Any, ...], tuple[Any, ...]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        return {key: (*row[:2], _rounded(np.frombuffer(row[2], "<f4")), *row[3:]) for key, row in rows.items()}


class _rounded:
    """A vector that equals another within 1e-5 of its length: another batch solves with other last bits."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _rounded) and np.allclose(
            self.values, other.values, rtol=0, atol=1e-5 * (1 + float(np.linalg.norm(self.values)))
        )

    def __repr__(self) -> str:
        return repr(self.values)


def traffic(count: int, seed: int = 7, visitors: int = 5_000) -> list[Record]:
    """Events of six hours in random order of visitors, 5 % twice, 2 % late, none poisoned, and closing ones."""
    made = [row for row in records(seed, count, partitions=PARTITIONS, visitors=visitors) if not row.reason]
    return made + closer(made, PARTITIONS)


def oracle(rows: Sequence[Record]) -> Expected:
    """What the records amount to."""
    return expected(rows, policy_from_env(KEY_ENV))


def send(address: str, topic: str, rows: Sequence[Record]) -> dict[int, int]:
    """Send records with their partitions and timestamps; how many went to each partition."""
    failed: list[str] = []
    limits = {"linger.ms": 20, "message.max.bytes": LARGEST_SENT_BYTES, "log_level": 2}
    producer = Producer({"bootstrap.servers": address, "enable.idempotence": True, **limits})
    counts: dict[int, int] = {}
    for row in rows:
        while True:
            try:
                producer.produce(
                    topic,
                    row.value,
                    row.key,
                    row.partition,
                    timestamp=row.kafka_ms,
                    on_delivery=lambda error, _: failed.append(str(error)) if error else None,
                )
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
        counts[row.partition] = counts.get(row.partition, 0) + 1
    if producer.flush(60) or failed:
        raise ServerUnavailable(f"Kafka at {address} did not take all records: {failed[:1]}")
    return counts


@contextmanager
def bench(name: str, size: FlinkSize | None = None) -> Iterator[Bench]:
    """A platform under ``build/bench/<name>``, gone at the end with all it started."""
    folder = _folder(name)
    platform = Platform(folder / "platform", Ports.pick(), size or FlinkSize(taskmanagers=1, slots=PARALLELISM))
    platform.up(say)
    try:
        with _keyspace(platform.cassandra.address, folder) as made:
            create_base(made.session)
            columns = {
                "name": "batch",
                "live": "none",
                "model_version": MODEL,
                "model_uri": str(made.models / MODEL),
                "serial": 1,
                "updated_ms": 1,
                "info": json.dumps({}),
            }
            made.session.execute(
                f"INSERT INTO {POINTER_VIEW.name} ({', '.join(columns)}) VALUES ({', '.join('%s' for _ in columns)})",
                tuple(columns.values()),
            )
            zipped = build(REPOSITORY, folder / "dovetail.zip")
            yield Bench(made.spec, made.session, folder, made.model, platform, zipped)
    finally:
        platform.down(lambda line: None)


@contextmanager
def store(name: str) -> Iterator[Store]:
    """A Cassandra alone under ``build/bench/<name>``, gone at the end."""
    folder = _folder(name)
    port, storage_port = free_ports(2)
    node = Cassandra(folder, port, storage_port)
    node.start()
    try:
        node.wait_ready(180)
        with _keyspace(node.address, folder) as made:
            yield made
    finally:
        node.stop()


def _folder(name: str) -> Path:
    guard()
    os.environ.setdefault(KEY_ENV, "a key for benchmarks only, of no value")
    folder = REPOSITORY / "build" / "bench" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def _keyspace(address: str, folder: Path) -> Iterator[Store]:
    spec = ClusterSpec.parse(address, keyspace="bench")
    ensure_keyspace(spec)
    with connected(spec) as session:
        yield Store(spec, session, folder, _model(folder / "models"))


def _model(models: Path) -> ItemFactors:
    rng = np.random.default_rng(5)
    items = [f"i{number}" for number in range(ITEMS)]
    write_model(
        models / MODEL,
        model_version=MODEL,
        cut_ms=1,
        alpha=10.0,
        reg=0.05,
        item_ids=items,
        factors=rng.normal(0, 0.3, (ITEMS, FACTORS)),
        categories=["home.c0"] * ITEMS,
        titles=items,
        prices=[None] * ITEMS,
    )
    return load_model(models / MODEL)
