"""The figures of ranked lists against definitions written out one visitor and one place at a time."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.ranking import Cells
from common.ranking_metrics import NAMES, ranking_metrics

ITEMS = 12
shown = st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=8)
wanted = st.sets(st.integers(0, ITEMS - 1), min_size=1, max_size=ITEMS - 1)
visitors = st.lists(st.tuples(shown, wanted), min_size=1, max_size=6)


def place(listed: list[int], item: int) -> int:
    """Where the item is in the list; behind it, together, are those that are not in it."""
    return listed.index(item) if item in listed else len(listed)


def naive(rows: list[tuple[list[int], set[int]]], popularity: list[int], of: int, k: int) -> dict[str, float]:
    figures: dict[str, list[float]] = {name: [] for name in ("precision", "recall", "f1", "auc", "ndcg", "map")}
    places: list[int] = []
    for full, relevant in rows:
        listed = full[:k]
        places += listed
        found = [item for item in listed if item in relevant]
        figures["precision"].append(len(found) / k)
        figures["recall"].append(len(found) / len(relevant))
        precision, recall = len(found) / k, len(found) / len(relevant)
        figures["f1"].append(2 * precision * recall / (precision + recall) if found else 0.0)
        others = set(range(ITEMS)) - relevant
        pairs = [(place(listed, good), place(listed, bad)) for good in relevant for bad in others]
        figures["auc"].append(sum((good < bad) + (good == bad) / 2 for good, bad in pairs) / len(pairs))
        gain = sum(1 / math.log2(at + 1) for at, item in enumerate(listed, 1) if item in relevant)
        figures["ndcg"].append(gain / sum(1 / math.log2(at + 1) for at in range(1, min(k, len(relevant)) + 1)))
        hits = [len(set(listed[:at]) & relevant) / at for at, i in enumerate(listed, 1) if i in relevant]
        figures["map"].append(sum(hits) / min(k, len(relevant)))
    means = {name: sum(values) / len(rows) for name, values in figures.items()}
    had = [max(1, n) for n in popularity]
    of_relevant = [had[item] for _, relevant in rows for item in relevant]
    means["coverage"] = len(set(places)) / ITEMS
    means["novelty"] = sum(-math.log2(had[i] / of) for i in places) / len(places) if places else 0.0
    mean_taken = sum(of_relevant) / len(of_relevant)
    means["popularity_bias"] = sum(had[i] for i in places) / len(places) / mean_taken - 1 if places else 0.0
    return means


@given(visitors, st.lists(st.integers(0, 40), min_size=ITEMS, max_size=ITEMS), st.integers(1, 10))
def test_the_figures_are_their_definitions(
    rows: list[tuple[list[int], set[int]]], popularity: list[int], k: int
) -> None:
    lists = np.full((len(rows), 8), -1, np.int32)
    for row, (listed, _) in enumerate(rows):
        lists[row, : len(listed)] = listed
    cells = [(row, item) for row, (_, relevant) in enumerate(rows) for item in sorted(relevant)]
    relevant = Cells(np.array([r for r, _ in cells]), np.array([i for _, i in cells]))
    measured = ranking_metrics(lists, relevant, np.array(popularity), 50, k)
    expected = naive(rows, popularity, 50, k)
    assert measured.users == len(rows)
    for name in NAMES:
        assert getattr(measured, name) == pytest.approx(expected[name], abs=1e-12), name


def test_a_visitor_without_a_relevant_item_is_refused() -> None:
    nobody = Cells(np.empty(0, np.int64), np.empty(0, np.int64))
    with pytest.raises(ValueError, match="needs a list and a relevant item"):
        ranking_metrics(np.zeros((1, 3), np.int32), nobody, np.ones(ITEMS, np.int64), 5, 3)
