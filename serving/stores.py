"""The reads of one visitor or item: one batch row and the tiles of both layers, at once, each with its deadline."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from common.features.groups import GROUPS
from common.features.windows import duration_ms
from serving.live import STORE_ERRORS, Live
from serving.metrics import Metrics
from views.errors import ViewMissing
from views.reads import KeyReader
from views.schema import Table

PROFILE = "batch.profile"
EMBEDDING = "speed.user_embedding"
INTEREST, ACTIVITY, PULSE = (f"speed.{GROUPS[name].table}" for name in ("interest", "activity", "pulse"))
SESSIONS = "speed.sessions"

ITEM = "batch.items"
NEXT_BATCH = "batch.covisits"
NEXT_SPEED = "speed.tiles_covisits"

FOR_LIST = (PROFILE, EMBEDDING, INTEREST)
FOR_PROFILE = (PROFILE, EMBEDDING, INTEREST, ACTIVITY, PULSE, SESSIONS)
FOR_SEGMENTS = (PROFILE, INTEREST, ACTIVITY, SESSIONS)
FOR_ITEM = (ITEM, NEXT_BATCH, NEXT_SPEED)

SESSIONS_SHOWN = 5

PULSE_WINDOW = "1 hour"
"""The longest window that is read from tiles of a minute."""


@dataclass(frozen=True)
class VisitorRows:
    """What the store said of one visitor; ``missing`` are the calls that failed or came too late."""

    profile: Any = None
    embeddings: Sequence[Any] = ()
    interest: Sequence[Any] = ()
    activity: Sequence[Any] = ()
    pulse: Sequence[Any] = ()
    sessions: Sequence[Any] = ()
    missing: tuple[str, ...] = ()
    gone: bool = False
    """Whether a table was not there any more: the pointer has moved on."""


@dataclass(frozen=True)
class ItemRows:
    """What the store said of one item: its row, and batch's and speed's tiles of what was turned to next."""

    item: Any = None
    next_batch: Sequence[Any] = ()
    next_speed: Sequence[Any] = ()
    missing: tuple[str, ...] = ()
    gone: bool = False


class VisitorReads(Protocol):
    """Where a visitor's or an item's rows come from: the one edge between answers and stores."""

    async def visitor(self, live: Live, visitor_id: str, wanted: Sequence[str]) -> VisitorRows:
        """The wanted rows of a visitor. Never raises for a store that is away: that is said in ``missing``."""
        ...

    async def item(self, live: Live, item_id: str) -> ItemRows:
        """The rows of an item. Never raises for a store that is away, as :meth:`visitor`."""
        ...


class CassandraReads:
    """Reads from the views."""

    def __init__(self, reader: KeyReader, deadline_s: float, metrics: Metrics) -> None:
        self._reader = reader
        self._deadline_s = deadline_s
        self._metrics = metrics

    async def visitor(self, live: Live, visitor_id: str, wanted: Sequence[str]) -> VisitorRows:
        """The wanted rows of a visitor, all read at once; what is not live yet is empty and not missing."""
        good, missing, gone = await self._read(live, visitor_id, wanted)
        profile = good.get(PROFILE, ())
        return VisitorRows(
            profile=profile[0] if profile else None,
            embeddings=good.get(EMBEDDING, ()),
            interest=good.get(INTEREST, ()),
            activity=good.get(ACTIVITY, ()),
            pulse=good.get(PULSE, ()),
            sessions=good.get(SESSIONS, ()),
            missing=tuple(missing),
            gone=gone,
        )

    async def item(self, live: Live, item_id: str) -> ItemRows:
        """The rows of an item, all read at once; what is not live yet is empty and not missing."""
        good, missing, gone = await self._read(live, item_id, FOR_ITEM)
        item = good.get(ITEM, ())
        return ItemRows(
            item=item[0] if item else None,
            next_batch=good.get(NEXT_BATCH, ()),
            next_speed=good.get(NEXT_SPEED, ()),
            missing=tuple(missing),
            gone=gone,
        )

    async def _read(
        self, live: Live, id: str, wanted: Sequence[str]
    ) -> tuple[dict[str, Sequence[Any]], list[str], bool]:
        """The rows of each call that went well, the names of the others, and whether a table was gone."""
        calls: dict[str, Awaitable[Any]] = {}
        key = (id,)
        for name in wanted:
            layer, _, view = name.partition(".")
            table = (live.batch_tables if layer == "batch" else live.speed_tables).get(view)
            if table is not None:
                calls[name] = self._timed(name, self._call(name, table, key, live.since_ms))
        results = await asyncio.gather(*calls.values(), return_exceptions=True)
        good: dict[str, Sequence[Any]] = {}
        missing: list[str] = []
        gone = False
        for name, result in zip(calls, results, strict=True):
            if not isinstance(result, BaseException):
                good[name] = result
            elif isinstance(result, STORE_ERRORS):
                missing.append(name)
                gone = gone or isinstance(result, ViewMissing)
                self._metrics.store_failures.labels(name, type(result).__name__).inc()
            else:
                raise result
        return good, missing, gone

    def _call(self, name: str, table: Table, key: tuple[str], since_ms: int) -> Awaitable[list[Any]]:
        if name == PULSE:
            oldest_ms = time.time_ns() // 1_000_000 - duration_ms(PULSE_WINDOW) - GROUPS["pulse"].tile_ms
            since_ms = max(since_ms, oldest_ms)
        if name in (INTEREST, ACTIVITY, PULSE, NEXT_SPEED):
            return self._reader.partition(table, key, self._deadline_s, since=since_ms)
        limit = SESSIONS_SHOWN if name == SESSIONS else None
        return self._reader.partition(table, key, self._deadline_s, limit=limit)

    async def _timed(self, name: str, call: Awaitable[Any]) -> Any:
        with self._metrics.store_seconds.labels(name).time():
            return await call
