"""A writer's histories: merged into what the view holds, whatever is forgotten or comes again."""

import random
from collections.abc import Sequence

from common.embedding import HISTORY, HistoryEntry, last_items, pack_history
from streaming.history import Histories

SEED = 5


class View:
    """The stored histories of visitors, and how often they were asked for."""

    def __init__(self) -> None:
        self.rows: dict[str, list[bytes]] = {}
        self.asked = 0

    def read(self, visitors: Sequence[str]) -> dict[str, list[bytes]]:
        self.asked += len(visitors)
        return {visitor: self.rows[visitor] for visitor in visitors if visitor in self.rows}


def entry(number: int) -> HistoryEntry:
    return HistoryEntry(f"i{number % 9}", 1, 1_000 + number * 7919 % 500, f"e{number}")


def test_a_history_is_the_last_items_of_all_events_however_they_came() -> None:
    rng = random.Random(SEED)
    view, all_of = (
        View(),
        {f"v{n}": [entry(i) for i in range(40 * n)] for n in range(1, 5)},
    )
    coming = [(visitor, one) for visitor, entries in all_of.items() for one in entries]
    rng.shuffle(coming)
    coming += rng.sample(coming, 50)  # what a restore sends again
    histories = Histories(view.read, remembered=2)
    for start in range(0, len(coming), 17):
        if start == 170:
            histories = Histories(view.read, remembered=2)  # a worker that begins anew
        batch: dict[str, list[HistoryEntry]] = {}
        for visitor, one in coming[start : start + 17]:
            batch.setdefault(visitor, []).append(one)
        for visitor, merged in zip(batch, histories.add(batch), strict=True):
            view.rows[visitor] = [pack_history(merged)]
    assert {visitor: rows[0] for visitor, rows in view.rows.items()} == {
        visitor: pack_history(last_items(entries)) for visitor, entries in all_of.items()
    }
    assert len(all_of["v4"]) > HISTORY


def test_the_view_is_asked_once_for_a_visitor_that_is_remembered() -> None:
    view = View()
    histories = Histories(view.read)
    histories.add({"a": [entry(1)], "b": [entry(2)]})
    histories.add({"a": [entry(3)]})
    assert view.asked == 2


def test_rows_of_several_models_are_one_history() -> None:
    view = View()
    view.rows["a"] = [
        pack_history([entry(1), entry(2)]),
        pack_history([entry(2), entry(3)]),
    ]
    (merged,) = Histories(view.read).add({"a": [entry(4)]})
    assert merged == last_items([entry(1), entry(2), entry(3), entry(4)])
