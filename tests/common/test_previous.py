"""The item before: which events have one, and which."""

from hypothesis import given
from hypothesis import strategies as st

from common.features.groups import GROUPS
from common.features.previous import with_previous
from common.features.tiles import fold
from common.sessions import SESSION_GAP_MS, sessionize

START = 1_763_596_800_000


def row(event_id: str, at_ms: int, item: str | None = "a", kind: str = "view", visitor: str = "v") -> dict:
    made = {"event_id": event_id, "event_type": kind, "visitor_id": visitor, "item_id": item}
    return {**made, "event_ms": START + at_ms}


def before(*rows: dict) -> dict[str, str | None]:
    return {found["event_id"]: found["previous_item_id"] for found in with_previous(rows)}


def test_the_gap_is_that_of_sessions():
    rows = [row("1", 0), row("2", SESSION_GAP_MS, "b"), row("3", 2 * SESSION_GAP_MS + 1, "c")]
    assert before(*rows) == {"1": None, "2": "a", "3": None}


def test_a_day_begins_anew():
    assert before(row("1", -1), row("2", 0, "b"), row("3", 1, "c")) == {"1": None, "2": None, "3": "b"}


def test_what_says_nothing_of_an_item_stands_between_nothing():
    rows = [row("1", 0), row("2", 1, None, "search"), row("3", 2, "x", "impression"), row("4", 3, "b", "cart")]
    assert before(*rows) == {"1": None, "2": None, "3": None, "4": "a"}


def test_events_of_one_instant_are_ordered_by_their_ids():
    assert before(row("b", 0, "second"), row("a", 0, "first"), row("c", 1, "third")) == {
        "a": None,
        "b": "first",
        "c": "second",
    }


def test_an_item_is_not_visited_after_itself():
    rows = [row("1", 0), row("2", 1, "a", "cart"), row("3", 2, "b"), row("4", 3, "a"), row("5", 4, "b")]
    tiles = fold(GROUPS["covisits"], with_previous(rows))
    assert {(key, dim): tile.n for key, found in tiles.items() for (_, dim), tile in found.items()} == {
        ("a", "b"): 2,
        ("b", "a"): 1,
    }


@given(
    st.lists(
        st.tuples(
            st.sampled_from("vw"), st.integers(0, 6).map(lambda n: n * SESSION_GAP_MS // 2), st.sampled_from("abc")
        ),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_both_items_are_of_one_session_and_order_does_not_matter(drawn, order):
    rows = [row(str(i), at, item, visitor=visitor) for i, (visitor, at, item) in enumerate(drawn)]
    found = with_previous(rows)
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert with_previous(shuffled) == found
    wanted = {}
    for session in sessionize(rows):
        for earlier, later in zip([None, *session], session, strict=False):
            wanted[later["event_id"]] = earlier and earlier["item_id"]
    assert {one["event_id"]: one["previous_item_id"] for one in found} == wanted
