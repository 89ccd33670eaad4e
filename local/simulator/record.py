"""A record of the events topic, and files of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Record:
    """What a producer sends: raw bytes under the visitor's raw id, with the instant the broker is to note."""

    key: bytes | None
    value: bytes | None
    event_ms: int
    """When it happened, as far as the sender knows; not every value says so."""
    timestamp_ms: int
    """The record's Kafka timestamp: when it was sent."""


def write_lines(path: Path, records: Iterable[Record]) -> int:
    """Write the values as lines of one file and return how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("wb") as handle:
        for record in records:
            assert record.value is not None, "a record without a value is no line"
            handle.write(record.value + b"\n")
            count += 1
    return count
