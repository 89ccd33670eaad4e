"""What is left of a batch of mutations when it is sent."""

from hypothesis import given
from hypothesis import strategies as st

from common.features.groups import GROUPS
from views.mutations import Mutation, RangeDelete, RowDelete, Together, Upsert, reduce_mutations
from views.speed import SpeedRows

ROWS = SpeedRows("g1", created_ms=0, ttl_s=0)
ACTIVITY = ROWS.tables["tiles_activity"]
POPULARITY = ROWS.tables["tiles_popularity"]


def tile(visitor: str, start: int, n: int) -> Upsert:
    return ROWS.tile(GROUPS["activity"], {"visitor_id": visitor, "tile_start": start, "n": n, "views": n})


def values(mutation: Mutation) -> tuple:
    assert isinstance(mutation, Upsert)
    return mutation.values


UPDATES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(1, 50)), max_size=60)


@given(UPDATES, st.integers(1, 7))
def test_the_greatest_timestamp_of_each_key_stays(updates: list[tuple[str, int, int]], max_rows: int) -> None:
    reduced = reduce_mutations([tile(*update) for update in updates], max_rows, 1_000_000)
    best: dict[tuple[str, int], int] = {}
    for visitor, start, n in updates:
        best[visitor, start] = max(n, best.get((visitor, start), 0))
    kept = {values(m)[:2]: values(m)[2] for batch in reduced.batches for m in batch}
    assert kept == best
    assert sum(len(batch) for batch in reduced.batches) == len(best) == reduced.rows
    assert reduced.superseded == len(updates) - len(best)
    assert all(len(batch) <= max_rows for batch in reduced.batches)
    assert all(len({values(m)[0] for m in batch}) == 1 for batch in reduced.batches)


def test_tables_of_one_visitor_share_a_batch() -> None:
    session = {"visitor_id": "a", "session_start": 5, "session_end": 9, "events": 2}
    mutations = [tile("a", 0, 1), *ROWS.closed_session(session), tile("b", 0, 1)]
    batches = reduce_mutations(mutations, 64, 1_000_000).batches
    assert [len(batch) for batch in batches] == [3, 1]


def test_a_tile_partitioned_by_span_has_a_batch_of_its_own() -> None:
    rows = [{"item_id": item, "tile_start": start, "n": 1} for start in (0, 1) for item in ("x", "y")]
    batches = reduce_mutations([ROWS.tile(GROUPS["popularity"], row) for row in rows], 64, 1_000_000).batches
    assert [[values(m)[1] for m in batch] for batch in batches] == [[0, 0], [1, 1]]


def test_expired_rows_are_counted_and_left_out() -> None:
    expired = tile("a", 0, 1)._replace(ttl=None)
    reduced = reduce_mutations([expired, tile("b", 0, 1)], 64, 1_000_000)
    assert (reduced.expired, reduced.rows) == (1, 1)


def test_a_batch_is_bounded_in_bytes() -> None:
    table = ROWS.tables["user_embedding"]
    width = len(table.view.columns)
    big = [Upsert(table, ("a", f"m{i}", b"x" * 1_000, *[None] * (width - 3)), timestamp=i) for i in range(10)]
    batches = reduce_mutations(big, 64, 3_500).batches
    assert [len(batch) for batch in batches] == [3, 3, 3, 1]


@given(UPDATES, st.integers(1, 4))
def test_small_partitions_of_one_place_share_a_batch_and_lose_nothing(
    updates: list[tuple[str, int, int]], partitions: int
) -> None:
    mutations = [tile(*update) for update in updates]
    apart = reduce_mutations(mutations, 64, 1_000_000)
    by_place = Together(lambda mutation: values(mutation)[0] == "a", partitions, 1_000_000)
    shared = reduce_mutations(mutations, 64, 1_000_000, by_place)
    assert sorted(m for batch in shared.batches for m in batch) == sorted(m for batch in apart.batches for m in batch)
    for batch in shared.batches:
        visitors = {values(m)[0] for m in batch}
        assert len(visitors) <= partitions and visitors in ({"a"}, {"b"}, {"c"}, {"b", "c"})
    assert shared[1:] == apart[1:]


def test_partitions_share_up_to_a_size_and_a_large_one_stays_alone() -> None:
    table = ROWS.tables["user_embedding"]
    width = len(table.view.columns)
    sizes = {"a": 300, "b": 300, "c": 900, "d": 300, "e": 5_000}
    rows = [Upsert(table, (v, "m", b"x" * size, *[None] * (width - 3)), 1) for v, size in sizes.items()]
    found = reduce_mutations(rows, 64, 1_000_000, Together(lambda mutation: True, 8, 1_000)).batches
    assert [[values(m)[0] for m in batch] for batch in found] == [["a", "b"], ["c"], ["d"], ["e"]]
    nowhere = reduce_mutations(rows, 64, 1_000_000, Together(lambda mutation: None, 8, 1_000)).batches
    assert [len(batch) for batch in nowhere] == [1] * 5


def test_a_newer_delete_replaces_the_row_in_the_batch() -> None:
    delete = RowDelete(ACTIVITY, ("a", 0), timestamp=99)
    assert reduce_mutations([tile("a", 0, 1), delete], 64, 10_000).batches == [[delete]]
    older = RowDelete(ACTIVITY, ("a", 0), timestamp=0)
    assert reduce_mutations([tile("a", 0, 1), older], 64, 10_000).batches == [[tile("a", 0, 1)]]


def test_ranges_of_one_partition_are_kept_apart() -> None:
    sessions = ROWS.tables["sessions"]
    ranges = [RangeDelete(sessions, ("a",), 1, 5, 10), RangeDelete(sessions, ("a",), 6, 9, 10)]
    assert reduce_mutations(ranges, 64, 10_000).batches == [ranges]
