"""Lists: a click moves them, reasons say why, rules hold, and the chain of fallbacks names its level."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from common.blend import Blend
from common.embedding import HistoryEntry, fold_in, pack_recommendations
from common.hybrid import Neighbours
from serving.catalogue import Catalogue
from serving.live import Live, SegmentList
from serving.popularity import Popularity
from serving.reasons import contributions
from serving.recommend import LEVELS, Listed, recommend
from serving.settings import Weights
from serving.stores import VisitorRows
from serving.visitor import merge_visitor
from tests.serving.shop import (
    CATEGORIES,
    CUT,
    NOW,
    embedding_row,
    entries,
    interest_rows,
    live_with,
    profile_row,
    shop_event,
)

DAY = 86_400_000
TEA = [shop_event(f"tea.green-{i}", CUT - 5 * DAY + i, f"b{i}") for i in range(3)]
CARS = [shop_event(f"toys.cars-{i}", NOW - 60_000 + i, f"s{i}") for i in range(2)]
POPULAR = Popularity(NOW, ("cups.large-3", "toys.cars-9"), np.array([8.0, 2.0]))
NOTHING = Popularity()


def ask(
    rows: VisitorRows,
    live: Live,
    popularity: Popularity = POPULAR,
    n: int = 10,
    explained: bool = False,
    weights: Weights | None = None,
) -> Listed:
    visitor = merge_visitor(rows, live, NOW)
    scores = popularity.scores(live.catalogue) if live.catalogue else None
    return recommend(visitor, live, popularity, scores, weights or Weights(), n, explained)


def categories(listed: Listed, first: int = 5) -> list[str | None]:
    return [item.category for item in listed.items[:first]]


def batch(catalogue: Catalogue, events: Sequence[dict[str, Any]] = TEA, **more: Any) -> VisitorRows:
    return VisitorRows(profile=profile_row(catalogue, events, **more))


def with_speed(rows: VisitorRows, events: Sequence[dict[str, Any]]) -> VisitorRows:
    return replace(rows, embeddings=[embedding_row(events)], interest=interest_rows(events))


def test_history_becomes_a_personal_list_with_its_reasons(catalogue: Catalogue) -> None:
    listed = ask(batch(catalogue), live_with(catalogue))
    assert listed.level == "personal"
    assert set(categories(listed)) == {"tea.green"}
    first = next(item for item in listed.items if item.item_id not in {e["item_id"] for e in TEA})
    assert first.reasons[0].kind == "acted"
    assert first.reasons[0].text.startswith("Because you viewed Title of tea.green-")
    assert listed.sources == ["batch.model", "batch.profile", "popularity"]


def test_a_list_without_a_known_history_claims_no_item_of_it(catalogue: Catalogue) -> None:
    gone = [{**event, "item_id": f"gone-{n}"} for n, event in enumerate(TEA)]
    blob = pack_recommendations(
        [catalogue.model.index["toys.cars-3"], catalogue.model.index["toys.cars-1"]], [1.0, 0.9]
    )
    listed = ask(batch(catalogue, gone, recommendations=blob), live_with(catalogue))
    assert listed.level == "personal"
    assert listed.items[0].item_id == "toys.cars-3"
    assert listed.items[0].reasons[0].kind == "listed"
    assert listed.items[0].reasons[0].item_id is None


def test_by_a_model_of_ratings_the_list_of_the_cut_stands(catalogue: Catalogue) -> None:
    manifest = msgspec.structs.replace(catalogue.model.manifest, mode="explicit")
    rated = Catalogue(replace(catalogue.model, manifest=manifest))
    blob = pack_recommendations([rated.model.index["toys.cars-3"], rated.model.index["toys.cars-1"]], [1.0, 0.9])
    known = ask(with_speed(batch(rated, recommendations=blob), TEA), live_with(rated), NOTHING)
    assert (known.level, known.items[0].item_id) == ("personal", "toys.cars-3")
    assert known.items[0].reasons[0].kind == "listed"
    assert not any(reason.kind == "acted" for item in known.items for reason in item.reasons)
    new = ask(with_speed(VisitorRows(), CARS), live_with(rated))
    assert new.level == "session" and not any(r.kind == "acted" for item in new.items for r in item.reasons)


def test_a_click_moves_scores_and_order(catalogue: Catalogue) -> None:
    live = live_with(catalogue)
    before = ask(batch(catalogue), live)
    after = ask(with_speed(batch(catalogue), CARS), live)
    assert after.level == "personal"
    assert "toys.cars" in categories(after, 4)
    assert [item.item_id for item in after.items] != [item.item_id for item in before.items]
    assert {i.item_id: i.score for i in after.items} != {i.item_id: i.score for i in before.items}
    assert any(r.item_id in ("toys.cars-0", "toys.cars-1") for item in after.items for r in item.reasons)
    assert "speed.user_embedding" in after.sources


def test_items_alike_count_by_their_published_weight_and_say_whose_they_are(catalogue: Catalogue) -> None:
    index, size = catalogue.model.index, len(catalogue)
    near = Neighbours(np.full((size, 1), -1, np.int32), np.zeros((size, 1), np.float32))
    near.items[index["tea.green-1"], 0], near.scores[index["tea.green-1"], 0] = index["toys.cars-7"], 3.0
    blend = Blend("m1", {"als": 0.4, "cooccurrence": 0.6}, {"cooccurrence": near})
    alone = ask(batch(catalogue), live_with(catalogue), NOTHING)
    assert "toys.cars-7" not in {item.item_id for item in alone.items}
    listed = ask(batch(catalogue), replace(live_with(catalogue), blend=blend), NOTHING, explained=True)
    first = listed.items[0]
    assert (first.item_id, first.reasons[0].kind, first.reasons[0].item_id) == ("toys.cars-7", "acted", "tea.green-1")
    assert {item.category for item in listed.items[1:6]} == {"tea.green"}
    assert listed.explanation["blend"] == blend.weights


def test_an_event_that_both_layers_know_counts_once(catalogue: Catalogue) -> None:
    live = live_with(catalogue)
    again = with_speed(batch(catalogue), TEA)
    assert ask(replace(again, interest=()), live, explained=True).explanation["history"] == [
        {"item_id": e["item_id"], "weight": 1, "event_ms": e["event_ms"], "layer": "batch", "known": True}
        for e in reversed(TEA)
    ]
    assert [i.score for i in ask(replace(again, interest=()), live).items] == [
        i.score for i in ask(batch(catalogue), live).items
    ]


def test_histories_of_several_models_are_one_history(catalogue: Catalogue) -> None:
    rows = VisitorRows(embeddings=[embedding_row(CARS[:1], ""), embedding_row(CARS, "m1")])
    assert len(merge_visitor(rows, live_with(catalogue), NOW).history) == 2


def test_shares_of_the_history_sum_up_to_the_fold_in(catalogue: Catalogue) -> None:
    history = tuple(HistoryEntry(*row) for row in entries([*TEA, *CARS, *TEA[:1]]))
    shares = contributions(catalogue, history)
    assert shares is not None
    np.testing.assert_allclose(shares.vector, fold_in(catalogue.model, history), rtol=1e-9, atol=1e-12)
    assert contributions(catalogue, (HistoryEntry("no such item", 1, 1, "e"),)) is None


def test_a_visitor_without_a_profile_gets_a_session_list(catalogue: Catalogue) -> None:
    listed = ask(with_speed(VisitorRows(), CARS), live_with(catalogue))
    assert listed.level == "session"
    assert set(categories(listed, 4)) == {"toys.cars"}


def test_a_session_of_items_the_model_does_not_know_still_has_categories(catalogue: Catalogue) -> None:
    new = [shop_event("cups.large-999", NOW - 1_000, "s9")]
    listed = ask(with_speed(VisitorRows(), new), live_with(catalogue))
    assert listed.level == "session"
    assert set(categories(listed, 3)) == {"cups.large"}
    assert {reason.kind for reason in listed.items[1].reasons} == {"interest"}


def segment_of(catalogue: Catalogue) -> SegmentList:
    indexes = np.array([catalogue.model.index[f"toys.cars-{i}"] for i in range(10)], dtype=np.int32)
    return SegmentList(2, "Loyal", 12, indexes, np.linspace(1, 0.5, 10, dtype=np.float32))


def test_a_profile_without_history_gets_its_segments_list(catalogue: Catalogue) -> None:
    live = live_with(catalogue, [segment_of(catalogue)])
    listed = ask(batch(catalogue, [], segment_id=2, segment="Loyal"), live)
    assert listed.level == "segment"
    assert "toys.cars" in categories(listed, 3)
    assert listed.items[0].reasons[0].text == "Popular with Loyal"


def test_a_segment_without_a_list_is_passed_over(catalogue: Catalogue) -> None:
    empty = replace(segment_of(catalogue), indexes=np.empty(0, np.int32), scores=np.empty(0, np.float32))
    rows = batch(catalogue, [], segment_id=2, segment="Loyal")
    assert ask(rows, live_with(catalogue, [empty])).level == "trending"


def test_a_stranger_gets_what_is_popular_then_the_catalogue(catalogue: Catalogue) -> None:
    trending = ask(VisitorRows(), live_with(catalogue))
    assert trending.level == "trending"
    assert [item.item_id for item in trending.items[:2]] == ["cups.large-3", "toys.cars-9"]
    assert trending.items[0].reasons[0].kind == "trending"
    assert len(trending.items) == 10
    last = ask(VisitorRows(), live_with(catalogue), NOTHING)
    assert last.level == "catalogue"
    assert [item.title for item in last.items] == sorted(catalogue.model.titles)[:10]


def test_before_the_first_model_popular_items_come_by_id_alone() -> None:
    listed = ask(with_speed(VisitorRows(), CARS), live_with(None))
    assert (listed.level, [item.item_id for item in listed.items]) == ("trending", list(POPULAR.item_ids))
    assert listed.items[0].title is None
    assert ask(VisitorRows(), Live(), NOTHING) == Listed("catalogue", [], [])


def test_the_packed_list_serves_where_the_history_is_gone(catalogue: Catalogue) -> None:
    packed = pack_recommendations([catalogue.model.index["cups.large-7"]], [0.9])
    rows = batch(catalogue, [], recommendations=packed)
    listed = ask(rows, live_with(catalogue), NOTHING)
    assert (listed.level, listed.items[0].item_id) == ("personal", "cups.large-7")
    other = batch(catalogue, [], recommendations=packed, model_version="m0")
    assert ask(other, live_with(catalogue), NOTHING).level == "catalogue"


def test_what_was_bought_is_not_recommended_again(catalogue: Catalogue) -> None:
    bought = [shop_event("tea.green-4", CUT - DAY, "b9", "purchase")]
    just_bought = [shop_event("tea.green-5", NOW - 1_000, "s9", "purchase")]
    rows = with_speed(batch(catalogue, [*TEA, *bought]), just_bought)
    listed = ask(rows, live_with(catalogue), n=40)
    assert not {"tea.green-4", "tea.green-5"} & {item.item_id for item in listed.items}
    allowed = ask(rows, live_with(catalogue), n=40, weights=Weights(exclude_purchased=False))
    assert {"tea.green-4", "tea.green-5"} <= {item.item_id for item in allowed.items}
    assert len(listed.items) == 38


def test_familiar_items_stand_below_equally_good_new_ones(catalogue: Catalogue) -> None:
    listed = ask(batch(catalogue), live_with(catalogue), NOTHING, n=10)
    positions = {item.item_id: i for i, item in enumerate(listed.items)}
    assert all(positions.get(f"tea.green-{i}", 99) > 4 for i in range(3))
    known = next(
        item for item in ask(batch(catalogue), live_with(catalogue), n=40).items if item.item_id == "tea.green-0"
    )
    assert known.reasons[0].text == "You viewed this before"


def test_variety_brings_other_categories_in(catalogue: Catalogue) -> None:
    mixed = [*TEA, shop_event("cups.large-0", CUT - DAY, "b8")]
    varied = ask(batch(catalogue, mixed), live_with(catalogue), NOTHING, weights=Weights(variety=0.7))
    plain = ask(batch(catalogue, mixed), live_with(catalogue), NOTHING, weights=Weights(variety=1.0))
    assert len(set(categories(varied, 5))) > len(set(categories(plain, 5)))


def test_an_old_interest_fades_against_a_fresh_one(catalogue: Catalogue) -> None:
    old = [shop_event("tea.black-1", CUT - 60 * DAY, f"o{i}") for i in range(4)]
    fresh = [shop_event("toys.cars-1", CUT - 3_600_000, f"f{i}") for i in range(2)]
    interests = merge_visitor(batch(catalogue, [*old, *fresh]), live_with(catalogue), NOW).interests
    assert interests["toys.cars"] > 10 * interests["tea.black"] > 0


def test_branches_of_a_category_help_each_other(catalogue: Catalogue) -> None:
    interest = catalogue.interest({"tea.green": 1.0, "unknown": 9.0}, 0.3)
    of = {category: float(interest[catalogue.model.index[f"{category}-0"]]) for category in CATEGORIES}
    assert of == pytest.approx({"tea.green": 1.0, "tea.black": 0.3, "cups.large": 0.0, "toys.cars": 0.0})


def test_an_explanation_gives_the_parts_and_the_merged_history(catalogue: Catalogue) -> None:
    listed = ask(with_speed(batch(catalogue), CARS), live_with(catalogue), explained=True)
    first = listed.items[0]
    assert first.parts is not None
    assert first.score == pytest.approx(sum(first.parts.values()), abs=1e-4)
    assert [row["layer"] for row in listed.explanation["history"]] == ["speed"] * 2 + ["batch"] * 3
    assert list(listed.explanation["interests"])[0] == "toys.cars"


def test_the_same_rows_give_the_same_list(catalogue: Catalogue) -> None:
    rows = with_speed(batch(catalogue), CARS)
    assert ask(rows, live_with(catalogue)) == ask(rows, live_with(catalogue))


def test_every_level_was_met_here() -> None:
    assert LEVELS == ("personal", "session", "segment", "trending", "catalogue")
