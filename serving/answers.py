"""What the service answers, as typed rows; encoded with msgspec."""

from typing import Any

import msgspec

from serving.reasons import Reason


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item of a list. ``parts`` are the weighted parts of the score, given where they were asked for."""

    item_id: str
    title: str | None = None
    category: str | None = None
    price: float | None = None
    score: float
    reasons: list[Reason]
    parts: dict[str, float] | None = None


class Age(msgspec.Struct, frozen=True):
    """Milliseconds since the cut of the batch view, and since the newest event that the speed layer told of."""

    batch: int | None = None
    speed: int | None = None


class Basis(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer rests on; every answer begins with it.

    ``missing`` names the store calls that the answer had to do without; ``degraded`` says that there were any, or
    that nothing personal could be said for want of a model.
    """

    degraded: bool
    missing: list[str]
    sources: list[str]
    age_ms: Age
    view_version: str | None
    generation: str | None
    model_version: str | None


class Recommendations(Basis, frozen=True, kw_only=True, omit_defaults=True):
    """A ranked list for a visitor. ``level`` is personal, session, segment, trending or catalogue."""

    recommendation_id: str
    level: str
    items: list[Item]
    explanation: dict[str, Any] | None = None


class ItemList(Basis, frozen=True, kw_only=True, omit_defaults=True):
    """A list that is nobody's: trending, or items similar to one."""

    items: list[Item]
    item: Item | None = None


class LastItem(msgspec.Struct, frozen=True, kw_only=True):
    """One item event of the merged history, newest first in a profile."""

    item_id: str
    title: str | None
    weight: int
    event_ms: int
    layer: str


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One session as the speed layer knows it; ``closed`` is false while it is provisional.

    ``pages`` is its depth; ``path`` the items of its events in order, as far as the merged history reaches, an item
    that follows itself once; ``intent`` is defined in common/sessions.py.
    """

    session_start: int
    session_end: int
    duration_ms: int
    events: int
    pages: int
    items: int
    categories: int
    spend: str
    intent: int
    entry: str | None
    exit: str | None
    path: list[str]
    closed: bool


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """The visitor's segment by the batch layer."""

    segment_id: int
    segment: str
    size: int | None


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule segment the visitor is in right now, by the merge of both layers (common/segments.py)."""

    rule_segment: str
    title: str


class Rfm(msgspec.Struct, frozen=True, kw_only=True):
    """Recency, frequency, monetary at the cut."""

    recency_days: int
    frequency: int
    monetary: str
    scores: str | None


class LiveFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Recency, frequency, monetary now: batch's figures and what speed has seen beside (common/rfm.py)."""

    recency_days: int
    frequency: int
    monetary: str


class Profile(Basis, frozen=True, kw_only=True):
    """Everything both layers know of a visitor, merged. ``features`` by group-free name and window; sums as text."""

    visitor_id: str
    features: dict[str, dict[str, Any]]
    interests: list[dict[str, Any]]
    rfm: Rfm | None
    live_rfm: LiveFigures | None
    segment: Segment | None
    live_segment: Segment | None
    rules: list[Rule]
    sessions: list[SessionRow]
    sessions_before_cut: int | None
    last_items: list[LastItem]


class Segments(Basis, frozen=True, kw_only=True):
    """The segments a visitor is in: by the batch layer's clusters at the cut and now, and by rules over both layers."""

    visitor_id: str
    segments: list[Segment]
    live_segment: Segment | None
    rules: list[Rule]
    rfm: Rfm | None
    live_rfm: LiveFigures | None


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a request was refused with."""

    error: str
    detail: str
    field: str | None = None


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """An event that Kafka has acknowledged."""

    status: str
    topic: str
    partition: int
    offset: int
