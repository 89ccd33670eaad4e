"""What is popular now: batch and speed tiles merged by the same rule as a visitor's, kept fresh behind requests."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from common.features.algebra import FIXED_POINT, Decayed
from common.features.groups import GROUPS
from common.features.tiles import ever_end
from common.features.windows import EVER, horizon_start, tile_start
from common.log import event, get
from serving.catalogue import Catalogue
from serving.live import STORE_ERRORS, Live, LiveViews
from views.reads import KeyReader
from views.schema import Table

GROUP = GROUPS["popularity"]
_MASS = GROUP.aggregates["mass"]
assert isinstance(_MASS, Decayed), "trending is made of a decayed sum"
HALF_LIFE_MS = _MASS.half_life_ms

HOT_TILES = 2
"""Newest tiles, read with every refresh; the others in turn, for late events."""

_TILE_DEADLINE_S = 5.0

log = get("serving.popularity")


@dataclass(frozen=True)
class TileMasses:
    """One tile's items: how many events and how much mass (billionths, relative to the tile's end) each has."""

    items: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Popularity:
    """Items by decayed mass at ``at_ms``, strongest first; the mass is a float in event weights."""

    at_ms: int = 0
    item_ids: tuple[str, ...] = ()
    masses: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def __len__(self) -> int:
        return len(self.item_ids)

    def scores(self, catalogue: Catalogue) -> NDArray[np.float32]:
        """Popularity of each item of a catalogue in [0, 1]: log(1 + mass) relative to the strongest item."""
        out = np.zeros(len(catalogue), dtype=np.float32)
        if not len(self):
            return out
        indexes = catalogue.model.indexes(self.item_ids)
        known = indexes >= 0
        logs = np.log1p(self.masses)
        out[indexes[known]] = logs[known] / logs[0] if logs[0] > 0 else 0.0
        return out


def merge_popularity(
    batch: Mapping[int, TileMasses], speed: Mapping[int, TileMasses], cut_ms: int | None, now_ms: int
) -> Popularity:
    """Merge by tile and item, the side that has seen more events wins, and sum the masses as of now.

    ``batch`` holds the tile EVER, relative to ``ever_end(cut_ms)``, and hour tiles; ``speed`` hour tiles.
    """
    border = horizon_start(cut_ms) if cut_ms is not None else 0
    at = tile_start(now_ms, GROUP.tile_ms) + GROUP.tile_ms
    totals: dict[str, float] = {}

    def add(items: Mapping[str, tuple[int, int]], end_ms: int) -> None:
        decay = 0.5 ** (max(0, at - end_ms) / HALF_LIFE_MS) / FIXED_POINT
        for item_id, (_, mass) in items.items():
            totals[item_id] = totals.get(item_id, 0.0) + mass * decay

    if cut_ms is not None and EVER in batch:
        add(batch[EVER].items, ever_end(cut_ms))
    starts = {start for start in (*batch, *speed) if start != EVER and start >= border}
    for start in sorted(starts):
        ours = batch[start].items if start in batch else {}
        theirs = speed[start].items if start in speed else {}
        merged = dict(ours)
        for item_id, (n, mass) in theirs.items():
            if item_id not in ours or n > ours[item_id][0]:
                merged[item_id] = (n, mass)
        add(merged, start + GROUP.tile_ms)
    ordered = sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))
    return Popularity(
        at, tuple(item_id for item_id, _ in ordered), np.array([mass for _, mass in ordered], dtype=np.float64)
    )


class PopularityRefresher:
    """Reads tiles in the background; requests see the last finished :class:`Popularity`."""

    def __init__(self, reader: KeyReader, live: LiveViews, refresh_s: float) -> None:
        self._reader = reader
        self._live = live
        self._refresh_s = refresh_s
        self._of: tuple[str | None, str | None] = (None, None)
        self._batch: dict[int, TileMasses] = {}
        self._speed: dict[int, TileMasses] = {}
        self._turn = 0
        self._scores: tuple[Catalogue, Popularity, NDArray[np.float32]] | None = None
        self.value = Popularity()
        self.read_at: float | None = None

    def scores(self, catalogue: Catalogue) -> NDArray[np.float32]:
        """The popularity of a catalogue's items, computed once per refresh."""
        have = self._scores
        if have is None or have[0] is not catalogue or have[1] is not self.value:
            have = self._scores = (catalogue, self.value, self.value.scores(catalogue))
        return have[2]

    async def run(self) -> None:
        """Refresh for ever; a store that is away leaves the last value in place."""
        while True:
            try:
                await self.refresh()
            except STORE_ERRORS as error:
                event(log, "popularity not read", cause=type(error).__name__)
            await asyncio.sleep(self._refresh_s)

    async def refresh(self) -> Popularity:
        """Read what may have changed and merge it."""
        live = self._live.value
        now_ms = time.time_ns() // 1_000_000
        if self._of != (live.view_version, live.generation):
            self._batch = await self._read_batch(live, now_ms)
            self._speed = {}
            self._of = (live.view_version, live.generation)
        table = live.speed_tables.get(GROUP.table)
        if table is not None:
            for start in self._due(live, now_ms):
                self._speed[start] = await self._read_tile(table, start)
            oldest = self._oldest(live, now_ms)
            self._speed = {start: tile for start, tile in self._speed.items() if start >= oldest}
        value = await asyncio.to_thread(merge_popularity, self._batch, self._speed, live.cut_ms, now_ms)
        if live.catalogue is not None:
            self._scores = (live.catalogue, value, await asyncio.to_thread(value.scores, live.catalogue))
        self.value = value
        self.read_at = asyncio.get_running_loop().time()
        return value

    def _oldest(self, live: Live, now_ms: int) -> int:
        """The oldest tile worth reading: since the horizon, or a week where nothing was published yet."""
        week = tile_start(now_ms - 7 * 86_400_000, GROUP.tile_ms)
        return max(week, tile_start(live.since_ms, GROUP.tile_ms))

    def _due(self, live: Live, now_ms: int) -> list[int]:
        newest = tile_start(now_ms, GROUP.tile_ms)
        starts = list(range(newest, self._oldest(live, now_ms) - 1, -GROUP.tile_ms))
        unread = [start for start in starts if start not in self._speed]
        hot = starts[:HOT_TILES]
        older = starts[HOT_TILES:]
        if older:
            self._turn = (self._turn + 1) % len(older)
            hot = [*hot, older[self._turn]]
        return list(dict.fromkeys([*unread, *hot]))

    async def _read_batch(self, live: Live, now_ms: int) -> dict[int, TileMasses]:
        table = live.batch_tables.get("popularity")
        if table is None or live.cut_ms is None:
            return {}
        hours = range(tile_start(live.since_ms, GROUP.tile_ms), live.cut_ms, GROUP.tile_ms)
        return {start: await self._read_tile(table, start) for start in (EVER, *hours)}

    async def _read_tile(self, table: Table, start: int) -> TileMasses:
        rows = await self._reader.partition(table, (start,), _TILE_DEADLINE_S)
        return TileMasses({row.item_id: (row.n, row.mass) for row in rows})
