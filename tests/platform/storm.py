"""Traffic with everything that can be wrong in it, and the hands that break a running platform."""

import json
import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from confluent_kafka import Producer

from common.features.windows import DAY_MS, HOUR_MS
from local.cassandra import Cassandra
from local.flink import FlinkCluster
from local.process import descendants
from local.simulator.poison import poisoned
from streaming.names import OVER
from tests.streaming.traffic import LARGEST_SENT_BYTES, NO_NUMBERS, Record, event, records
from views.connect import ClusterSpec, connected, ensure_keyspace

LONG = os.environ.get("DOVETAIL_FAULTS") == "long"
"""The long form: 100,000 events, and as many faults as the short form has kinds, five times."""

PARTITIONS = 3
IDLE = PARTITIONS - 1
"""A partition that never gets a record."""
CROWD = 100_000 if LONG else 500
"""Visitors whose only sessions close in one second."""

BEHIND_MS = HOUR_MS
"""How far partition 1 lies behind partition 0, in all its timestamps."""


def stormy(seed: int, count: int) -> list[Record]:
    """``count`` events and what else comes: 5 % twice, 1 % poison of every kind, wrong clocks, a hot visitor, a crowd.

    Out of order within the lateness, some late; a third partition stays empty and the second is an hour behind.
    """
    rng = random.Random(seed)
    rows = records(seed, count * 7 // 10, partitions=IDLE, visitors=max(50, count // 12))
    times = [row.kafka_ms for row in rows]
    # 30 % of all is one visitor's, who never pauses
    for number in range(count * 3 // 10):
        at = times[number * len(times) // (count * 3 // 10)]
        body = event(rng, f"hot{seed}-{number}", 0, at)
        rows.append(Record(0, json.dumps(body).encode(), at, b"u0"))
    bad_count = max(40, count // 100)
    spread = times[:: len(times) // bad_count]
    for number, bad in enumerate(poisoned(bad_count, spread, run=f"poison{seed}")):
        rows.append(Record(number % IDLE, bad.record.value, bad.record.timestamp_ms, bad.record.key, str(bad.reason)))
    for number in range(max(12, count // 500)):
        at = times[rng.randrange(len(times))]
        rows.append(Record(number % IDLE, _wrong(rng, seed, number, at), at, None))
    # a crowd that all leaves in the same second
    for number in range(CROWD):
        body = {"event_id": f"crowd{seed}-{number}", "event_type": "search", "query": "x", "event_ms": times[-1]}
        raw = json.dumps({**body, "anonymous_id": f"crowd{number}"}).encode()
        rows.append(Record(number % IDLE, raw, times[-1], f"crowd{number}".encode()))
    if LONG:
        rows += [Record(0, b'{"referrer": "' + b"x" * (10 << 20) + b'"}', times[len(times) // 2], None)] * 2
    rows.sort(key=lambda row: row.kafka_ms)
    return [_behind(row) if row.partition == 1 else row for row in rows]


def _wrong(rng: random.Random, seed: int, number: int, at: int) -> bytes:
    """A clock a day ahead, a year behind or at the epoch; a number that is none, or too large for any type."""
    body = event(rng, f"wrong{seed}-{number}", 7, at)
    ahead, epoch = {**body, "event_ms": at + DAY_MS}, {**body, "event_ms": 0}
    behind = {**body, "event_ms": at - 365 * DAY_MS}
    text = json.dumps(body)
    odd = [text[:-1] + f', "value": {value}}}' for value in NO_NUMBERS]
    return [*(json.dumps(one) for one in (ahead, behind, epoch)), *odd][number % 7].encode()


def _behind(row: Record) -> Record:
    """The record an hour earlier; one that is no JSON object with a time keeps its bytes."""
    value = row.value
    try:
        body = json.loads(value or b"")
        if isinstance(body, dict) and isinstance(body.get("event_ms"), int) and body["event_ms"] > BEHIND_MS:
            value = json.dumps({**body, "event_ms": body["event_ms"] - BEHIND_MS}).encode()
    except (ValueError, RecursionError):
        pass
    return replace(row, value=value, kafka_ms=row.kafka_ms - BEHIND_MS)


class Sender:
    """Sends records in their order, at a rate or at once, while servers come and go; each is delivered once."""

    def __init__(self, address: str, topic: str) -> None:
        self._topic = topic
        self._failed: list[str] = []
        self._client = Producer(
            {
                "bootstrap.servers": address,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": 600_000,
                # a broker that was killed answers no more: by default a request waits a minute for it
                "socket.timeout.ms": 10_000,
                "reconnect.backoff.max.ms": 1_000,
                "message.max.bytes": LARGEST_SENT_BYTES,
                "log_level": 0,
            }
        )

    def send(self, rows: Sequence[Record], rate: float | None = None, stop: threading.Event | None = None) -> int:
        """Send until the end or until ``stop`` is set; how many were sent."""
        begun = time.monotonic()
        for number, row in enumerate(rows):
            if rate is not None:
                time.sleep(max(0.0, begun + number / rate - time.monotonic()))
            if stop is not None and stop.is_set():
                return number
            self._client.produce(
                self._topic,
                row.value,
                row.key,
                row.partition,
                timestamp=row.kafka_ms,
                on_delivery=lambda error, _: self._failed.append(str(error)) if error else None,
            )
            self._client.poll(0)
        return len(rows)

    def flush(self) -> None:
        """Wait until all is delivered."""
        left = self._client.flush(300)
        assert left == 0, f"{left} records were not delivered within 300 s"
        assert self._failed == []


def python_workers(cluster: FlinkCluster) -> list[int]:
    """The processes in which TaskManagers run Python functions."""
    found = []
    for server in cluster.taskmanagers:
        if server.pid is not None:
            for who in descendants(server.pid):
                try:
                    command = Path(f"/proc/{who.pid}/cmdline").read_bytes()
                except OSError:  # ended since the listing
                    continue
                if b"beam_sdk_worker_main" in command or b"beam_boot" in command:
                    found.append(who.pid)
    return found


def kill_workers(cluster: FlinkCluster) -> int:
    """End the Python workers without warning; how many there were."""
    pids = python_workers(cluster)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it went with its parent
            continue
    return len(pids)


@contextmanager
def keyspace(cassandra: Cassandra, name: str) -> Iterator[ClusterSpec]:
    """A keyspace of its own, dropped after the block."""
    spec = ClusterSpec.parse(cassandra.address, keyspace=f"{name}_{uuid.uuid4().hex[:12]}")
    ensure_keyspace(spec)
    try:
        yield spec
    finally:
        with connected(spec, with_keyspace=False) as session:
            session.execute(f"DROP KEYSPACE IF EXISTS {spec.keyspace}", timeout=60.0)


@contextmanager
def slots_freed(cluster: FlinkCluster) -> Iterator[None]:
    """Cancel what runs on the cluster where the block fails: it would take the slots of the tests after it."""
    try:
        yield
    except BaseException:
        for job, state in cluster.rest.jobs().items():
            if state not in OVER:
                cluster.rest.cancel(job)
        raise


@contextmanager
def slow(cassandra: Cassandra, reply_s: float) -> Iterator[None]:
    """Let the store answer only every so many seconds while the block runs."""
    done = threading.Event()

    def freeze() -> None:
        while not done.is_set():
            cassandra.server.pause()
            done.wait(reply_s)
            cassandra.server.resume()
            done.wait(0.2)

    thread = threading.Thread(target=freeze, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        cassandra.server.resume()
