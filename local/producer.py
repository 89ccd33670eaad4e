"""Sends records to the events topic, keyed by raw visitor id, at a rate or as fast as they go."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType

from confluent_kafka import KafkaError, Message
from confluent_kafka import Producer as Client

from common.errors import ServerUnavailable
from local.kafka import EVENTS, MAX_RECORD_BYTES
from local.simulator.record import Record


@dataclass(frozen=True)
class Sent:
    """What was delivered."""

    records: int
    seconds: float

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds if self.seconds > 0 else 0.0


class EventProducer:
    """A producer for one topic; use it in a ``with`` block, which ends when all is delivered.

    Raises ``ServerUnavailable`` when a record could not be delivered.
    """

    def __init__(self, address: str, topic: str = EVENTS):
        self.topic = topic
        self.address = address
        self._failed: KafkaError | None = None
        self._client = Client(
            {
                "bootstrap.servers": address,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.max.bytes": MAX_RECORD_BYTES,
                "message.timeout.ms": 30_000,
                "log_level": 2,
            }
        )

    def send(self, key: bytes | None, value: bytes | None, timestamp_ms: int | None = None) -> None:
        """Queue one record; its timestamp is ``timestamp_ms``, or now. Waits while the queue is full."""
        while True:
            try:
                self._client.produce(self.topic, value, key, timestamp=timestamp_ms or 0, on_delivery=self._delivered)
                break
            except BufferError:
                self._client.poll(0.05)
        self._client.poll(0)
        self._raise_failure()

    def replay(self, records: Iterable[Record], rate: float | None = None, as_now: bool = False) -> Sent:
        """Send records with their own timestamps, or all as of now, and wait until they are delivered.

        With ``rate`` (records a second) the loop is open: each has its moment, and one that is slow delays none.
        """
        begun = time.monotonic()
        count = 0
        for count, record in enumerate(records, 1):
            if rate is not None and (ahead := begun + (count - 1) / rate - time.monotonic()) > 0:
                time.sleep(ahead)
            self.send(record.key, record.value, None if as_now else record.timestamp_ms)
        self.flush()
        return Sent(count, time.monotonic() - begun)

    def flush(self, limit: float = 60.0) -> None:
        """Wait until everything is delivered, up to ``limit`` seconds."""
        left = self._client.flush(limit)
        self._raise_failure()
        if left:
            raise ServerUnavailable(f"waited {limit:.0f} s for Kafka at {self.address} to take {left} records")

    def __enter__(self) -> "EventProducer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if kind is None:
            self.flush()

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None and self._failed is None:
            self._failed = error

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise ServerUnavailable(f"Kafka at {self.address} did not take a record of '{self.topic}': {self._failed}")
