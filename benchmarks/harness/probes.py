"""Open-loop traffic of the present time, and probes that tell how long an event takes to be readable."""

import json
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from cassandra.cluster import Session
from confluent_kafka import Producer

from benchmarks.harness.speed import KEY_ENV, PARTITIONS, Bench
from common.admission import policy_from_env
from tests.streaming.traffic import event
from views.schema import Table

POLL_S = 0.008
"""Between two looks of a probe, at the least: half of it is added to what is measured."""
POLL_SHARE = 0.05
"""Between two looks of a probe that waits already, of what it has waited: looking must not be a load of its own."""
PROBES_S = 10.0
"""Probes a second."""
FIRST_LOOK_S = 0.04


@dataclass
class Probed:
    """When each probe was posted (monotonic seconds), and after how many seconds it was readable."""

    posted: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def quantile(self, q: float) -> float:
        """The q-quantile of the seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


class Load:
    """Events of now at a rate, each at its moment whether or not the one before was quick; runs in a thread."""

    def __init__(self, bench: Bench, topic: str, rate: float, visitors: int = 5_000, seed: int = 3) -> None:
        self.sent = 0
        self._client = Producer({"bootstrap.servers": bench.platform.kafka.address, "linger.ms": 2, "log_level": 2})
        self._topic, self._rate, self._visitors, self._rng = topic, rate, visitors, random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.flush(30)

    def _run(self) -> None:
        begun = time.monotonic()
        while not self._stop.is_set():
            due = int((time.monotonic() - begun) * self._rate)
            for _ in range(due - self.sent):
                visitor = self._rng.randrange(self._visitors)
                body = event(self._rng, f"load-{self.sent}", visitor, time.time_ns() // 1_000_000)
                self._client.produce(
                    self._topic, json.dumps(body).encode(), f"u{visitor}".encode(), visitor % PARTITIONS
                )
                self.sent += 1
            self._client.poll(0)
            time.sleep(0.002)


class Prober:
    """Posts events of new visitors and looks for each one's row until it is there."""

    def __init__(self, bench: Bench, topic: str, table: Table, limit: float = 120.0) -> None:
        self._client = Producer({"bootstrap.servers": bench.platform.kafka.address, "linger.ms": 0, "log_level": 2})
        self._topic, self._limit = topic, limit
        self._session: Session = bench.session
        self._read = bench.session.prepare(f"SELECT n FROM {table.name} WHERE visitor_id = ? LIMIT 1")
        self._policy = policy_from_env(KEY_ENV)
        self._count = 0

    def run(self, seconds: float, rate: float = PROBES_S) -> Probed:
        """Probe for so long, open loop; every probe must come to be readable."""
        found = Probed()
        begun = time.monotonic()
        with ThreadPoolExecutor(max_workers=64) as pool:
            pending = []
            while (now := time.monotonic()) - begun < seconds:
                pending.append(pool.submit(self._probe, self._count, now))
                self._count += 1
                time.sleep(max(0.0, begun + len(pending) / rate - now))
            for future in pending:
                posted, took = future.result()
                found.posted.append(posted)
                found.seconds.append(took)
        return found

    def _probe(self, number: int, due: float) -> tuple[float, float]:
        """When the probe was due and how long after it was readable: one that waits for a free thread waits, too."""
        name = f"probe-{number}"
        body = {
            "event_id": name,
            "event_type": "view",
            "anonymous_id": name,
            "item_id": "i1",
            "category": "home.c1",
            "event_ms": time.time_ns() // 1_000_000,
        }
        visitor = self._policy.pseudonym("anonymous", name)
        self._client.produce(self._topic, json.dumps(body).encode(), name.encode(), number % PARTITIONS)
        self._client.poll(0)
        time.sleep(FIRST_LOOK_S)
        while self._session.execute(self._read, (visitor,), timeout=10).one() is None:
            if time.monotonic() - due > self._limit:
                raise TimeoutError(f"a probe was not readable after {self._limit:.0f} s")
            time.sleep(max(POLL_S, POLL_SHARE * (time.monotonic() - due)))
        return due, time.monotonic() - due


def fresh_from(probed: Probed, since: float, within: float) -> float | None:
    """Seconds after ``since`` from which on every probe was readable within so long; None where the last was not."""
    slow = [at for at, took in zip(probed.posted, probed.seconds, strict=True) if at >= since and took > within]
    later: Sequence[float] = [at for at in probed.posted if at > (max(slow) if slow else since)]
    return min(later) - since if later else None
