"""Popularity: tile by tile the layer that has seen more, masses as of now."""

import numpy as np
import pytest

from common.features.algebra import FIXED_POINT
from common.features.groups import GROUPS
from common.features.tiles import Tile, ever_end, fold
from common.features.tiles import batch_tiles as oracle_batch
from common.features.windows import EVER, HOUR_MS
from common.merge import answer, merge_tiles
from serving.catalogue import Catalogue
from serving.popularity import HALF_LIFE_MS, Popularity, TileMasses, merge_popularity
from tests.serving.shop import CUT, NOW, shop_event

UNIT = FIXED_POINT


def masses(popularity: Popularity) -> dict[str, float]:
    return dict(zip(popularity.item_ids, popularity.masses.tolist(), strict=True))


def test_the_layer_that_has_seen_more_of_an_item_in_a_tile_wins() -> None:
    start = CUT - HOUR_MS
    batch = {start: TileMasses({"a": (5, 5 * UNIT), "b": (1, UNIT)})}
    speed = {start: TileMasses({"a": (4, 4 * UNIT), "b": (2, 2 * UNIT), "c": (1, UNIT)})}
    found = masses(merge_popularity(batch, speed, CUT, CUT - 1))
    assert found == pytest.approx({"a": 5.0, "b": 2.0, "c": 1.0})


def test_speed_tiles_before_the_horizon_are_in_ever_already() -> None:
    old = CUT - 60 * HOUR_MS
    batch = {EVER: TileMasses({"a": (9, 9 * UNIT)})}
    found = masses(merge_popularity(batch, {old: TileMasses({"a": (9, 9 * UNIT)})}, CUT, CUT))
    age = CUT + HOUR_MS - ever_end(CUT)
    assert found == pytest.approx({"a": 9 * 0.5 ** (age / HALF_LIFE_MS)})


def test_without_a_cut_speed_alone_counts() -> None:
    assert masses(merge_popularity({}, {NOW: TileMasses({"a": (1, UNIT)})}, None, NOW)) == pytest.approx({"a": 1.0})
    assert len(merge_popularity({}, {}, None, NOW)) == 0


def test_popularity_is_the_answer_of_the_merge(catalogue: Catalogue) -> None:
    group = GROUPS["popularity"]
    events = [
        shop_event(f"tea.green-{i % 4}", CUT - 70 * HOUR_MS + i * HOUR_MS, f"e{i}", "cart" if i % 3 else "view")
        for i in range(72)
    ]
    by_item = oracle_batch(group, events, CUT)
    batch: dict[int, dict[str, tuple[int, int]]] = {}
    for item, tiles in by_item.items():
        for tile in (*tiles.ever, *tiles.hours):
            batch.setdefault(tile.start, {})[item] = (tile.n, tile.values[0])
    speed_tiles: dict[str, list[Tile]] = {k: list(v.values()) for k, v in fold(group, events[40:]).items()}
    speed: dict[int, dict[str, tuple[int, int]]] = {}
    for item, tiles_of in speed_tiles.items():
        for tile in tiles_of:
            speed.setdefault(tile.start, {})[item] = (tile.n, tile.values[0])
    found = merge_popularity(
        {k: TileMasses(v) for k, v in batch.items()}, {k: TileMasses(v) for k, v in speed.items()}, CUT, NOW
    )
    wanted = {
        item: answer(group, merge_tiles(group, by_item.get(item), speed_tiles.get(item, []), CUT), NOW)[""]["mass"]
        for item in by_item
    }
    assert masses(found) == pytest.approx(wanted, rel=1e-6)
    assert list(found.masses) == sorted(found.masses, reverse=True)


def test_scores_are_relative_to_the_strongest_known_item(catalogue: Catalogue) -> None:
    popularity = Popularity(NOW, ("gone", "cups.large-1"), np.array([3.0, 1.0]))
    scores = popularity.scores(catalogue)
    assert scores[catalogue.model.index["cups.large-1"]] == pytest.approx(0.5)
    assert np.count_nonzero(scores) == 1
