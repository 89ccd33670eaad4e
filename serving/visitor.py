"""One visitor, batch and speed merged. Pure: rows in, one value out."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.contracts.sessions import SESSIONS
from common.embedding import HistoryEntry, last_items, unpack_history, unpack_recommendations
from common.features.groups import GROUPS, FeatureGroup
from common.features.tiles import BatchTiles, Tile, unpack
from common.features.windows import HOUR_MS
from common.merge import Merged, answer, merge_tiles
from common.rfm import LiveRfm, live_rfm, live_segment
from common.segments import RULES, RuleSegment, rule_segments, visitor_values
from serving.live import Live
from serving.stores import PULSE_WINDOW, VisitorRows

WINDOWS: tuple[tuple[str, str, str | None], ...] = (
    ("5 minutes", "pulse", "5 minutes"),
    (PULSE_WINDOW, "pulse", PULSE_WINDOW),
    ("24 hours", "activity", "24 hours"),
    ("30 days", "activity", "30 days"),
    ("ever", "activity", None),
)
"""The windows a profile shows: name, group, span."""

FOR_RULES = {"activity": ("ever", "days", "hours"), "interest": ("days", "hours")}
"""What rules, and RFM as it is now, need of a profile's tiles."""

INTEREST_EVER = {"interest": ("ever", "hours")}
"""What a list needs of a profile's tiles."""


def now_ms() -> int:
    """Now, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Visitor:
    """What both layers know of a visitor.

    ``history`` is the merged last items, oldest first; ``live_events`` the ids of those that only speed knows;
    ``interests`` the decayed mass by category; ``purchased`` and ``listed`` are indexes of ``list_model``'s items.
    """

    has_profile: bool
    has_speed: bool
    history: tuple[HistoryEntry, ...]
    live_events: frozenset[str]
    interests: Mapping[str, float]
    segment_id: int | None
    purchased: NDArray[np.int32]
    listed: tuple[NDArray[np.int32], NDArray[np.float32]] | None
    list_model: str | None
    newest_speed_ms: int | None
    missing: tuple[str, ...]


def merge_visitor(rows: VisitorRows, live: Live, at_ms: int) -> Visitor:
    """Merge a visitor's rows as of ``at_ms``.

    Raises ContractError where a blob does not decode: a view that cannot be read is a defect, not a fallback.
    """
    profile = rows.profile
    batch_history = unpack_history(profile.last_items) if profile and profile.last_items else ()
    speed_history = [entry for row in rows.embeddings for entry in unpack_history(row.history)]
    history = last_items([*batch_history, *speed_history])
    known = {entry.event_id for entry in batch_history}
    merged = merged_group(GROUPS["interest"], batch_tiles(profile, INTEREST_EVER), rows.interest, live)
    interests = {dim: features["mass"] for dim, features in answer(GROUPS["interest"], merged, at_ms).items()}
    speed_times = [entry.event_ms for entry in speed_history]
    empty = np.empty(0, np.int32)
    return Visitor(
        has_profile=profile is not None,
        has_speed=bool(speed_history) or bool(rows.interest),
        history=history,
        live_events=frozenset(entry.event_id for entry in history if entry.event_id not in known),
        interests=interests,
        segment_id=profile.segment_id if profile else None,
        purchased=unpack_recommendations(profile.purchased)[0] if profile and profile.purchased else empty,
        listed=unpack_recommendations(profile.recommendations) if profile and profile.recommendations else None,
        list_model=profile.model_version if profile else None,
        newest_speed_ms=max(speed_times, default=None) or newest_tile_ms(rows.interest, at_ms),
        missing=rows.missing,
    )


def batch_tiles(profile: Any, only: Mapping[str, Collection[str]] | None = None) -> dict[str, BatchTiles]:
    """The batch tiles of a profile row, by group (``only`` as in ``unpack``); empty without one."""
    return unpack(profile.features, only) if profile is not None and profile.features else {}


def merged_group(group: FeatureGroup, batch: Mapping[str, BatchTiles], rows: Sequence[Any], live: Live) -> Merged:
    """A group's merged tiles; without a live cut everything comes from speed."""
    speed = [speed_tile(group, row) for row in rows]
    if live.cut_ms is None:
        ordered = tuple(sorted(speed, key=lambda tile: (tile.start, tile.dim)))
        return Merged(0, (), (), ordered, len(ordered))
    return merge_tiles(group, batch.get(group.name), speed, live.cut_ms)


def speed_tile(group: FeatureGroup, row: Any) -> Tile:
    """A row of a speed table as a tile."""
    values = tuple(getattr(row, name) for name in group.aggregates)
    return Tile(row.tile_start, row.dim if group.by else "", row.n, values)


def newest_tile_ms(rows: Sequence[Any], at_ms: int) -> int | None:
    """The end of the newest speed tile, or now where it has not ended: a bound of when speed last told something."""
    newest = max((row.tile_start + HOUR_MS for row in rows), default=None)
    return None if newest is None else min(newest, at_ms)


def feature_windows(
    live: Live, batch: Mapping[str, BatchTiles], speed: Mapping[str, Sequence[Any]], at_ms: int
) -> dict[str, dict[str, Any]]:
    """What a visitor did, by window; sums of money as text, so that none is rounded. ``speed`` has rows by group."""
    merged = {name: merged_group(GROUPS[name], batch, rows, live) for name, rows in speed.items()}
    out = {}
    for name, of, window in WINDOWS:
        group = GROUPS[of]
        features = answer(group, merged[of], at_ms, window).get("")
        if features is None:
            features = {"n": 0} | {key: a.finish(a.zero()) for key, a in group.aggregates.items()}
        out[name] = {key: _plain(value) for key, value in features.items()}
    return out


def held_rules(live: Live, batch: Mapping[str, BatchTiles], rows: VisitorRows, at_ms: int) -> list[RuleSegment]:
    """The rule segments that a visitor is in at ``at_ms``: by the merged features, the newest session, the profile."""
    speed = {"activity": rows.activity, "interest": rows.interest}
    merged = {name: merged_group(GROUPS[name], batch, tiles, live) for name, tiles in speed.items()}
    sessions = [{name: getattr(row, name) for name in SESSIONS.names} for row in rows.sessions]
    age_band = rows.profile.age_band if rows.profile is not None else None
    return [RULES[name] for name in rule_segments(visitor_values(merged, sessions, age_band, at_ms))]


def rfm_now(
    live: Live, profile: Any, batch: Mapping[str, BatchTiles], activity: Sequence[Any], at_ms: int
) -> tuple[LiveRfm | None, int | None]:
    """A visitor's figures at ``at_ms`` and the id of the segment that they lie in; nothing without a live cut."""
    if live.cut_ms is None:
        return None, None
    group = GROUPS["activity"]
    speed = [speed_tile(group, row) for row in activity]
    frequency, monetary = (profile.frequency, profile.monetary) if profile is not None else (None, None)
    figures = live_rfm(frequency, monetary, batch.get("activity"), speed, live.cut_ms, at_ms)
    if figures is None:
        return None, None
    centroids = {i: segment.centroid for i, segment in live.segments.items() if segment.centroid is not None}
    return figures, live_segment(figures, centroids, profile.segment_id if profile is not None else None)


def session_path(visitor: Visitor, start_ms: int, end_ms: int) -> list[str]:
    """The items of a visitor's merged history between two instants, inclusive, in order; repeats in a row once."""
    items = [entry.item_id for entry in visitor.history if start_ms <= entry.event_ms <= end_ms]
    return [item for item, before in zip(items, [None, *items], strict=False) if item != before]


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | str) else str(value)
