"""Tiles: the fold of a set of events, and the packed form in which a profile row carries a visitor's tiles."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from common.contracts.events import MONEY
from common.errors import ContractError
from common.features.groups import GROUPS, FeatureGroup
from common.features.windows import DAY_MS, EVER, horizon_start, tile_start


@dataclass(frozen=True)
class Tile:
    """One tile: its start (EVER for all before the horizon), its dim (empty where the group has none), ``n`` events
    and the aggregates' values in the group's order."""

    start: int
    dim: str
    n: int
    values: tuple[Any, ...]


@dataclass(frozen=True)
class BatchTiles:
    """What batch knows of one key and group at a cut.

    ``ever`` folds everything before cut - 48 h, relative to that instant; ``days`` the same events by UTC day,
    relative to each day's end (the last day may be cut short); ``hours`` the group's own tiles from there to the cut.
    """

    ever: tuple[Tile, ...] = ()
    days: tuple[Tile, ...] = ()
    hours: tuple[Tile, ...] = field(default=())


def folds(group: FeatureGroup, row: Mapping[str, Any]) -> bool:
    """Whether the group takes the event: it has a key and meets the group's condition."""
    if row.get(group.key) is None or (group.by is not None and row.get(group.by) is None):
        return False
    return group.where.evaluate(row) is True


def fold(
    group: FeatureGroup, events: Iterable[Mapping[str, Any]], tile_ms: int | None = None
) -> dict[str, dict[tuple[int, str], Tile]]:
    """Fold events into tiles, by key, then by (start, dim): the plain statement of what both engines compute."""
    span = tile_ms or group.tile_ms
    tiles: dict[str, dict[tuple[int, str], Tile]] = {}
    for row in events:
        if not folds(group, row):
            continue
        start = tile_start(row["event_ms"], span)
        dim = row[group.by] if group.by else ""
        one = Tile(start, dim, 1, tuple(a.lift(row, start + span) for a in group.aggregates.values()))
        of_key = tiles.setdefault(row[group.key], {})
        have = of_key.get((start, dim))
        of_key[start, dim] = one if have is None else merge(group, have, one)
    return tiles


def merge(group: FeatureGroup, a: Tile, b: Tile) -> Tile:
    """The tile of both sets of events; both are relative to the same instant."""
    values = tuple(g.merge(x, y) for g, x, y in zip(group.aggregates.values(), a.values, b.values, strict=True))
    return Tile(a.start, a.dim, a.n + b.n, values)


def rescale(group: FeatureGroup, tile: Tile, from_ms: int, to_ms: int, start: int | None = None) -> Tile:
    """The tile relative to a later instant; ``start`` renames it."""
    values = tuple(g.rescale(x, from_ms, to_ms) for g, x in zip(group.aggregates.values(), tile.values, strict=True))
    return Tile(tile.start if start is None else start, tile.dim, tile.n, values)


def batch_tiles(group: FeatureGroup, events: Iterable[Mapping[str, Any]], cut_ms: int) -> dict[str, BatchTiles]:
    """What batch answers for these events at a cut, by key: the oracle of jobs/features.py.

    ``ever`` is folded from day tiles, oldest first, each step rescaled to the next day's end: so it does not depend
    on the order of events, and a further day is one more step. It is then rescaled to the end of the day that holds
    the horizon's start; the last day's tile may be cut short there.
    """
    rows = [row for row in events if row["event_ms"] < cut_ms]
    border = horizon_start(cut_ms)
    days = fold(group, (row for row in rows if row["event_ms"] < border), DAY_MS)
    hours = fold(group, (row for row in rows if row["event_ms"] >= border))
    at = ever_end(cut_ms)
    result = {}
    for key in sorted(days.keys() | hours.keys()):
        day_tiles = sorted(days.get(key, {}).values(), key=lambda t: (t.start, t.dim))
        ever: dict[str, Tile] = {}
        for day in day_tiles:
            ever[day.dim] = append_day(group, ever[day.dim], day) if day.dim in ever else day
        result[key] = BatchTiles(
            ever=tuple(rescale(group, t, t.start + DAY_MS, at, start=EVER) for _, t in sorted(ever.items())),
            days=tuple(day_tiles),
            hours=tuple(sorted(hours.get(key, {}).values(), key=lambda t: (t.start, t.dim))),
        )
    return result


def append_day(group: FeatureGroup, ever: Tile, day: Tile) -> Tile:
    """``ever``, relative to the end of the day it starts at, and a later day's tile: as that day's tile."""
    return merge(group, day, rescale(group, ever, ever.start + DAY_MS, day.start + DAY_MS, start=day.start))


def ever_end(cut_ms: int) -> int:
    """The instant to which ``ever`` is relative: the end of the UTC day that holds the horizon's start."""
    border = horizon_start(cut_ms)
    return -(-border // DAY_MS) * DAY_MS


_SPANS = ("ever", "days", "hours")


def pack(groups: Mapping[str, BatchTiles]) -> bytes:
    """A visitor's batch tiles of several groups as one blob (MessagePack; decimals as text)."""
    body = {
        name: [[(t.start, t.dim, t.n, t.values) for t in getattr(tiles, span)] for span in _SPANS]
        for name, tiles in groups.items()
    }
    return msgspec.msgpack.encode(body)


_packed = msgspec.msgpack.Decoder(dict[str, list[msgspec.Raw]])
_packed_span = msgspec.msgpack.Decoder(list[tuple[int, str, int, list[Any]]])


def unpack(blob: bytes, only: Mapping[str, Collection[str]] | None = None) -> dict[str, BatchTiles]:
    """The inverse of :func:`pack`; raises ContractError where the blob names an unknown group or is not one.

    ``only`` names the groups, and of each the spans (ever, days, hours), that are wanted; the rest is left out
    unread: an old visitor's day tiles are most of a blob.
    """
    try:
        body = _packed.decode(blob)
        return {
            name: _unpack_group(name, spans, _SPANS if only is None else only[name])
            for name, spans in body.items()
            if only is None or name in only
        }
    except (msgspec.DecodeError, ArithmeticError, IndexError, TypeError, ValueError) as error:
        raise ContractError(f"features blob of {len(blob)} bytes does not decode: {type(error).__name__}") from error


def _unpack_group(name: str, spans: list[msgspec.Raw], wanted: Collection[str]) -> BatchTiles:
    if name not in GROUPS:
        raise ContractError(f"features blob names the group {name}, which is not declared in common/features/groups.py")
    decimals = [i for i, a in enumerate(GROUPS[name].aggregates.values()) if a.kind == MONEY]
    return BatchTiles(
        **{
            span: tuple(_unpack_tile(tile, decimals) for tile in _packed_span.decode(raw))
            for span, raw in zip(_SPANS, spans, strict=True)
            if span in wanted
        }
    )


def _unpack_tile(tile: tuple[int, str, int, list[Any]], decimals: list[int]) -> Tile:
    start, dim, n, values = tile
    for i in decimals:
        values[i] = Decimal(values[i])
    return Tile(start, dim, n, tuple(values))
