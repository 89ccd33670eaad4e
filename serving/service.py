"""The service behind the routes: reads, merges, answers. One object for the life of the application."""

import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from common.admission import Policy
from common.embedding import unpack_recommendations
from common.errors import ContractError
from common.features.tiles import BatchTiles
from common.rfm import LiveRfm
from serving.answers import (
    Age,
    Basis,
    Item,
    ItemList,
    LastItem,
    LiveFigures,
    Profile,
    Recommendations,
    Rfm,
    Rule,
    Segment,
    Segments,
    SessionRow,
)
from serving.catalogue import Catalogue
from serving.following import merge_following, rank_near
from serving.live import STORE_ERRORS, Live, LiveViews
from serving.metrics import Metrics
from serving.popularity import PopularityRefresher
from serving.reasons import Reason
from serving.recommend import recommend, trending_items
from serving.settings import Settings
from serving.stores import (
    ACTIVITY,
    EMBEDDING,
    FOR_LIST,
    FOR_PROFILE,
    FOR_SEGMENTS,
    INTEREST,
    ITEM,
    NEXT_BATCH,
    NEXT_SPEED,
    PROFILE,
    PULSE,
    SESSIONS,
    ItemRows,
    VisitorReads,
    VisitorRows,
)
from serving.visitor import (
    FOR_RULES,
    Visitor,
    batch_tiles,
    feature_windows,
    held_rules,
    merge_visitor,
    newest_tile_ms,
    now_ms,
    rfm_now,
    session_path,
)

Rows = TypeVar("Rows", ItemRows, VisitorRows)


class UnknownVisitor(Exception):
    """Neither layer has heard of the visitor."""


class UnknownItem(Exception):
    """The item is in no catalogue."""


class Service:
    """Answers about visitors and items."""

    def __init__(
        self,
        settings: Settings,
        policy: Policy,
        live: LiveViews,
        reads: VisitorReads,
        popularity: PopularityRefresher,
        metrics: Metrics,
    ) -> None:
        self.settings = settings
        self.policy = policy
        self.live = live
        self.reads = reads
        self.popularity = popularity
        self.metrics = metrics

    async def recommendations(self, kind: str, raw_id: str, n: int, explained: bool) -> Recommendations:
        """A list for whoever asks: of a visitor unknown to both layers, the later levels of the chain."""
        live, rows = await self._rows(kind, raw_id, FOR_LIST)
        visitor = merge_visitor(rows, live, now_ms())
        scores = self.popularity.scores(live.catalogue) if live.catalogue is not None else None
        listed = recommend(visitor, live, self.popularity.value, scores, self.settings.ranking, n, explained)
        self.metrics.levels.labels(listed.level).inc()
        return Recommendations(
            **self._basis(live, listed.sources, visitor.missing, visitor.newest_speed_ms),
            recommendation_id=uuid.uuid4().hex,
            level=listed.level,
            items=listed.items,
            explanation=listed.explanation if explained else None,
        )

    async def profile(self, kind: str, raw_id: str) -> Profile:
        """Everything both layers know of a visitor; raises UnknownVisitor where that is nothing."""
        live, rows = await self._rows(kind, raw_id, FOR_PROFILE)
        at = now_ms()
        visitor = merge_visitor(rows, live, at)
        self._require_known(rows)
        tiles = batch_tiles(rows.profile)
        features = feature_windows(live, tiles, {"activity": rows.activity, "pulse": rows.pulse}, at)
        figures, segment_id = rfm_now(live, rows.profile, tiles, rows.activity, at)
        sources = [PROFILE] if visitor.has_profile else []
        of_speed = {
            EMBEDDING: rows.embeddings,
            ACTIVITY: rows.activity,
            PULSE: rows.pulse,
            SESSIONS: rows.sessions,
        }
        sources += [name for name, found in of_speed.items() if found]
        total = sum(visitor.interests.values())
        return Profile(
            **self._basis(live, sources, rows.missing, visitor.newest_speed_ms),
            visitor_id=self.policy.pseudonym(kind, raw_id),
            features=features,
            interests=[
                {"category": category, "mass": round(mass, 6), "share": round(mass / total, 4) if total else 0.0}
                for category, mass in sorted(visitor.interests.items(), key=lambda pair: (-pair[1], pair[0]))
            ],
            rfm=_rfm(rows.profile),
            live_rfm=_figures(figures),
            segment=_segment(live, rows.profile),
            live_segment=_listed(live, segment_id),
            rules=_rules(live, tiles, rows, at),
            sessions=[_session(row, visitor) for row in rows.sessions],
            sessions_before_cut=rows.profile.sessions if rows.profile else None,
            last_items=_last_items(live.catalogue, visitor),
        )

    async def segments(self, kind: str, raw_id: str) -> Segments:
        """The segments of a visitor; raises UnknownVisitor where neither layer has heard of it."""
        live, rows = await self._rows(kind, raw_id, FOR_SEGMENTS)
        self._require_known(rows)
        segment, at = _segment(live, rows.profile), now_ms()
        tiles = batch_tiles(rows.profile, FOR_RULES)
        figures, segment_id = rfm_now(live, rows.profile, tiles, rows.activity, at)
        found = {PROFILE: rows.profile, INTEREST: rows.interest, ACTIVITY: rows.activity, SESSIONS: rows.sessions}
        return Segments(
            **self._basis(live, [name for name, rows_of in found.items() if rows_of], rows.missing, None),
            visitor_id=self.policy.pseudonym(kind, raw_id),
            segments=[segment] if segment else [],
            live_segment=_listed(live, segment_id),
            rules=_rules(live, tiles, rows, at),
            rfm=_rfm(rows.profile),
            live_rfm=_figures(figures),
        )

    async def similar(self, item_id: str, n: int) -> ItemList:
        """Items like one, by the batch layer's list or else the model's factors, and items turned to next after it.

        Raises UnknownItem where neither the view nor the model knows the item.
        """
        live, rows = await self._item(item_id)
        catalogue, row, at = live.catalogue, rows.item, now_ms()
        index = catalogue.model.index.get(item_id) if catalogue else None
        if row is None and index is None:
            raise UnknownItem
        sources: list[str] = []
        items: list[Item] = []
        alike = (np.empty(0, np.int32), np.empty(0, np.float32))
        if catalogue is not None and row is not None and row.similar and row.model_version == catalogue.version:
            alike, sources = unpack_recommendations(row.similar), [ITEM]
        elif catalogue is not None and index is not None:
            cosine = catalogue.model.unit @ catalogue.model.unit[index]
            cosine[index] = -np.inf
            best = np.argsort(-cosine, kind="stable")[:n].astype(np.int32)
            alike, sources = (best, cosine[best]), ["batch.model"]
        if catalogue is not None:
            near = rank_near(catalogue, item_id, alike, merge_following(rows, live, at), n)
            items = [_bare(catalogue, one.index, one.score, one.reasons) for one in near]
        sources += [name for name, found in ((NEXT_BATCH, rows.next_batch), (NEXT_SPEED, rows.next_speed)) if found]
        one: Item | None = None
        if catalogue is not None and index is not None:
            one = _bare(catalogue, index, 1.0, [])
        elif row is not None:
            price = None if row.price is None else float(row.price)
            one = Item(item_id=item_id, title=row.title, category=row.category, price=price, score=1.0, reasons=[])
        return ItemList(
            **self._basis(live, sources, rows.missing, newest_tile_ms(rows.next_speed, at)), items=items, item=one
        )

    def trending(self, n: int) -> ItemList:
        """What is popular now, as of the last refresh."""
        live = self.live.value
        items = trending_items(self.popularity.value, live.catalogue, n)
        return ItemList(**self._basis(live, ["popularity"] if items else [], (), None), items=items)

    async def _rows(self, kind: str, raw_id: str, wanted: tuple[str, ...]) -> tuple[Live, VisitorRows]:
        """A visitor's rows, and what was live when they were read."""
        visitor_id = self.policy.pseudonym(kind, raw_id)
        return await self._of_live(lambda live: self.reads.visitor(live, visitor_id, wanted))

    async def _item(self, item_id: str) -> tuple[Live, ItemRows]:
        """An item's rows, and what was live when they were read."""
        return await self._of_live(lambda live: self.reads.item(live, item_id))

    async def _of_live(self, read: Callable[[Live], Awaitable[Rows]]) -> tuple[Live, Rows]:
        """Rows, and what was live when they were read.

        A table that is gone means that the pointer went on by more than the kept versions: look again, once.
        """
        live = self.live.value
        rows = await read(live)
        if rows.gone:
            try:
                live = await self.live.refresh()
            except STORE_ERRORS:
                return live, rows
            rows = await read(live)
        return live, rows

    def _basis(
        self, live: Live, sources: list[str], missing: tuple[str, ...] | list[str], newest_speed_ms: int | None
    ) -> dict[str, Any]:
        at = now_ms()
        lacks_model = live.batch is not None and bool(live.batch.model_version) and live.catalogue is None
        lacking = [*missing, *(["batch.model"] if lacks_model else [])]
        if lacking:
            self.metrics.degraded.inc()
        basis = Basis(
            degraded=bool(lacking),
            missing=lacking,
            sources=sources,
            age_ms=Age(
                batch=None if live.cut_ms is None else at - live.cut_ms,
                speed=None if newest_speed_ms is None else at - newest_speed_ms,
            ),
            view_version=live.view_version,
            generation=live.generation,
            model_version=live.catalogue.version if live.catalogue else None,
        )
        return {name: getattr(basis, name) for name in Basis.__struct_fields__}

    @staticmethod
    def _require_known(rows: VisitorRows) -> None:
        known = rows.profile or rows.embeddings or rows.interest or rows.activity or rows.sessions
        if not known and not rows.missing:
            raise UnknownVisitor


def playground_visitors(settings: Settings) -> list[dict[str, str]]:
    """The sample visitors of the playground's file; empty without one. Raises ContractError where it is not one."""
    path = settings.playground_visitors
    if path is None or not path.is_file():
        return []
    try:
        rows = json.loads(path.read_text())
        return [
            {"id": str(row["id"]), "kind": str(row.get("kind", "user")), "label": str(row.get("label", row["id"]))}
            for row in rows
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ContractError(f"{path} is not a list of visitors with id, kind and label") from error


def _bare(catalogue: Catalogue, index: int, score: float, reasons: list[Reason]) -> Item:
    model = catalogue.model
    return Item(
        item_id=model.item_ids[index],
        title=model.titles[index],
        category=model.categories[index],
        price=catalogue.price(index),
        score=round(score, 6),
        reasons=reasons,
    )


def _rfm(profile: Any) -> Rfm | None:
    if profile is None or profile.recency_days is None:
        return None
    return Rfm(
        recency_days=profile.recency_days,
        frequency=profile.frequency,
        monetary=str(profile.monetary),
        scores=profile.rfm,
    )


def _segment(live: Live, profile: Any) -> Segment | None:
    if profile is None or profile.segment_id is None:
        return None
    known = live.segments.get(profile.segment_id)
    return Segment(segment_id=profile.segment_id, segment=profile.segment, size=known.size if known else None)


def _rules(live: Live, batch: Mapping[str, BatchTiles], rows: VisitorRows, at_ms: int) -> list[Rule]:
    return [Rule(rule_segment=rule.name, title=rule.title) for rule in held_rules(live, batch, rows, at_ms)]


def _figures(rfm: LiveRfm | None) -> LiveFigures | None:
    if rfm is None:
        return None
    return LiveFigures(recency_days=rfm.recency_days, frequency=rfm.frequency, monetary=str(rfm.monetary))


def _listed(live: Live, segment_id: int | None) -> Segment | None:
    if segment_id is None:
        return None
    known = live.segments[segment_id]
    return Segment(segment_id=segment_id, segment=known.segment, size=known.size)


def _session(row: Any, visitor: Visitor) -> SessionRow:
    return SessionRow(
        session_start=row.session_start,
        session_end=row.session_end,
        duration_ms=row.session_end - row.session_start,
        events=row.events or 0,
        pages=row.pages or 0,
        items=row.items or 0,
        categories=row.categories or 0,
        spend=str(row.spend or 0),
        intent=row.intent or 0,
        entry=row.entry,
        exit=row.exit,
        path=session_path(visitor, row.session_start, row.session_end),
        closed=bool(row.closed),
    )


def _last_items(catalogue: Catalogue | None, visitor: Visitor) -> list[LastItem]:
    index = catalogue.model.index if catalogue else {}
    titles = catalogue.model.titles if catalogue else ()
    return [
        LastItem(
            item_id=entry.item_id,
            title=titles[index[entry.item_id]] if entry.item_id in index else None,
            weight=entry.weight,
            event_ms=entry.event_ms,
            layer="speed" if entry.event_id in visitor.live_events else "batch",
        )
        for entry in reversed(visitor.history)
    ]
