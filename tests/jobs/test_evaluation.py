"""Spark's evaluator and numpy's: the same figures, for all visitors and for each group."""

import numpy as np
import pytest

from common.ranking import Cells
from common.ranking_metrics import NAMES
from common.ranking_metrics import ranking_metrics as in_numpy
from jobs.spark.evaluation import ALL, ranking_metrics

pytestmark = pytest.mark.spark

VISITORS, ITEMS, K = 60, 40, 7


def test_both_evaluators_agree(spark):
    rng = np.random.default_rng(11)
    popularity = rng.integers(0, 30, ITEMS)
    relevant = [rng.choice(ITEMS, rng.integers(1, 12), replace=False).tolist() for _ in range(VISITORS)]
    segments = [["odd"] if v % 2 else [] for v in range(VISITORS)]
    lists = {
        name: [rng.permutation(ITEMS)[: rng.integers(0, 12)].tolist() for _ in range(VISITORS)] for name in ("a", "b")
    }
    made = ranking_metrics(
        spark.createDataFrame(
            [(name, f"v{v}", listed) for name, rows in lists.items() for v, listed in enumerate(rows)],
            "ranking string, visitor_id string, items array<int>",
        ),
        spark.createDataFrame(
            [(f"v{v}", relevant[v], segments[v]) for v in range(VISITORS)],
            "visitor_id string, relevant array<int>, segments array<string>",
        ),
        spark.createDataFrame([(i, int(n)) for i, n in enumerate(popularity)], "item int, n long"),
        ITEMS,
        VISITORS,
        K,
    )
    rows = {(r["ranking"], r["segment"]): r for r in made.collect()}
    groups = {ALL: range(VISITORS), "odd": range(1, VISITORS, 2)}
    assert rows.keys() == {(name, group) for name in lists for group in groups}
    for (name, group), row in rows.items():
        chosen = list(groups[group])
        matrix = np.full((len(chosen), 12), -1, np.int32)
        for at, visitor in enumerate(chosen):
            matrix[at, : len(lists[name][visitor])] = lists[name][visitor]
        cells = [(at, item) for at, visitor in enumerate(chosen) for item in relevant[visitor]]
        expected = in_numpy(matrix, Cells(*np.array(cells).T), popularity, VISITORS, K)
        assert row["users"] == expected.users
        for figure in NAMES:
            assert row[figure] == pytest.approx(getattr(expected, figure), abs=1e-6), (name, group, figure)
