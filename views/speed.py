"""Rows of the speed views as mutations: which timestamp, which lifetime, what a closed session deletes."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from common.features.groups import FeatureGroup
from common.sessions import SESSION_GAP_MS
from views import timestamps
from views.mutations import Mutation, RangeDelete, Upsert
from views.schema import Table
from views.tables import SPEED, tables_of


def wall_clock_ms() -> int:
    """Now, in epoch milliseconds. Only a row's remaining lifetime depends on it, never its content."""
    return time.time_ns() // 1_000_000


class SpeedRows:
    """Makes the mutations of one generation.

    Rows are mappings with the contract's fields; missing ones are null. ``created_ms`` is the generation's
    creation (views.versions), ``ttl_s`` replaces the views' declared lifetime where it is given, ``gap_ms`` is the
    gap that closes a session.
    """

    def __init__(
        self,
        generation: str,
        created_ms: int,
        ttl_s: int | None = None,
        clock_ms: Callable[[], int] = wall_clock_ms,
        gap_ms: int = SESSION_GAP_MS,
    ) -> None:
        self.generation = generation
        self.created_ms = created_ms
        self.tables: dict[str, Table] = tables_of(SPEED.values(), generation)
        self._ttl_s = ttl_s
        self._clock_ms = clock_ms
        self._gap_ms = gap_ms

    def tile(self, group: FeatureGroup, row: Mapping[str, Any]) -> Upsert:
        """A group's tile, whole, as of its ``n``-th event."""
        stamp = timestamps.tile_timestamp(row["tile_start"], row["n"])
        return self._upsert(self.tables[group.table], row, stamp, row["tile_start"])

    def open_session(self, row: Mapping[str, Any]) -> Upsert:
        """A provisional session as of its latest event."""
        start = row["session_start"]
        stamp = timestamps.open_session_timestamp(start, row["events"])
        return self._upsert(self.tables["sessions"], {**row, "closed": False}, stamp, start)

    def closed_session(self, row: Mapping[str, Any]) -> list[Mutation]:
        """A session that the watermark closed, and the delete of the provisional rows that it swallowed."""
        table = self.tables["sessions"]
        start, end = row["session_start"], row["session_end"]
        stamp = timestamps.closed_session_timestamp(start, row["events"], self._gap_ms)
        closed = self._upsert(table, {**row, "closed": True}, stamp, start)
        if end == start:
            return [closed]
        swallowed = timestamps.swallowed_sessions_timestamp(end, self._gap_ms)
        return [closed, RangeDelete(table, (row["visitor_id"],), start, end, swallowed)]

    def embedding(self, row: Mapping[str, Any]) -> Upsert:
        """A visitor's history and vector after its ``updates``-th item event; lives from the newest of its events.

        ``row`` may carry ``anchor_ms``, the instant its lifetime counts from; else it counts from now.
        """
        stamp = timestamps.embedding_timestamp(self.created_ms, row["updates"])
        return self._upsert(self.tables["user_embedding"], row, stamp, row.get("anchor_ms", self._clock_ms()))

    def _upsert(self, table: Table, row: Mapping[str, Any], timestamp: int, anchor_ms: int) -> Upsert:
        ttl_s = table.view.ttl_s if self._ttl_s is None else self._ttl_s
        ttl = timestamps.remaining_ttl_s(anchor_ms, ttl_s, self._clock_ms())
        return Upsert(table, tuple(row.get(name) for name in table.view.columns), timestamp, ttl)
