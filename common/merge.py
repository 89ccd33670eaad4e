"""Batch and speed, merged into one answer: no event counted twice, none missing within the horizon.

For each of the group's tiles since 48 hours before the cut, the whole tile of the layer that has seen more events
wins; what lies before comes from batch alone, as ``ever`` or as day tiles. Each layer folds a set of events that
grows, and within a tile the larger set holds the smaller one, so the larger ``n`` is the union of both.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from common.features.groups import FeatureGroup
from common.features.tiles import BatchTiles, Tile, ever_end, merge, rescale
from common.features.windows import DAY_MS, EVER, HORIZON_MS, duration_ms, horizon_start, tile_start

EMPTY = BatchTiles()


@dataclass(frozen=True)
class Merged:
    """The merged tiles of one key at a cut: ``ever``, ``days`` and the recent tiles of the winning layer.

    ``from_speed`` counts recent tiles won by the speed layer, for an answer's reasons.
    """

    cut_ms: int
    ever: tuple[Tile, ...]
    days: tuple[Tile, ...]
    recent: tuple[Tile, ...]
    from_speed: int


def merge_tiles(group: FeatureGroup, batch: BatchTiles | None, speed: Iterable[Tile], cut_ms: int) -> Merged:
    """Merge what batch published at ``cut_ms`` with the speed layer's tiles of the same key.

    Speed tiles that start before the horizon are passed over: batch has those events in ``ever`` and day tiles.
    """
    batch = batch or EMPTY
    border = horizon_start(cut_ms)
    recent = {(tile.start, tile.dim): tile for tile in batch.hours}
    from_speed = 0
    for tile in speed:
        if tile.start < border:
            continue
        have = recent.get((tile.start, tile.dim))
        if have is None or tile.n > have.n:
            recent[tile.start, tile.dim] = tile
            from_speed += 1
    ordered = tuple(recent[key] for key in sorted(recent))
    return Merged(cut_ms, batch.ever, batch.days, ordered, from_speed)


def window_tiles(group: FeatureGroup, merged: Merged, window: str | None, now_ms: int) -> list[tuple[Tile, int]]:
    """The tiles of a window that ends at ``now_ms``, each with the instant its values are relative to.

    ``window`` is a span such as ``"24 hours"``, or None for everything. The window's old end moves in steps of the
    group's tile, and of a UTC day where the window is longer than 48 hours; the tile it falls in is taken whole.
    """
    recent = [(tile, tile.start + group.tile_ms) for tile in merged.recent]
    if window is None:
        return [(tile, ever_end(merged.cut_ms)) for tile in merged.ever] + recent
    span = duration_ms(window)
    if span <= HORIZON_MS:
        oldest = tile_start(now_ms - span, group.tile_ms)
        return [(tile, end) for tile, end in recent if tile.start >= oldest]
    oldest = tile_start(now_ms - span, DAY_MS)
    days = [(tile, tile.start + DAY_MS) for tile in merged.days if tile.start >= oldest]
    return days + [(tile, end) for tile, end in recent if tile.start >= oldest]


def answer(
    group: FeatureGroup, merged: Merged, now_ms: int, window: str | None = None, dim: str | None = None
) -> dict[str, dict[str, Any]]:
    """Each feature of the group over a window, by dim (``""`` for a group without one).

    Decayed sums are given at the end of the tile that holds ``now_ms`` (of a later tile where one is there), the same
    instant for every key, so they compare; ``n`` is the number of events folded in. ``dim`` restricts to one value.
    """
    tiles = [(t, end) for t, end in window_tiles(group, merged, window, now_ms) if dim is None or t.dim == dim]
    at = max([tile_start(now_ms, group.tile_ms) + group.tile_ms, *(end for _, end in tiles)])
    by_dim: dict[str, Tile] = {}
    for tile, end in tiles:
        scaled = rescale(group, tile, end, at, start=EVER)
        have = by_dim.get(tile.dim)
        by_dim[tile.dim] = scaled if have is None else merge(group, have, scaled)
    return {
        key: {"n": tile.n}
        | {name: a.finish(v) for (name, a), v in zip(group.aggregates.items(), tile.values, strict=True)}
        for key, tile in sorted(by_dim.items())
    }
