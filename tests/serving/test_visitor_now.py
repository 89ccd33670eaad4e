"""What a profile says of now: figures and segment carried on from the cut, and a session's way through the items."""

import json
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from common.embedding import load_model
from common.features.groups import GROUPS
from common.features.tiles import batch_tiles, fold
from common.features.windows import DAY_MS, HOUR_MS, MINUTE_MS
from common.rfm import LiveRfm, read_centroid
from serving.catalogue import Catalogue
from serving.live import SegmentList
from serving.stores import VisitorRows
from serving.visitor import merge_visitor, rfm_now, session_path
from tests.serving.shop import CUT, NOW, embedding_row, live_with, profile_row, shop_event, write_shop_model

ACTIVITY = GROUPS["activity"]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory) -> Catalogue:
    return Catalogue(load_model(write_shop_model(tmp_path_factory.mktemp("models"))))


def bought(at_ms: int, event_id: str, price: str, line: int = 1) -> dict[str, Any]:
    event = shop_event("tea.green-1", at_ms, event_id, "purchase")
    return {**event, "price": Decimal(price), "quantity": 2, "line": line}


def activity_rows(events: list[dict[str, Any]]) -> list[Any]:
    tiles = fold(ACTIVITY, events).get("v", {}).values()
    return [
        SimpleNamespace(tile_start=t.start, n=t.n, **dict(zip(ACTIVITY.aggregates, t.values, strict=True)))
        for t in tiles
    ]


def segment(segment_id: int, recency: float, frequency: float, monetary: float) -> SegmentList:
    centre = {"recency_days": recency, "frequency": frequency, "monetary": monetary, "deviation": [1.0, 0.5, 1.0]}
    none = np.empty(0, np.int32)
    return SegmentList(
        segment_id, f"s{segment_id}", 5, none, none.astype(np.float32), read_centroid(json.dumps(centre))
    )


def test_an_order_of_this_minute_counts_beside_those_of_the_cut(catalogue: Catalogue) -> None:
    before = [bought(CUT - 30 * DAY_MS, "b1", "5.00"), bought(CUT - 30 * DAY_MS, "b2", "1.00", line=2)]
    after = [bought(NOW, "s1", "20.00")]
    profile = profile_row(catalogue, before, frequency=1, monetary=Decimal("12.00"), segment_id=4)
    live = live_with(catalogue, [segment(4, 40, 1, 10), segment(2, 1, 2, 50)])
    tiles = {"activity": batch_tiles(ACTIVITY, before, CUT)["v"]}
    figures, where = rfm_now(live, profile, tiles, activity_rows(after), NOW + MINUTE_MS)
    assert (figures, where) == (LiveRfm(0, 2, Decimal("52.00")), 2)
    figures, where = rfm_now(live, profile, tiles, [], NOW + MINUTE_MS)
    assert (figures, where) == (LiveRfm(30, 1, Decimal("12.00")), 4)


def test_a_visitor_whom_batch_has_never_seen_has_figures_too(catalogue: Catalogue) -> None:
    live = live_with(catalogue, [segment(2, 1, 2, 50)])
    figures, where = rfm_now(live, None, {}, activity_rows([bought(NOW, "s1", "3.00")]), NOW)
    assert (figures, where) == (LiveRfm(0, 1, Decimal("6.00")), 2)
    assert rfm_now(live, None, {}, activity_rows([shop_event("tea.green-1", NOW, "s2")]), NOW) == (None, None)


def test_a_segment_whose_run_did_not_say_its_scale_is_not_measured_against(catalogue: Catalogue) -> None:
    assert read_centroid('{"recency_days": 1, "frequency": 2, "monetary": 3}') is None


def test_a_sessions_path_is_the_merged_history_within_it_repeats_once(catalogue: Catalogue) -> None:
    seen = [shop_event("tea.green-1", CUT - HOUR_MS, "b1"), shop_event("tea.green-2", CUT - MINUTE_MS, "b2")]
    items = ("tea.green-2", "cups.large-1", "cups.large-1", "tea.green-2")
    clicks = [shop_event(item, CUT + i * MINUTE_MS, f"s{i}") for i, item in enumerate(items)]
    rows = VisitorRows(profile=profile_row(catalogue, seen), embeddings=[embedding_row(clicks)])
    visitor = merge_visitor(rows, live_with(catalogue), NOW)
    assert session_path(visitor, CUT - MINUTE_MS, CUT + 3 * MINUTE_MS) == [
        "tea.green-2",
        "cups.large-1",
        "tea.green-2",
    ]
    assert session_path(visitor, CUT + HOUR_MS, CUT + 2 * HOUR_MS) == []
