"""Any split of any events into batch and speed, in any order, merges to the fold over all of them."""

import math
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from common.contracts.events import EVENT_TYPES
from common.features.algebra import Decayed
from common.features.groups import GROUPS, FeatureGroup
from common.features.tiles import BatchTiles, Tile, batch_tiles, fold, folds, pack, unpack
from common.features.windows import DAY_MS, EVER, HORIZON_MS, HOUR_MS, duration_ms, tile_start
from common.merge import answer, merge_tiles

CUT = 20_000 * DAY_MS + 7 * HOUR_MS
OLDEST = CUT - 40 * DAY_MS
NEWEST = CUT + 30 * HOUR_MS


def events(count: int = 40) -> st.SearchStrategy[list[dict]]:
    event = st.fixed_dictionaries(
        {
            "event_type": st.sampled_from(sorted(EVENT_TYPES)),
            "visitor_id": st.sampled_from(["v1", "v2"]),
            "item_id": st.sampled_from([None, "a", "b"]),
            "previous_item_id": st.sampled_from([None, "a", "b"]),
            "category": st.sampled_from(["tech", "toys.wood"]),
            "price": st.none() | st.decimals("0", "999", places=4),
            "quantity": st.none() | st.integers(1, 1_000_000),
            "line": st.sampled_from([None, 1, 2]),
            "event_ms": st.integers(OLDEST, NEWEST)
            | st.sampled_from([CUT, CUT - 1, CUT - HORIZON_MS, CUT - HORIZON_MS - 1]),
        }
    )
    return st.lists(event, max_size=count)


def naive(group: FeatureGroup, rows: list[dict], now_ms: int, oldest: int | None) -> dict[str, dict[str, dict]]:
    """Each feature straight from the events, with floats for decays: twenty lines that share nothing with tiles."""
    answers: dict[str, dict[str, dict]] = {}
    for row in rows:
        if not folds(group, row) or (oldest is not None and row["event_ms"] < oldest):
            continue
        of = answers.setdefault(row[group.key], {}).setdefault(row[group.by] if group.by else "", {"n": 0})
        of["n"] += 1
        for name, aggregate in group.aggregates.items():
            met = aggregate.where.evaluate(row) is True
            value = aggregate.of.evaluate(row) if met else None
            have = of.get(name)
            if isinstance(aggregate, Decayed):
                term = (value or 0) * 0.5 ** ((now_ms - row["event_ms"]) / aggregate.half_life_ms)
                of[name] = (have or 0.0) + term
            elif aggregate.zero() == 0:
                of[name] = (have or 0) + (value or 0)
            else:
                of[name] = have if value is None else value if have is None else aggregate.merge(have, value)
    return answers


def speed_rows(group: FeatureGroup, rows: list[dict], key: str) -> list[Tile]:
    return list(fold(group, rows).get(key, {}).values())


@settings(max_examples=150, deadline=None)
@given(
    rows=events(),
    order=st.randoms(use_true_random=False),
    late=st.sets(st.integers(0, 39)),
    window=st.sampled_from([None, "5 minutes", "1 hour", "24 hours", "48 hours", "30 days"]),
)
def test_any_split_merges_to_the_fold_over_all(rows, order, late, window):
    """Batch may miss events of the horizon that came after its run; speed has all that it is to take."""
    seen_by_batch = [r for i, r in enumerate(rows) if i not in late or r["event_ms"] < CUT - HORIZON_MS]
    shuffled = list(rows)
    order.shuffle(shuffled)
    now = NEWEST
    for group in GROUPS.values():
        batch = batch_tiles(group, seen_by_batch, CUT)
        oldest = None
        if window is not None:
            span = duration_ms(window)
            oldest = tile_start(now - span, group.tile_ms if span <= HORIZON_MS else DAY_MS)
        at = tile_start(now, group.tile_ms) + group.tile_ms
        expected = naive(group, rows, at, oldest)
        keys = {row[group.key] for row in rows if row[group.key] is not None}
        for key in keys:
            merged = merge_tiles(group, batch.get(key), speed_rows(group, shuffled, key), CUT)
            got = answer(group, merged, now, window)
            assert got.keys() == expected.get(key, {}).keys()
            for dim, features in got.items():
                for name, value in features.items():
                    want = expected[key][dim][name]
                    if isinstance(group.aggregates.get(name), Decayed):
                        # One rounding per event, one per tile that is scaled: a billionth each.
                        assert math.isclose(value, want, rel_tol=1e-9, abs_tol=3e-9 * (len(rows) + 1))
                    else:
                        assert value == want


@settings(max_examples=50, deadline=None)
@given(rows=events(), cut=st.integers(0, 60).map(lambda h: CUT - h * HOUR_MS))
def test_speed_may_lag_or_lead_within_the_horizon(rows, cut):
    """Whichever layer saw more of a tile wins it whole, so an event either layer has is counted once."""
    group = GROUPS["activity"]
    batch = batch_tiles(group, rows, cut)
    for key, tiles in batch.items():
        alone = merge_tiles(group, tiles, (), cut)
        both = merge_tiles(group, tiles, speed_rows(group, [r for r in rows if r["event_ms"] < cut], key), cut)
        assert answer(group, alone, cut) == answer(group, both, cut)


@settings(max_examples=50, deadline=None)
@given(rows=events(), order=st.randoms(use_true_random=False))
def test_tiles_do_not_depend_on_the_order_of_events(rows, order):
    shuffled = list(rows)
    order.shuffle(shuffled)
    for group in GROUPS.values():
        assert fold(group, rows) == fold(group, shuffled)
        assert batch_tiles(group, rows, CUT) == batch_tiles(group, shuffled, CUT)


@settings(max_examples=50, deadline=None)
@given(rows=events())
def test_packed_tiles_come_back_as_they_were(rows):
    packed: dict[str, BatchTiles] = {}
    for name in ("activity", "pulse", "interest"):
        packed[name] = batch_tiles(GROUPS[name], rows, CUT).get("v1", BatchTiles())
    assert unpack(pack(packed)) == packed


def test_ever_holds_all_before_the_horizon():
    rows = [
        {"event_type": "purchase", "visitor_id": "v", "price": Decimal("2.5"), "quantity": 2, "line": 1, "event_ms": at}
        for at in (CUT - 30 * DAY_MS, CUT - HORIZON_MS - 1, CUT - HORIZON_MS)
    ]
    tiles = batch_tiles(GROUPS["activity"], rows, CUT)["v"]
    assert [(tile.start, tile.n) for tile in tiles.ever] == [(EVER, 2)]
    assert [tile.n for tile in tiles.days] == [1, 1]
    assert [tile.n for tile in tiles.hours] == [1]
