"""What comes next: both layers' tiles count each event once, and little evidence does not lead a list."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from common.features.groups import GROUPS
from common.features.previous import with_previous
from common.features.tiles import BatchTiles, batch_tiles, fold
from common.features.windows import DAY_MS, MINUTE_MS
from serving.catalogue import Catalogue
from serving.following import NEXT_WEIGHT, TRUST, Following, merge_following, rank_near
from serving.stores import NEXT_BATCH, NEXT_SPEED, ItemRows
from tests.serving.shop import CUT, NOW, MemoryReads, covisit_rows, live_with, shop_event
from tests.serving.test_answers import service

GROUP = GROUPS["covisits"]
FIRST = "tea.green-0"
ALIKE = (np.array([1, 2], np.int32), np.array([0.8, 0.4], np.float32))


def visits(after: str, at_ms: int, count: int, kind: str = "view") -> list[dict]:
    """Sessions of as many visitors, each a look at the first item and then an event of the other one."""
    found = []
    for i in range(count):
        visitor = f"{after}-{at_ms}-{i}"
        found.append(shop_event(FIRST, at_ms, f"{visitor}-a", visitor=visitor))
        found.append(shop_event(after, at_ms + MINUTE_MS, f"{visitor}-b", kind, visitor))
    return found


OLD = visits("cups.large-1", CUT - 9 * DAY_MS, 20)
RECENT = visits("cups.large-2", CUT - 2 * 3_600_000, 6)
NEW = visits("toys.cars-3", NOW - 5 * MINUTE_MS, 4, "purchase")


def rows(batch: list[dict], speed: list[dict]) -> ItemRows:
    """The rows of the first item where the layers have seen these events."""
    of_batch = batch_tiles(GROUP, with_previous(batch), CUT).get(FIRST, BatchTiles())
    of_speed = fold(GROUP, with_previous(speed)).get(FIRST, {})
    return ItemRows(
        next_batch=covisit_rows((*of_batch.ever, *of_batch.hours)), next_speed=covisit_rows(of_speed.values())
    )


def test_both_layers_together_count_each_event_once(catalogue: Catalogue) -> None:
    live = live_with(catalogue)
    found = merge_following(rows([*OLD, *RECENT], [*RECENT, *NEW]), live, NOW).masses
    assert list(found) == ["cups.large-1", "cups.large-2", "toys.cars-3"]
    assert found["toys.cars-3"] == pytest.approx(20, rel=0.01)
    assert found["cups.large-2"] == pytest.approx(6, rel=0.01)
    assert found["cups.large-1"] == pytest.approx(20 * 0.5 ** (9 / 30), rel=0.02)
    assert merge_following(rows([], [*RECENT, *NEW]), replace(live, batch=None), NOW).masses.keys() == {
        "cups.large-2",
        "toys.cars-3",
    }


def test_the_less_was_seen_the_less_it_counts() -> None:
    assert Following().shares == {}
    assert Following({"a": TRUST, "b": 0.0}).shares == {"a": 0.5}
    assert Following({"a": 3 * TRUST, "b": TRUST}).shares == pytest.approx({"a": 0.8, "b": 0.8 / 3})


def test_a_list_says_of_each_item_whether_it_is_alike_or_came_next(catalogue: Catalogue) -> None:
    index = catalogue.model.index
    found = Following({"tea.green-2": 3 * TRUST, "toys.cars-3": TRUST, "no longer sold": 1.0, FIRST: 1.0})
    near = rank_near(catalogue, FIRST, ALIKE, found, 9)
    assert [one.index for one in near] == [1, 2, index["toys.cars-3"]]
    assert [[reason.kind for reason in one.reasons] for one in near] == [["acted"], ["acted", "next"], ["next"]]
    assert near[0].score == 1.0 and near[1].score == pytest.approx(0.5 + NEXT_WEIGHT * found.shares["tea.green-2"])
    assert sum(reason.share for reason in near[1].reasons) == pytest.approx(1, abs=0.002)
    assert [one.index for one in rank_near(catalogue, FIRST, ALIKE, Following(), 1)] == [1]


def test_an_answer_moves_with_what_came_next_and_names_what_it_rests_on(catalogue: Catalogue) -> None:
    reads = MemoryReads(items={FIRST: rows([*OLD, *RECENT], [*RECENT, *NEW])})
    made, _ = service(live_with(catalogue), reads)
    similar = asyncio.run(made.similar(FIRST, 12))
    assert similar.sources == ["batch.model", NEXT_BATCH, NEXT_SPEED] and similar.age_ms.speed is not None
    why = {item.item_id: [reason.kind for reason in item.reasons] for item in similar.items}
    assert why["toys.cars-3"] == ["next"] and "tea.green-1" in why and FIRST not in why

    away = replace(reads, away=frozenset({NEXT_SPEED}))
    similar = asyncio.run(service(live_with(catalogue), away)[0].similar(FIRST, 12))
    assert (similar.degraded, similar.missing) == (True, [NEXT_SPEED])
    assert "toys.cars-3" not in {item.item_id for item in similar.items}
