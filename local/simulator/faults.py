"""What goes wrong between a shop and its stream: events sent twice, events sent late, records that are no events."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from common.features.windows import HOUR_MS, MINUTE_MS
from local.simulator.poison import Poisoned, poisoned
from local.simulator.record import Record


@dataclass(frozen=True)
class FaultConfig:
    """How much goes wrong."""

    seed: int = 7
    """Seed of what is chosen."""
    duplicates: float = 0.02
    """Share of events that are sent once more, the same bytes, up to half an hour later."""
    late_within: float = 0.02
    """Share of events that are sent late, but within the allowed lateness."""
    late_beyond: float = 0.01
    """Share of events that are sent later than that."""
    lateness_ms: int = 10 * MINUTE_MS
    """The allowed lateness of the stream."""
    longest_delay_ms: int = 3 * HOUR_MS
    """The longest that an event is late; well below the horizon within which duplicates are found."""
    poisoned: int = 100
    """Records that are no events."""
    max_age_ms: int | None = None
    """The gate's age limit, if it has one."""


@dataclass(frozen=True)
class Disturbed:
    """Records in the order of their timestamps, and what is wrong with some."""

    records: list[Record]
    duplicates: int
    """Records that repeat another's bytes."""
    late_within: set[str]
    """Ids of the events sent late within the allowed lateness."""
    late_beyond: set[str]
    """Ids of the events sent later than that."""
    poisoned: list[Poisoned]


def disturb(records: Iterable[Record], config: FaultConfig, until_ms: int) -> Disturbed:
    """Return sound records with faults added. No timestamp reaches ``until_ms`` that did not before.

    An event is late by its record's timestamp, never by what a clock says, so each run counts the same as late. Only
    events that leave room for the delay before ``until_ms`` are chosen.
    """
    sound = list(records)
    rng = np.random.default_rng([config.seed, len(sound)])
    draw = rng.random(len(sound))
    within = rng.integers(MINUTE_MS, config.lateness_ms - MINUTE_MS, len(sound))
    beyond = rng.integers(config.lateness_ms + 5 * MINUTE_MS, config.longest_delay_ms, len(sound))
    again = rng.random(len(sound)) < config.duplicates
    pause = rng.integers(1, 30 * MINUTE_MS, len(sound))

    out: list[Record] = []
    late_within: set[str] = set()
    late_beyond: set[str] = set()
    duplicates = 0
    for index, record in enumerate(sound):
        delay = 0
        if draw[index] < config.late_within:
            delay, late = int(within[index]), late_within
        elif draw[index] < config.late_within + config.late_beyond:
            delay, late = int(beyond[index]), late_beyond
        if delay and record.event_ms + delay < until_ms:
            late.add(event_id(record))
            record = replace(record, timestamp_ms=record.event_ms + delay)
        out.append(record)
        repeated_ms = record.timestamp_ms + int(pause[index])
        if again[index] and repeated_ms < until_ms:
            duplicates += 1
            out.append(replace(record, timestamp_ms=repeated_ms))

    times = sorted(record.timestamp_ms for record in sound if record.timestamp_ms < until_ms)
    at = [times[int(k)] for k in np.sort(rng.integers(len(times), size=max(1, config.poisoned)))]
    bad = list(poisoned(config.poisoned, at, f"poison-{config.seed}", config.max_age_ms))
    out += [one.record for one in bad]
    out.sort(key=lambda record: record.timestamp_ms)
    return Disturbed(out, duplicates, late_within, late_beyond, bad)


def event_id(record: Record) -> str:
    """Return the id of a sound record's event."""
    assert record.value is not None, "a sound record has a value"
    return str(json.loads(record.value)["event_id"])
