"""From a merged visitor to an explained list, down a chain of fallbacks. Pure: no I/O, no clock.

level      what the list is made from
personal   the merged last items folded in with the model's factors and blended with items like them, interests,
           popularity
session    the same from what speed alone knows: a visitor without a batch profile, or whose profile is missing
segment    the top list of the visitor's segment, popularity
trending   popularity alone
catalogue  the catalogue in its own order
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.blend import MODEL, Blend, Relevance
from common.blend import relevance as blended_relevance
from common.contracts.events import EVENT_WEIGHTS
from common.embedding import HistoryEntry
from serving.answers import Item
from serving.catalogue import Catalogue
from serving.live import Live, SegmentList
from serving.popularity import Popularity
from serving.ranking import Parts, rank, weigh
from serving.reasons import Contributions, Reason, contributions, explain
from serving.settings import Weights
from serving.stores import EMBEDDING, INTEREST, PROFILE
from serving.visitor import Visitor

LEVELS = ("personal", "session", "segment", "trending", "catalogue")


@dataclass(frozen=True)
class Listed:
    """A ranked list, the level that made it, and what it came from."""

    level: str
    items: list[Item]
    sources: list[str]
    explanation: dict[str, Any] = field(default_factory=dict)


def recommend(
    visitor: Visitor,
    live: Live,
    popularity: Popularity,
    popularity_scores: NDArray[np.float32] | None,
    weights: Weights,
    n: int,
    explained: bool = False,
) -> Listed:
    """The ``n`` best items for a visitor, from the first level that has something to say.

    ``popularity_scores`` are those of the live catalogue; needed where there is one.
    """
    catalogue = live.catalogue
    if catalogue is None or popularity_scores is None:
        return _without_catalogue(popularity, n)
    shares = contributions(catalogue, visitor.history)
    interest = catalogue.interest(dict(visitor.interests), weights.branch)
    listed = visitor.listed if visitor.list_model == catalogue.version else None
    segment = live.segments.get(visitor.segment_id) if visitor.segment_id is not None else None
    level = _level(visitor, shares, listed, bool(interest.any()), segment, popularity_scores)
    from_list = level == "personal" and shares is None and listed is not None
    actions = _strongest_actions(catalogue, visitor.history)
    bought = _bought(catalogue, visitor, actions)
    relevance = np.zeros(len(catalogue), dtype=np.float32)
    blended: Relevance | None = None
    if level in ("personal", "session") and shares is not None:
        scores = catalogue.model.factors @ shares.vector.astype(np.float32)
        unwanted = bought if weights.exclude_purchased else bought[:0]
        blended = blended_relevance(scores, live.blend, shares.indexes, shares.weights, unwanted)
        relevance = blended.scores
    elif from_list and listed is not None:
        relevance[listed[0]] = listed[1]
    elif level == "segment" and segment is not None:
        relevance[segment.indexes] = segment.scores
    parts = weigh(weights, relevance, interest, popularity_scores)
    familiar = np.array([i for i in actions if i not in set(bought.tolist())], dtype=np.int32)
    if level == "catalogue":
        return _catalogue(catalogue, visitor, weights, bought, n)
    ranked = rank(weights, parts, catalogue.category_of, n, bought, familiar)
    reasons = explain(catalogue, ranked.indexes, parts, shares, blended, actions, from_list)
    if level == "segment" and segment is not None:
        reasons = [_of_segment(segment, reason) for reason in reasons]
    items = [
        _item(catalogue, int(index), float(score), why, parts if explained else None)
        for index, score, why in zip(ranked.indexes, ranked.scores, reasons, strict=True)
    ]
    explanation = _explanation(catalogue, visitor, shares, live.blend, weights) if explained else {}
    return Listed(level, items, _sources(level, visitor, popularity), explanation)


def _level(
    visitor: Visitor,
    shares: Contributions | None,
    listed: object,
    interested: bool,
    segment: SegmentList | None,
    popularity_scores: NDArray[np.float32],
) -> str:
    if visitor.has_profile and (shares is not None or listed is not None or interested):
        return "personal"
    if visitor.has_speed and (shares is not None or interested):
        return "session"
    if segment is not None and len(segment.indexes):
        return "segment"
    return "trending" if popularity_scores.any() else "catalogue"


def _strongest_actions(catalogue: Catalogue, history: tuple[HistoryEntry, ...]) -> dict[int, int]:
    """The strongest event weight of each known item in the history."""
    actions: dict[int, int] = {}
    for entry in history:
        index = catalogue.model.index.get(entry.item_id)
        if index is not None:
            actions[index] = max(entry.weight, actions.get(index, 0))
    return actions


def _bought(catalogue: Catalogue, visitor: Visitor, actions: Mapping[int, int]) -> NDArray[np.int32]:
    """What the visitor bought: by batch up to the cut, by the history since."""
    fresh = [index for index, weight in actions.items() if weight >= EVENT_WEIGHTS["purchase"]]
    before = visitor.purchased if visitor.list_model == catalogue.version else np.empty(0, np.int32)
    return np.union1d(before, np.array(fresh, dtype=np.int32)).astype(np.int32)


def _item(catalogue: Catalogue, index: int, score: float, reasons: list[Reason], parts: Parts | None) -> Item:
    model = catalogue.model
    return Item(
        item_id=model.item_ids[index],
        title=model.titles[index],
        category=model.categories[index],
        price=catalogue.price(index),
        score=round(score, 6),
        reasons=reasons,
        parts=None
        if parts is None
        else {
            "relevance": round(float(parts.relevance[index]), 6),
            "interest": round(float(parts.interest[index]), 6),
            "popularity": round(float(parts.popularity[index]), 6),
        },
    )


def _of_segment(segment: SegmentList, reasons: list[Reason]) -> list[Reason]:
    others = [reason for reason in reasons if reason.kind == "interest"]
    share = round(1.0 - sum(reason.share for reason in others), 3)
    return [Reason("segment", f"Popular with {segment.segment}", share), *others]


def _catalogue(catalogue: Catalogue, visitor: Visitor, weights: Weights, bought: NDArray[np.int32], n: int) -> Listed:
    order = catalogue.by_title
    if weights.exclude_purchased and len(bought):
        order = order[~np.isin(order, bought)]
    why = [Reason("catalogue", "From the catalogue", 1.0)]
    return Listed("catalogue", [_item(catalogue, int(i), 0.0, why, None) for i in order[:n]], ["batch.model"])


def trending_items(popularity: Popularity, catalogue: Catalogue | None, n: int) -> list[Item]:
    """The ``n`` most popular items; their mass is the score."""
    items = []
    for item_id, mass in zip(popularity.item_ids[:n], popularity.masses[:n], strict=True):
        why = [Reason("trending", "Popular right now", 1.0)]
        index = catalogue.model.index.get(item_id) if catalogue else None
        if catalogue is None or index is None:
            items.append(Item(item_id=item_id, score=round(float(mass), 6), reasons=why))
        else:
            items.append(_item(catalogue, index, float(mass), why, None))
    return items


def _without_catalogue(popularity: Popularity, n: int) -> Listed:
    """Before the first model: what is popular, by item id alone; an empty catalogue else."""
    items = trending_items(popularity, None, n)
    return Listed("trending" if items else "catalogue", items, ["popularity"] if items else [])


def _sources(level: str, visitor: Visitor, popularity: Popularity) -> list[str]:
    sources = ["batch.model"]
    if level in ("personal", "session"):
        sources += [PROFILE] if visitor.has_profile else []
        sources += [EMBEDDING] if visitor.live_events else []
        sources += [INTEREST] if visitor.has_speed else []
    elif level == "segment":
        sources += [PROFILE, "batch.segments"]
    return [*sources, "popularity"] if len(popularity) else sources


def _explanation(
    catalogue: Catalogue, visitor: Visitor, shares: Contributions | None, blend: Blend | None, weights: Weights
) -> dict[str, Any]:
    known = catalogue.model.index
    return {
        "weights": {"relevance": weights.relevance, "interest": weights.interest, "popularity": weights.popularity},
        "blend": {MODEL: 1.0} if blend is None else dict(blend.weights),
        "history": [
            {
                "item_id": entry.item_id,
                "weight": entry.weight,
                "event_ms": entry.event_ms,
                "layer": "speed" if entry.event_id in visitor.live_events else "batch",
                "known": entry.item_id in known,
            }
            for entry in reversed(visitor.history)
        ],
        "interests": {k: round(v, 6) for k, v in sorted(visitor.interests.items(), key=lambda kv: (-kv[1], kv[0]))},
        "vector_norm": None if shares is None else round(float(np.linalg.norm(shares.vector)), 6),
    }
