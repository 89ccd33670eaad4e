"""A small shop to answer about, and the in-memory edge that stands for the stores in pure tests."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from common.embedding import pack_history, pack_recommendations, write_model
from common.features.groups import GROUPS
from common.features.tiles import Tile, batch_tiles, fold, pack
from common.features.windows import HOUR_MS
from common.sessions import fold_session
from serving.catalogue import Catalogue
from serving.live import Live, SegmentList
from serving.stores import ITEM, NEXT_BATCH, NEXT_SPEED, ItemRows, VisitorRows
from views.pointer import Pointer
from views.tables import BATCH, SPEED, tables_of

CUT = 1_795_132_800_000  # 2026-11-20 00:00 UTC
CATEGORIES = ("tea.green", "tea.black", "cups.large", "toys.cars")
ITEMS_EACH = 10


def write_shop_model(folder: Path, version: str = "m1", cut_ms: int = CUT) -> Path:
    """Four tastes, ten items each: an item's factors point along its category, with a little of its own."""
    rng = np.random.default_rng(5)
    ids = [f"{category}-{i}" for category in CATEGORIES for i in range(ITEMS_EACH)]
    factors = np.zeros((len(ids), 8), dtype=np.float32)
    for c in range(len(CATEGORIES)):
        rows = slice(c * ITEMS_EACH, (c + 1) * ITEMS_EACH)
        factors[rows, c] = 0.8
        factors[rows] += rng.normal(0, 0.05, (ITEMS_EACH, 8)).astype(np.float32)
    write_model(
        folder / version,
        model_version=version,
        cut_ms=cut_ms,
        alpha=10.0,
        reg=0.1,
        item_ids=ids,
        factors=factors,
        categories=[category for category in CATEGORIES for _ in range(ITEMS_EACH)],
        titles=[f"Title of {item}" for item in ids],
        prices=[float(i + 1) for i in range(len(ids))],
    )
    return folder / version


def shop_event(item: str, at_ms: int, event_id: str, event_type: str = "view", visitor: str = "v") -> dict[str, Any]:
    """An admitted event's fields, as the features see them."""
    return {
        "event_id": event_id,
        "event_type": event_type,
        "visitor_id": visitor,
        "item_id": item,
        "category": item.rpartition("-")[0],
        "event_ms": at_ms,
        "price": None,
        "quantity": None,
        "line": None,
    }


def entries(events: Sequence[dict[str, Any]]) -> list[tuple[str, int, int, str]]:
    """Their history entries."""
    weights = {"view": 1, "cart": 3, "purchase": 5}
    return [(e["item_id"], weights[e["event_type"]], e["event_ms"], e["event_id"]) for e in events]


def profile_row(catalogue: Catalogue, events: Sequence[dict[str, Any]], cut_ms: int = CUT, **more: Any) -> Any:
    """A profile row as the batch layer would publish it for these events."""
    groups = {}
    for name in ("activity", "interest"):
        tiles = batch_tiles(GROUPS[name], events, cut_ms)
        if tiles:
            groups[name] = next(iter(tiles.values()))
    bought = sorted({catalogue.model.index[e["item_id"]] for e in events if e["event_type"] == "purchase"})
    row: dict[str, Any] = {
        "visitor_id": "v",
        "cut_ms": cut_ms,
        "features": pack(groups),
        "recency_days": None,
        "frequency": None,
        "monetary": None,
        "rfm": None,
        "segment_id": None,
        "segment": None,
        "age_band": None,
        "sessions": 1,
        "last_items": pack_history(entries(events)),
        "purchased": pack_recommendations(bought, [1.0] * len(bought)) if bought else None,
        "recommendations": None,
        "model_version": catalogue.version,
    }
    return SimpleNamespace(**(row | more))


def embedding_row(events: Sequence[dict[str, Any]], model_version: str = "m1") -> Any:
    """A row of the speed layer's history."""
    return SimpleNamespace(model_version=model_version, history=pack_history(entries(events)), updates=len(events))


def interest_rows(events: Sequence[dict[str, Any]]) -> list[Any]:
    """The speed layer's interest tiles of these events."""
    group = GROUPS["interest"]
    return [
        SimpleNamespace(tile_start=t.start, dim=t.dim, n=t.n, mass=t.values[0])
        for tiles in fold(group, events).values()
        for t in tiles.values()
    ]


def covisit_rows(tiles: Iterable[Tile]) -> list[Any]:
    """Tiles of the covisits of one item as either layer's table holds them."""
    return [SimpleNamespace(tile_start=t.start, dim=t.dim, n=t.n, mass=t.values[0]) for t in tiles]


def activity_rows(events: Sequence[dict[str, Any]]) -> list[Any]:
    """The speed layer's activity tiles of these events."""
    group = GROUPS["activity"]
    return [
        SimpleNamespace(tile_start=t.start, n=t.n, **dict(zip(group.aggregates, t.values, strict=True)))
        for tiles in fold(group, events).values()
        for t in tiles.values()
    ]


def session_row(events: Sequence[dict[str, Any]]) -> Any:
    """The speed layer's row of the session that these events are."""
    session = fold_session(events)
    return SimpleNamespace(**{name: getattr(session, name) for name in session.__struct_fields__})


def live_with(catalogue: Catalogue | None, segments: Sequence[SegmentList] = (), generation: str = "g1") -> Live:
    """A version and a generation are live."""
    batch = Pointer(
        "batch", "v20261120_1", cut_ms=CUT, model_version=catalogue.version if catalogue else None, serial=1
    )
    return Live(
        batch=batch,
        speed=Pointer("speed", generation, serial=1),
        catalogue=catalogue,
        segments={segment.segment_id: segment for segment in segments},
        batch_tables=tables_of(BATCH.values(), "v20261120_1"),
        speed_tables=tables_of(SPEED.values(), generation),
    )


@dataclass
class MemoryReads:
    """The same edge as CassandraReads, over dictionaries; ``away`` names calls that fail."""

    rows: dict[str, VisitorRows] = field(default_factory=dict)
    items: dict[str, ItemRows] = field(default_factory=dict)
    away: frozenset[str] = frozenset()
    before_read: Callable[[], None] | None = None

    async def visitor(self, live: Live, visitor_id: str, wanted: Sequence[str]) -> VisitorRows:
        """What was put in, without the calls that are away."""
        if self.before_read:
            self.before_read()
        known = self.rows.get(visitor_id, VisitorRows())
        names = {"profile": "batch.profile", "embeddings": "speed.user_embedding", "interest": "speed.tiles_interest"}
        names |= {"activity": "speed.tiles_activity", "sessions": "speed.sessions"}
        given = {a: getattr(known, a) for a, call in names.items() if call in wanted and call not in self.away}
        return VisitorRows(**given, missing=tuple(call for call in wanted if call in self.away))

    async def item(self, live: Live, item_id: str) -> ItemRows:
        """What was put in of an item, without the calls that are away."""
        known = self.items.get(item_id, ItemRows())
        names = {"item": ITEM, "next_batch": NEXT_BATCH, "next_speed": NEXT_SPEED}
        given = {a: getattr(known, a) for a, call in names.items() if call not in self.away}
        return ItemRows(**given, missing=tuple(call for call in names.values() if call in self.away))


NOW = CUT + 3 * HOUR_MS
