"""Answers over an in-memory edge: what is missing is named, and a pointer that moved on is looked at again."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from common.admission import Policy
from serving.catalogue import Catalogue
from serving.live import Live, LiveViews
from serving.metrics import Metrics
from serving.popularity import Popularity, PopularityRefresher
from serving.service import Service, UnknownItem, UnknownVisitor
from serving.settings import Settings
from serving.stores import ItemRows, VisitorRows
from tests.serving.shop import CUT, NOW, MemoryReads, embedding_row, interest_rows, live_with, profile_row, shop_event
from views.connect import ClusterSpec

POLICY = Policy(b"sixteen bytes or more", "k1")
ANNA = POLICY.pseudonym("user", "anna")
SEEN = [shop_event(f"tea.green-{i}", CUT - 3_600_000 - i, f"b{i}") for i in range(3)]
CLICK = [shop_event("toys.cars-1", NOW, "s1")]


class FixedLive:
    """Live views that were read once; ``after`` is what a second look finds."""

    def __init__(self, value: Live, after: Live | None = None) -> None:
        self.value = value
        self.after = after
        self.looks = 0

    async def refresh(self) -> Live:
        self.looks += 1
        self.value = self.after or self.value
        return self.value


class FixedPopularity:
    """Popularity that was read once."""

    value = Popularity(NOW, ("cups.large-3",), np.array([4.0]))

    def scores(self, catalogue: Catalogue) -> Any:
        return self.value.scores(catalogue)


def service(live: Live, reads: Any, after: Live | None = None) -> tuple[Service, FixedLive]:
    views = FixedLive(live, after)
    settings = Settings(ClusterSpec(("nowhere",)), "nowhere:1")
    made = Service(
        settings,
        POLICY,
        cast(LiveViews, views),
        reads,
        cast(PopularityRefresher, FixedPopularity()),
        Metrics(),
    )
    return made, views


def both(catalogue: Catalogue) -> VisitorRows:
    return VisitorRows(
        profile=profile_row(catalogue, SEEN), embeddings=[embedding_row(CLICK)], interest=interest_rows(CLICK)
    )


def ask(made: Service, user: str = "anna", n: int = 5) -> Any:
    return asyncio.run(made.recommendations("user", user, n, False))


def test_an_answer_names_versions_and_ages(catalogue: Catalogue) -> None:
    made, _ = service(live_with(catalogue), MemoryReads({ANNA: both(catalogue)}))
    answer = ask(made)
    assert (answer.level, answer.degraded, answer.missing) == ("personal", False, [])
    assert (answer.view_version, answer.generation, answer.model_version) == ("v20261120_1", "g1", "m1")
    assert answer.age_ms.batch is not None and answer.age_ms.speed is not None
    assert len(answer.recommendation_id) == 32
    assert len(answer.items) == 5


@pytest.mark.parametrize(
    ("away", "level"),
    [
        ({"batch.profile"}, "session"),
        ({"speed.user_embedding"}, "personal"),
        ({"speed.tiles_interest"}, "personal"),
        ({"batch.profile", "speed.user_embedding", "speed.tiles_interest"}, "trending"),
    ],
)
def test_what_is_away_is_named_and_the_next_level_answers(catalogue: Catalogue, away: set[str], level: str) -> None:
    made, _ = service(live_with(catalogue), MemoryReads({ANNA: both(catalogue)}, away=frozenset(away)))
    answer = ask(made)
    assert (answer.level, answer.degraded, set(answer.missing)) == (level, True, away)
    assert len(answer.items) == 5


def test_a_model_that_cannot_be_loaded_degrades_the_answer(catalogue: Catalogue) -> None:
    live = live_with(catalogue)
    made, _ = service(
        Live(live.batch, live.speed, None, {}, live.batch_tables, live.speed_tables),
        MemoryReads({ANNA: both(catalogue)}),
    )
    answer = ask(made)
    assert (answer.level, answer.degraded, answer.missing) == ("trending", True, ["batch.model"])
    assert answer.items[0].item_id == "cups.large-3"


def test_before_anything_is_published_there_is_an_answer() -> None:
    made, _ = service(Live(), MemoryReads())
    answer = ask(made)
    assert (answer.level, answer.view_version, answer.generation) == ("trending", None, None)
    assert answer.age_ms.batch is None


class Vanished(MemoryReads):
    """The first version's tables are gone; the next one's are there."""

    async def visitor(self, live: Live, visitor_id: str, wanted: Any) -> VisitorRows:
        if live.view_version == "v20261120_1":
            return VisitorRows(missing=("batch.profile",), gone=True)
        return await super().visitor(live, visitor_id, wanted)

    async def item(self, live: Live, item_id: str) -> ItemRows:
        if live.view_version == "v20261120_1":
            return ItemRows(missing=("batch.items",), gone=True)
        return await super().item(live, item_id)


def later(catalogue: Catalogue) -> Live:
    live = live_with(catalogue)
    assert live.batch is not None
    batch = SimpleNamespace(**vars(live.batch) | {"live": "v20261121_1"})
    return Live(cast(Any, batch), live.speed, catalogue, {}, live.batch_tables, live.speed_tables)


def test_a_version_that_is_gone_is_looked_up_again(catalogue: Catalogue) -> None:
    reads = Vanished({ANNA: both(catalogue)}, {"tea.green-0": ItemRows()})
    made, views = service(live_with(catalogue), reads, after=later(catalogue))
    answer = ask(made)
    assert (answer.level, answer.degraded, answer.view_version, views.looks) == ("personal", False, "v20261121_1", 1)
    made, views = service(live_with(catalogue), reads, after=later(catalogue))
    similar = asyncio.run(made.similar("tea.green-0", 3))
    assert (similar.degraded, similar.view_version, views.looks) == (False, "v20261121_1", 1)


def test_a_store_that_is_away_leaves_similar_items_to_the_factors(catalogue: Catalogue) -> None:
    made, _ = service(live_with(catalogue), MemoryReads(away=frozenset({"batch.items"})))
    similar = asyncio.run(made.similar("toys.cars-2", 4))
    assert (similar.degraded, similar.missing, similar.sources) == (True, ["batch.items"], ["batch.model"])
    assert {item.category for item in similar.items} == {"toys.cars"}
    assert "toys.cars-2" not in {item.item_id for item in similar.items}
    with pytest.raises(UnknownItem):
        asyncio.run(made.similar("no such item", 4))


def test_a_stranger_has_no_profile_but_one_who_could_not_be_read_is_no_stranger(catalogue: Catalogue) -> None:
    made, _ = service(live_with(catalogue), MemoryReads())
    with pytest.raises(UnknownVisitor):
        asyncio.run(made.profile("user", "nobody"))
    away = MemoryReads(away=frozenset({"batch.profile", "speed.user_embedding"}))
    made, _ = service(live_with(catalogue), away)
    profile = asyncio.run(made.profile("user", "nobody"))
    assert profile.degraded and profile.visitor_id == POLICY.pseudonym("user", "nobody")


def test_a_user_and_a_device_of_one_name_are_two_visitors(catalogue: Catalogue) -> None:
    made, _ = service(live_with(catalogue), MemoryReads({ANNA: both(catalogue)}))
    assert asyncio.run(made.recommendations("anonymous", "anna", 5, False)).level == "trending"
