"""What the stream must make of the records it was sent: one plain pass over them, by the same gate and rules."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from common.admission import Event, Policy, Rejection, admit
from common.features.groups import GROUPS
from common.features.tiles import Tile, fold
from common.features.windows import HORIZON_MS
from common.rules import first_broken
from local.simulator.faults import Disturbed
from local.simulator.record import Record

TRANSIT_MS = 800
"""How long a sound event of a file takes to reach Kafka in the replay."""


def read_records(path: Path) -> list[Record]:
    """Raw events of a JSON-lines file as records, sent shortly after they happened, keyed by raw visitor id."""
    records = []
    with path.open("rb") as lines:
        for line in lines:
            value = line.rstrip(b"\n")
            body = json.loads(value)
            key = body.get("user_id") or body.get("anonymous_id") or ""
            at = int(body["event_ms"])
            records.append(Record(str(key).encode() or None, value, at, at + TRANSIT_MS))
    return records


@dataclass(frozen=True)
class Expected:
    """What must come out."""

    rejections: Counter[str]
    """By reason code."""
    events: dict[str, Event]
    """Events that count, each once, by event_id."""
    admitted: int
    """Admitted records, duplicates included."""
    duplicates: int
    """Admitted records that repeat an event."""
    activity: dict[str, dict[tuple[int, str], Tile]]
    """Tiles of the group activity by visitor."""

    def tile_of(self, event_id: str) -> tuple[str, int]:
        """Visitor and tile of an event."""
        event = self.events[event_id]
        return event.visitor_id, event.event_ms // GROUPS["activity"].tile_ms * GROUPS["activity"].tile_ms


def expect(disturbed: Disturbed, policy: Policy) -> Expected:
    """Admit every record in its order, keep the first of each event, fold."""
    rejections: Counter[str] = Counter()
    events: dict[str, Event] = {}
    admitted = duplicates = 0
    for record in disturbed.records:
        outcome = admit(record.value, record.timestamp_ms, policy)
        if isinstance(outcome, Rejection):
            rejections[outcome.reason.value] += 1
            continue
        admitted += 1
        if outcome.event_id in events:
            duplicates += 1
        elif (
            outcome.event_ms >= outcome.ingest_ms - HORIZON_MS and first_broken(msgspec.structs.asdict(outcome)) is None
        ):
            events[outcome.event_id] = outcome
    rows = [msgspec.structs.asdict(event) for event in events.values()]
    return Expected(rejections, events, admitted, duplicates, fold(GROUPS["activity"], rows))


def declared_reasons(disturbed: Disturbed, natural: Iterable[str]) -> Counter[str]:
    """Rejections by reason: what the poison was made for, and what the sound records' own faults are."""
    return Counter([one.reason.value for one in disturbed.poisoned]) + Counter(natural)


def admitted(records: Iterable[Record], policy: Policy) -> list[Record]:
    """The records that the gate lets in."""
    return [r for r in records if not isinstance(admit(r.value, r.timestamp_ms, policy), Rejection)]


def own_faults(records: Iterable[Record], poisoned: Iterable[Record], policy: Policy) -> list[str]:
    """Reasons of the rejections among the records that are not poison: a real file has rows without a visitor."""
    planted = {id(record) for record in poisoned}
    outcomes = (admit(r.value, r.timestamp_ms, policy) for r in records if id(r) not in planted)
    return [outcome.reason.value for outcome in outcomes if isinstance(outcome, Rejection)]
