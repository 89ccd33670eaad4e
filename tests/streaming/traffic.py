"""Seeded raw records for the stream's tests, and what must come of them."""

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from common.admission import Event, Policy, Rejection, admit
from common.features.windows import HORIZON_MS, HOUR_MS, MINUTE_MS
from common.rules import first_broken

START_MS = 1_763_596_800_000
"""2025-11-20T00:00:00Z."""

GAP_MS = 30 * MINUTE_MS

POISON: tuple[tuple[bytes | None, str], ...] = (
    (b"\xff\xfe{}", "invalid_utf8"),
    (b'{"event_id": "x", "event_type": ', "invalid_json"),
    (b"", "empty"),
    (None, "empty"),
    (b"[1, 2]", "not_an_object"),
    (b'{"event_id":"x","event_type":"dance","user_id":"u","event_ms":1763596800000}', "unknown_event_type"),
    (b'{"event_id":"x","event_type":"view","user_id":"u","event_ms":1763596800000}', "missing_field"),
    (b'{"event_id":"x","event_type":"view","item_id":"i","event_ms":1763596800000}', "missing_visitor"),
    (b'{"event_id":"x","event_type":"view","user_id":"u","item_id":"i","event_ms":"soon"}', "wrong_type"),
    (b'{"event_id":"x","event_type":"view","user_id":"u","item_id":"i","event_ms":1799999999000}', "future"),
    (b"[" * 100_000, "too_deep"),
)

LARGEST_SENT_BYTES = 16 << 20
"""What producer and topic must take, for poison of ten megabytes."""

NO_NUMBERS = ("NaN", "Infinity", "1e999", "9" * 400)
"""Numbers that are none, or too large for any type, as JSON texts."""


@dataclass(frozen=True)
class Record:
    """One record of the topic."""

    partition: int
    value: bytes | None
    kafka_ms: int
    key: bytes | None = None
    reason: str = ""
    """The reason of its rejection, empty where it is to be admitted."""


@dataclass
class Expected:
    """What the records amount to, by the engine-free modules alone."""

    judged: list[Event | Rejection] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    """Admitted, in the order of the records, duplicates included."""
    once: list[dict[str, Any]] = field(default_factory=list)
    """The first copy of each event that lies within the horizon and meets the row rules."""


def records(
    seed: int, count: int, *, partitions: int = 2, visitors: int = 40, late: float = 0.02, span_ms: int = 6 * HOUR_MS
) -> list[Record]:
    """``count`` events out of order within the lateness, some late, some beyond the horizon, 5 % duplicates, poison.

    They come evenly over ``span_ms``. Kafka timestamps never decrease within a partition; an event's copies share its
    partition, as with keyed producers.
    """
    rng = random.Random(seed)
    step = span_ms // max(count, 1)
    queued: list[tuple[int, int, Record]] = []
    last: dict[int, int] = {}
    for i in range(count):
        visitor = rng.randrange(visitors)
        sent = START_MS + 69 * HOUR_MS + i * step  # three hours on either side of midnight
        delay = _delay(rng, late)
        # bursts and pauses: some gaps end up at the very length of a session's gap, or at nothing
        at = sent - delay
        if visitor in last and rng.random() < 0.05:
            exact = last[visitor] + rng.choice((0, GAP_MS, GAP_MS + 1))
            at = exact if exact <= sent else at
            delay = sent - at
        last[visitor] = max(at, last.get(visitor, at))
        value = json.dumps(event(rng, f"e{seed}-{i}", visitor, at)).encode()
        record = Record(visitor % partitions, value, sent, f"u{visitor}".encode())
        queued.append((sent, i, record))
        if rng.random() < 0.05:
            again = sent + rng.randrange(0, 20 * MINUTE_MS)
            queued.append((again, i, Record(record.partition, value, again, record.key)))
        if rng.random() < 0.01:
            raw, reason = rng.choice(POISON)
            queued.append((sent, i, Record(rng.randrange(partitions), raw, sent, None, reason)))
    queued.sort(key=lambda entry: entry[:2])
    return [record for _, _, record in queued]


def event(rng: random.Random, event_id: str, visitor: int, at: int) -> dict[str, Any]:
    """One event as a shop would send it."""
    kind = rng.choice(("view",) * 8 + ("cart", "purchase", "purchase", "search", "uncart", "refund", "share"))
    made: dict[str, Any] = {
        "event_id": event_id,
        "event_type": kind,
        "event_ms": at,
        "device": rng.choice(("web", "app")),
    }
    if visitor % 3:
        made["user_id"] = f"u{visitor}"
    else:
        made["anonymous_id"] = f"a{visitor}"
    if kind == "search":
        return {**made, "query": "blue mug"}
    made |= {"item_id": f"i{rng.randrange(60)}", "category": f"home.c{rng.randrange(6)}"}
    if kind in ("purchase", "refund"):
        made |= {
            "price": f"{max(0, rng.randrange(-2_000, 90_000)) / 1000:.3f}",
            "quantity": rng.randrange(1, 9),
            "order_id": f"o{event_id}",
            "line": rng.choice((1, 1, 2)),
            "currency": "GBP",
        }
    if rng.random() < 0.2:
        made["shelf"] = f"s{rng.randrange(9)}"
    return made


def expected(rows: Iterable[Record], policy: Policy) -> Expected:
    """Judge, deduplicate and cut off at the horizon, record by record."""
    result = Expected()
    seen: set[str] = set()
    for record in rows:
        judged = admit(record.value, record.kafka_ms, policy)
        result.judged.append(judged)
        if isinstance(judged, Rejection):
            continue
        row = msgspec.structs.asdict(judged)
        result.events.append(row)
        counted = row["event_ms"] >= row["ingest_ms"] - HORIZON_MS and first_broken(row) is None
        if counted and row["event_id"] not in seen:
            seen.add(row["event_id"])
            result.once.append(row)
    return result


def on_time(rows: Iterable[Mapping[str, Any]], lateness_ms: int) -> list[Mapping[str, Any]]:
    """The events that are not late."""
    return [row for row in rows if row["event_ms"] >= row["ingest_ms"] - lateness_ms]


def closer(rows: Iterable[Record], partitions: int) -> list[Record]:
    """One more event for each partition, so far ahead that the watermark passes all the others."""
    end = max(record.kafka_ms for record in rows) + 3 * HOUR_MS
    made = []
    for partition in range(partitions):
        body = {"event_id": f"closer-{end}-{partition}", "event_type": "search", "query": "x", "event_ms": end}
        made.append(Record(partition, json.dumps({**body, "user_id": f"closer{partition}"}).encode(), end, b"closer"))
    return made


def _delay(rng: random.Random, late: float) -> int:
    chance = rng.random()
    if chance < late / 4:
        return HORIZON_MS + rng.randrange(1, 24 * HOUR_MS)
    if chance < late:
        return rng.randrange(10 * MINUTE_MS + 1, HORIZON_MS)
    if chance < 0.2:
        return rng.randrange(0, 10 * MINUTE_MS)
    return rng.randrange(0, 2_000)
