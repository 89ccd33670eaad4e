"""The writers' rows: which of a batch is written, and what of it."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from common.embedding import unpack_history
from common.features.algebra import latest
from common.features.expressions import event
from common.features.groups import GROUPS, feature_group
from common.sessions import intent
from streaming.features import VISITOR, chains
from streaming.flink.faults import Fault
from streaming.history import Histories
from streaming.sessions import read_moment
from streaming.write import Target, WriteClosedSessions, WriteTiles, WriteVisitors, newest
from views.connect import ClusterSpec
from views.mutations import RangeDelete, Upsert
from views.schema import table_of
from views.speed import SpeedRows
from views.tables import tile_view

HOUR = 1_763_596_800_000
TARGET = Target(ClusterSpec(("127.0.0.1",)), "g1", created_ms=7_000, ttl_s=0)


class NoModel:
    """No model is live."""

    def rows(self, histories):
        from streaming.foldin import Embedder

        made = Embedder.__new__(Embedder)
        made.model = lambda: None  # type: ignore[method-assign]
        return made.rows(histories)


def opened(writer):
    """A writer without a session."""
    writer.rows = SpeedRows(TARGET.generation, TARGET.created_ms, TARGET.ttl_s)
    writer.embedder = NoModel()
    writer.histories = Histories(lambda visitors: {})
    return writer


def visitor_row(**changes: Any) -> dict[str, Any]:
    """A row of the visitor's chain."""
    row: dict[str, Any] = {
        "visitor_id": "k1_a",
        "category": "home.mugs",
        **{f"activity_{name}": 0 for name in GROUPS["activity"].columns},
        "activity_takes": True,
        "activity_tile_start": HOUR,
        "activity_n": 1,
        "activity_spend": Decimal("0.0000"),
        "activity_refunds": Decimal("0.0000"),
        "activity_last_event": str(HOUR + 5),
        "activity_last_purchase": None,
        **{f"pulse_{name}": 0 for name in GROUPS["pulse"].columns},
        "pulse_takes": True,
        "pulse_tile_start": HOUR,
        "pulse_n": 1,
        "pulse_spend": Decimal("0.0000"),
        "interest_takes": True,
        "interest_tile_start": HOUR,
        "interest_n": 1,
        "interest_mass": 3,
        "late": False,
        "session_start": HOUR + 5,
        "session_end": HOUR + 9,
        "session_events": 2,
        "session_pages": 1,
        "session_items": 1,
        "session_categories": 1,
        "session_spend": Decimal("4.2000"),
        "session_weight": 8,
        "session_first": f"{HOUR + 5:015d}\0e1\0i1\0web",
        "session_last": f"{HOUR + 9:015d}\0e2\0\0",
        "tastes": True,
        "updates": 1,
        "weight": 1,
        "item_id": "i1",
        "event_ms": HOUR + 5,
        "event_id": "e1",
    }
    return {**row, **changes}


def written(*rows: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What the visitors' writer makes of the rows, by view."""
    writer = opened(WriteVisitors(TARGET, chains(GROUPS.values())[VISITOR]))
    found: dict[str, list[dict[str, Any]]] = {}
    for mutation in writer.mutations({name: [row[name] for row in rows] for name in writer.columns}):
        assert isinstance(mutation, Upsert)
        values = dict(zip(mutation.table.view.columns, mutation.values, strict=True))
        found.setdefault(mutation.table.view.name, []).append({**values, "timestamp": mutation.timestamp})
    return found


def test_one_event_writes_its_tiles_its_session_and_its_history() -> None:
    found = written(visitor_row())
    assert {name: len(rows) for name, rows in found.items()} == {
        "tiles_activity": 1,
        "tiles_pulse": 1,
        "tiles_interest": 1,
        "sessions": 1,
        "user_embedding": 1,
    }
    tile = found["tiles_activity"][0]
    assert (tile["last_event"], tile["last_purchase"], tile["timestamp"]) == (HOUR + 5, None, HOUR * 1000 + 1)
    assert found["tiles_interest"][0]["dim"] == "home.mugs"
    session = found["sessions"][0]
    assert (session["entry"], session["exit"], session["device"]) == ("i1", None, "web")
    assert (session["closed"], session["intent"], session["suspected_bot"]) == (False, intent(8), False)
    embedding = found["user_embedding"][0]
    assert (embedding["model_version"], embedding["vector"], embedding["timestamp"]) == ("", None, 7_000_001)
    assert unpack_history(embedding["history"]) == (("i1", 1, HOUR + 5, "e1"),)


def test_of_a_batch_the_newest_state_of_each_row_is_written_whatever_their_order() -> None:
    found = written(
        visitor_row(activity_n=3, session_events=3, updates=3, event_id="e3"),
        visitor_row(activity_n=2, session_events=2, updates=2, event_id="e2", interest_n=5),
        visitor_row(activity_n=1, session_start=HOUR + 1, session_events=1, updates=1, category="home.rugs"),
    )
    assert [row["n"] for row in found["tiles_activity"]] == [3]
    assert sorted((row["dim"], row["n"]) for row in found["tiles_interest"]) == [("home.mugs", 5), ("home.rugs", 1)]
    assert sorted((row["session_start"], row["events"]) for row in found["sessions"]) == [(HOUR + 1, 1), (HOUR + 5, 3)]
    assert [row["updates"] for row in found["user_embedding"]] == [3]
    assert [entry.event_id for entry in unpack_history(found["user_embedding"][0]["history"])] == ["e1", "e2", "e3"]


def test_a_late_event_has_tiles_and_history_and_no_session() -> None:
    found = written(visitor_row(late=True))
    assert found.keys() == {"tiles_activity", "tiles_pulse", "tiles_interest", "user_embedding"}


def test_an_event_that_says_nothing_of_taste_leaves_interest_and_history_alone() -> None:
    found = written(visitor_row(interest_takes=False, tastes=False))
    assert found.keys() == {"tiles_activity", "tiles_pulse", "sessions"}


def test_what_the_live_model_does_not_know_is_counted_once_a_folding_in() -> None:
    counted: list[int] = []
    writer = opened(WriteVisitors(TARGET, chains(GROUPS.values())[VISITOR]))
    writer._unknown = SimpleNamespace(inc=counted.append)
    writer.embedder = SimpleNamespace(
        rows=lambda histories: [
            {"model_version": "m", "vector": b"", "history": b"", "unknown_items": 3, "anchor_ms": HOUR}
            for _ in histories
        ]
    )
    rows = [visitor_row(visitor_id=visitor, updates=i) for visitor in ("a", "b") for i in (1, 2)]
    writer.mutations({name: [row[name] for row in rows] for name in writer.columns})
    assert counted == [6], "one history a visitor and batch is folded in"


def test_a_closed_session_deletes_what_began_inside_it() -> None:
    writer = opened(WriteClosedSessions(TARGET))
    row = visitor_row()
    batch = {name: [row[name if name == "visitor_id" else f"session_{name}"]] for name in writer.columns}
    closed, delete = writer.mutations(batch)
    assert isinstance(closed, Upsert) and isinstance(delete, RangeDelete)
    assert closed.values[-1] is True
    assert (delete.after, delete.until) == (HOUR + 5, HOUR + 9)
    assert closed.timestamp > (HOUR + 5) * 1000 + 10_000_000


def test_tiles_of_groups_that_share_a_key_are_each_reduced_to_the_newest() -> None:
    group = GROUPS["popularity"]
    other = feature_group("buyers", key="item_id", tile="1 hour", last=latest(where=event.type == "purchase"))
    writer = opened(WriteTiles(TARGET, [group, other]))
    writer.rows.tables["tiles_buyers"] = table_of(tile_view(other), "g1")
    names = ("item_id", "popularity_n", "popularity_mass", "popularity_purchases", "buyers_takes", "buyers_last")
    rows = [("i1", 1, 5, 0, True, None), ("i1", 2, 9, 1, True, str(HOUR + 7)), ("i2", 1, 7, 0, False, None)]
    same = {"popularity_takes": True, "popularity_tile_start": HOUR, "buyers_tile_start": HOUR}
    whole = [{**same, **dict(zip(names, row, strict=True)), "buyers_n": row[1]} for row in rows]
    found = writer.mutations({name: [row[name] for row in whole] for name in writer.columns})
    assert sorted((m.table.view.name, m.values) for m in found) == [
        ("tiles_buyers", ("i1", HOUR, 2, HOUR + 7)),
        ("tiles_popularity", ("i1", HOUR, 2, 9, 1)),
        ("tiles_popularity", ("i2", HOUR, 1, 7, 0)),
    ]


def test_newest_keeps_the_greatest_version_among_those_to_take() -> None:
    assert newest(["a", "b", "a", "a"], [1, 1, 3, 2]) == [2, 1]
    assert newest(["a", "a"], [1, 2], [True, False]) == [0]
    assert newest([], []) == []


def test_what_was_carried_as_text_reads_back() -> None:
    assert read_moment(f"{5:015d}\0e\0item\0web") == ("item", "web")
    assert read_moment(f"{5:015d}\0e\0\0") == (None, None)


def test_a_fault_strikes_as_often_as_asked_whatever_worker_it_strikes(tmp_path) -> None:
    strikes = 0
    for worker in range(5):
        fault = Fault.parse(f"folder={tmp_path},seed={worker},times=3,every=2")
        cuts = [fault.cut(10) for _ in range(20)]
        strikes += sum(cut is not None for cut in cuts)
        assert all(cut is None or 1 <= cut < 10 for cut in cuts)
    assert strikes == 3


@pytest.mark.parametrize("text", ["", "seed=1", "folder=x,seed=a,times=1,every=1"])
def test_a_fault_that_is_not_understood_is_refused(text: str) -> None:
    from common.errors import ConfigError

    with pytest.raises(ConfigError, match="--fault"):
        Fault.parse(text)
