"""Items alike, by visitors and by catalogue, against the formulas written out."""

import math
from collections import defaultdict
from decimal import Decimal

import numpy as np
import pytest

from jobs.spark.neighbours import POPULARITY, SHRINKAGE, as_arrays, content, cooccurrence

pytestmark = pytest.mark.spark


def test_items_are_alike_by_the_visitors_who_took_up_both(spark):
    rng = np.random.default_rng(2)
    pairs = sorted(
        {(f"v{v}", f"i{i}") for v, i in zip(rng.integers(0, 25, 160), rng.integers(0, 12, 160), strict=True)}
    )
    baskets = defaultdict(set)
    for visitor, item in pairs:
        baskets[item].add(visitor)
    visitors = len({visitor for visitor, _ in pairs})
    expected = {}
    for a in baskets:
        for b in baskets:
            c = len(baskets[a] & baskets[b])
            if a != b and c:
                lift = c / len(baskets[a]) / (len(baskets[b]) / visitors) ** POPULARITY
                expected[a, b] = lift * c / (c + SHRINKAGE)
    frame = spark.createDataFrame([(v, i, 1) for v, i in pairs], "visitor_id string, item_id string, weight long")
    found = cooccurrence(frame, 4)
    rows = defaultdict(list)
    for row in found.collect():
        assert row["score"] == pytest.approx(expected[row["item_id"], row["near_id"]])
        rows[row["item_id"]].append(row["score"])
    for item, scores in rows.items():
        assert sorted(scores) == pytest.approx(sorted(s for (a, _), s in expected.items() if a == item)[-4:])
    arrays = as_arrays(found, ["i3", "gone", "i1"], 2)
    assert arrays.items.shape == (3, 2) and (arrays.items[1] == -1).all()
    assert arrays.items[0].tolist() in ([2, -1], [-1, -1]) and arrays.items[2].tolist() in ([0, -1], [-1, -1])


def test_items_are_alike_by_what_the_catalogue_says(spark):
    items = [
        ("green", "Green tea", "tea.green", 4),
        ("sencha", "Sencha green tea", "tea.green", 5),
        ("black", "Black tea", "tea.black", 4),
        ("mug", "Blue mug", "cups", 19),
        ("odd", "?", "unknown", None),
    ]
    rows = [(*item[:3], None if item[3] is None else Decimal(item[3])) for item in items]
    frame = spark.createDataFrame(rows, "item_id string, title string, category string, price decimal(18,4)")
    near: dict[str, dict[str, float]] = defaultdict(dict)
    assert content(frame.where("false"), 3).isEmpty(), "no catalogue says nothing"
    for row in content(frame, 3).collect():
        assert 0 < row["score"] <= 1 + 1e-6 and row["item_id"] != row["near_id"]
        near[row["item_id"]][row["near_id"]] = row["score"]
    assert max(near["green"], key=lambda item: near["green"][item]) == "sencha"
    assert near["green"]["black"] < near["green"]["sencha"]
    assert "mug" not in near["green"] and "odd" not in near
    assert near["black"]["green"] == pytest.approx(near["green"]["black"]) and not math.isnan(near["green"]["black"])
