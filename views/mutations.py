"""What a writer can be asked to do, and how a batch of it is reduced before it is sent."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple

from views.schema import Table


class Upsert(NamedTuple):
    """A whole row: values in the order of ``table.view.columns``.

    ``timestamp`` is in microseconds (views.timestamps); ``ttl`` in seconds, 0 for ever, None where the row
    has already expired (it is then counted and not written).
    """

    table: Table
    values: tuple[Any, ...]
    timestamp: int
    ttl: int | None = 0


class RowDelete(NamedTuple):
    """One row, by the values of its primary key."""

    table: Table
    key: tuple[Any, ...]
    timestamp: int


class RangeDelete(NamedTuple):
    """Rows of a partition whose first clustering column lies in (after, until]."""

    table: Table
    partition: tuple[Any, ...]
    after: Any
    until: Any
    timestamp: int


Mutation = Upsert | RowDelete | RangeDelete


class Together(NamedTuple):
    """Which partitions may share a batch, and up to what size."""

    place: Callable[[Mutation], Hashable]
    """Where a mutation's partition lies; those of one place may share. None: its batch is its own."""
    partitions: int
    bytes: int


class Reduced(NamedTuple):
    """Mutations in batches, each of one partition or of several that lie together; and what fell away."""

    batches: list[list[Mutation]]
    rows: int
    superseded: int
    expired: int


def reduce_mutations(
    mutations: Iterable[Mutation], max_rows: int, max_bytes: int, together: Together | None = None
) -> Reduced:
    """Keep per primary key what has the greatest timestamp, and group the rest by partition key.

    Tables of one partition key's values share a batch: within a keyspace it is one mutation on the server. With
    ``together`` small partitions of one place share one, too: fewer requests for the same rows.
    Of equal timestamps the later in order stays (by the rules of views.timestamps it is the same row).
    """
    kept: dict[Hashable, dict[Hashable, Mutation]] = {}
    superseded = expired = 0
    for mutation in mutations:
        if isinstance(mutation, Upsert) and mutation.ttl is None:
            expired += 1
            continue
        partition, identity = _identity(mutation)
        slot = kept.setdefault(partition, {})
        present = slot.get(identity)
        if present is not None:
            superseded += 1
            if present.timestamp > mutation.timestamp:
                continue
        slot[identity] = mutation
    batches: list[list[Mutation]] = []
    rows = 0
    shared: dict[Hashable, _Shared] = {}
    for slot in kept.values():
        rows += len(slot)
        for batch, size in _bounded(slot.values(), max_rows, max_bytes):
            place = together.place(batch[0]) if together and size < together.bytes else None
            if together is None or place is None:
                batches.append(batch)
                continue
            have = shared.get(place)
            if have is None or not have.takes(len(batch), size, max_rows, together):
                have = shared[place] = _Shared()
                batches.append(have.batch)
            have.add(batch, size)
    return Reduced(batches, rows, superseded, expired)


class _Shared:
    """A batch that further partitions may still join."""

    def __init__(self) -> None:
        self.batch: list[Mutation] = []
        self.size = 0
        self.partitions = 0

    def takes(self, rows: int, size: int, max_rows: int, together: Together) -> bool:
        return (
            self.partitions < together.partitions
            and self.size + size <= together.bytes
            and len(self.batch) + rows <= max_rows
        )

    def add(self, batch: list[Mutation], size: int) -> None:
        self.batch += batch
        self.size += size
        self.partitions += 1


def _identity(mutation: Mutation) -> tuple[Hashable, Hashable]:
    view = mutation.table.view
    width = len(view.partition_key)
    if isinstance(mutation, Upsert):
        values = mutation.values
        key = tuple([values[position] for position in view.key_positions])
        return key[:width], (mutation.table.name, key)
    if isinstance(mutation, RowDelete):
        return mutation.key[:width], (mutation.table.name, mutation.key)
    return mutation.partition, (mutation.table.name, mutation.partition, mutation.after, mutation.until)


def _bounded(mutations: Iterable[Mutation], max_rows: int, max_bytes: int) -> Iterable[tuple[list[Mutation], int]]:
    batch: list[Mutation] = []
    size = 0
    for mutation in mutations:
        weight = _bytes(mutation.values) if isinstance(mutation, Upsert) else 64
        if batch and (len(batch) >= max_rows or size + weight > max_bytes):
            yield batch, size
            batch, size = [], 0
        batch.append(mutation)
        size += weight
    if batch:
        yield batch, size


def _bytes(values: Iterable[Any]) -> int:
    """Roughly what values take on the wire; only what can be long is looked at."""
    size = 0
    for value in values:
        kind = type(value)
        if kind is str or kind is bytes:
            size += 8 + len(value)
        elif kind is dict:
            size += 16 * len(value) + _bytes(value.values())
        elif kind is list or kind is tuple:
            size += 8 + _bytes(value)
        else:
            size += 12
    return size
