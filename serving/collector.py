"""The collector: an event is checked by the gate, then acknowledged by Kafka, then answered.

What the gate refuses is kept, too: its bytes go to the topic of rejections with their reason. The raw topic and
the rejections hold raw ids; logs and metrics of this module hold none.
"""

import asyncio
import hashlib
import itertools
import threading
import uuid
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from common.admission import KEPT_BYTES, MAX_BYTES, Reason, Rejection, check, rejection_json
from common.errors import ServerUnavailable

CONNECT_TIMEOUT_S = 5.0


class Delivered(NamedTuple):
    """Where Kafka put a record."""

    topic: str
    partition: int
    offset: int


class _Ids(msgspec.Struct):
    user_id: str | None = None
    anonymous_id: str | None = None


_ids = msgspec.json.Decoder(_Ids)


def require_kafka(bootstrap: str, topics: tuple[str, ...]) -> None:
    """Raise ServerUnavailable, naming the remedy, where no broker answers or a topic is not there."""
    try:
        known = (
            AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=CONNECT_TIMEOUT_S).topics
        )
    except KafkaException as error:
        raise ServerUnavailable(
            f"Kafka at {bootstrap} does not answer: start it (make up) or correct --kafka"
        ) from error
    absent = [topic for topic in topics if topic not in known]
    if absent:
        raise ServerUnavailable(f"Kafka at {bootstrap} has no topic {', '.join(absent)}: create it (make up does)")


class Collector:
    """Sends events to Kafka; :meth:`start` before use, :meth:`close` at the end."""

    def __init__(self, bootstrap: str, events_topic: str, rejected_topic: str, deadline_s: float) -> None:
        self.events_topic = events_topic
        self.rejected_topic = rejected_topic
        self._deadline_s = deadline_s
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 0,
                "message.timeout.ms": int(deadline_s * 1_000),
                "socket.nagle.disable": True,
                "message.max.bytes": 4 * MAX_BYTES,
                "log_level": 2,
            }
        )
        # A rejected request never was a record: it gets a topic, partition and offset of its own, once and for all.
        self._rejections = f"http:{uuid.uuid4().hex[:12]}"
        self._numbers = itertools.count()
        self._ended = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="collector-poll", daemon=True)

    def start(self) -> None:
        """Begin to serve delivery reports."""
        self._poller.start()

    def close(self) -> None:
        """Send what is still queued and end."""
        self._ended.set()
        if self._poller.is_alive():
            self._poller.join()
        self._producer.flush(self._deadline_s)

    async def collect(self, raw: bytes | Rejection, now_ms: int) -> Delivered | Rejection:
        """Check an event and send it; returns where it went, or the rejection, which was sent, too.

        Raises ServerUnavailable where Kafka did not acknowledge in time: the caller may send again.
        """
        rejection = raw if isinstance(raw, Rejection) else check(raw, now_ms)
        if isinstance(raw, bytes) and rejection is None:
            return await self._send(self.events_topic, visitor_key(raw), raw)
        assert rejection is not None
        record = rejection_json(rejection, self._rejections, 0, next(self._numbers), now_ms)
        await self._send(self.rejected_topic, None, record)
        return rejection

    async def _send(self, topic: str, key: bytes | None, value: bytes) -> Delivered:
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Delivered] = loop.create_future()

        def settle(error: Any, record: Any) -> None:
            if result.done():
                return
            if error is None:
                result.set_result(Delivered(record.topic(), record.partition(), record.offset()))
            else:
                result.set_exception(ServerUnavailable(f"Kafka did not take the event: {error.name()}"))

        def report(error: Any, record: Any) -> None:  # in the poller's thread
            loop.call_soon_threadsafe(settle, error, record)

        try:
            self._producer.produce(topic, value, key, on_delivery=report)
        except BufferError as error:
            raise ServerUnavailable("Kafka takes events more slowly than they come: try again") from error
        return await result

    def _poll(self) -> None:
        while not self._ended.is_set():
            self._producer.poll(0.1)


def visitor_key(raw: bytes) -> bytes:
    """The record's key: the raw id of the visitor as the gate will choose it, so that order holds per visitor."""
    ids = _ids.decode(raw)
    user = ids.user_id if ids.user_id and not ids.user_id.isspace() else None
    return (user or ids.anonymous_id or "").encode("utf-8", "surrogatepass")


async def bounded_body(chunks: AsyncIterator[bytes]) -> bytes | Rejection:
    """A request's body, or its rejection where it is oversize: then only its first kilobyte is held, never all."""
    kept = bytearray()
    digest = hashlib.sha256()
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        digest.update(chunk)
        if size <= MAX_BYTES:
            kept += chunk
        elif len(kept) < KEPT_BYTES:
            kept += chunk[: KEPT_BYTES - len(kept)]
        else:
            del kept[KEPT_BYTES:]
    if size <= MAX_BYTES:
        return bytes(kept)
    return Rejection(
        reason=Reason.OVERSIZE,
        field=None,
        detail=f"{size} bytes, at most {MAX_BYTES} are allowed",
        raw=bytes(kept[:KEPT_BYTES]),
        size=size,
        sha256=digest.hexdigest(),
    )
