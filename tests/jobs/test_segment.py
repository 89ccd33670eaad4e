"""Segments over three days: ids and names stay, who moved is told once, and a cut run again changes nothing."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from pyspark.sql import functions as f
from sklearn.cluster import DBSCAN

from common.contracts.profiles import RFM
from common.errors import IncompleteInput
from common.features.windows import DAY_MS
from common.rfm import read_centroid
from jobs import segment
from jobs.segment import Segment, segments_of
from jobs.spark.density import dbscan
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake

pytestmark = pytest.mark.spark

CUTS = [1_772_330_400_000 + day * DAY_MS for day in range(3)]
LOYAL, LAPSED, NEW = (5, 20, 4000), (200, 2, 100), (4, 1, 30)


def figures(spread: int, kinds: dict[str, tuple[int, int, int]]):
    """Each visitor with figures a little off those of its kind."""
    return {
        name: (r + i % 3, q + i % 2 * spread, m * (1 + i % 5 / 20)) for i, (name, (r, q, m)) in enumerate(kinds.items())
    }


def kinds(counts: dict[tuple[int, int, int], int]) -> dict[str, tuple[int, int, int]]:
    names = iter(range(1000))
    return {f"v{next(names):03d}": kind for kind, count in counts.items() for _ in range(count)}


def write(lake: Lake, cut_ms: int, visitors) -> None:
    rows = []
    for visitor, (recency, frequency, monetary) in visitors.items():
        row = {x.name: Decimal(0) if x.kind.name == "decimal" else 1 for x in RFM.fields}
        row |= {"visitor_id": visitor, "cut_ms": cut_ms, "recency_days": int(recency), "frequency": int(frequency)}
        rows.append(tuple((row | {"monetary": Decimal(str(round(monetary, 2)))}).values()))
    lake.replace("gold/rfm", lake.spark.createDataFrame(rows, struct_type(RFM)))


def run(lake: Lake, cut_ms: int):
    return segment.main(lake.spark, segment.Args(lake=lake.root, cut=cut_ms, k_min=2, k_max=4, restarts=3))


def tables(lake: Lake):
    names = ("gold/segments", "gold/centroids", "gold/segment_history", "gold/segment_moves")
    return {name: sorted(map(str, lake.read(name).collect())) for name in names}


def moves(lake: Lake, cut_ms: int):
    rows = lake.read("gold/segment_moves").where(f"cut_ms = {cut_ms}").collect()
    return {row["visitor_id"]: (row["from_segment"], row["to_segment"]) for row in rows}


def test_segments_from_day_to_day(spark, tmp_path):
    lake = Lake(spark, str(tmp_path))
    first = kinds({LOYAL: 20, LAPSED: 30, NEW: 25})
    write(lake, CUTS[0], figures(1, first))
    counts = run(lake, CUTS[0])
    assert counts["sizes"] == {"Loyal Customers": 20, "Lapsed Customers": 30, "Newcomers": 25}
    assert counts["visitors"] == {"entered": 75, "left": 0, "changed": 0} and counts["known_before"] == 0
    ids = {r["segment"]: r["segment_id"] for r in lake.read("gold/centroids").collect()}
    assert ids["Loyal Customers"] == 0, "the one that spends most"

    # A day later: everyone's figures drift, one visitor lapses, one is gone, one comes.
    second = {**first, "v000": LAPSED, "v900": NEW}
    del second["v074"]
    write(lake, CUTS[1], {v: (r + 1, q, m) for v, (r, q, m) in figures(1, second).items()})
    counts = run(lake, CUTS[1])
    assert counts["known_before"] == 3
    assert counts["visitors"] == {"entered": 1, "left": 1, "changed": 1}
    assert moves(lake, CUTS[1]) == {
        "v000": ("Loyal Customers", "Lapsed Customers"),
        "v900": (None, "Newcomers"),
        "v074": ("Newcomers", None),
    }
    assert {r["segment"]: r["segment_id"] for r in lake.read("gold/centroids").collect()} == ids

    before = tables(lake)
    assert run(lake, CUTS[1]) == counts, "the same cut again is matched to the cut before it, not to itself"
    assert tables(lake) == before

    # The shop is emptied of all but two kinds of figures: nobody is in a segment, and that is a move as well.
    write(lake, CUTS[2], {"v000": LAPSED, "v001": LOYAL})
    counts = run(lake, CUTS[2])
    assert counts["k"] == 0 and counts["visitors"] == {"entered": 0, "left": 75, "changed": 0}


def test_figures_of_another_cut_are_refused(spark, tmp_path):
    lake = Lake(spark, str(tmp_path))
    write(lake, CUTS[0], figures(1, kinds({LOYAL: 20, LAPSED: 30, NEW: 25})))
    with pytest.raises(IncompleteInput, match=f"gold/rfm was made for the cut {CUTS[0]}, not {CUTS[1]}: run its job"):
        run(lake, CUTS[1])
    assert not lake.exists("gold/segments")


def test_bisecting_finds_what_lies_apart(spark):
    rows = [
        (v, int(r), int(q), float(m)) for v, (r, q, m) in figures(1, kinds({LOYAL: 20, LAPSED: 30, NEW: 25})).items()
    ]
    rfm = spark.createDataFrame(rows, ["visitor_id", *segment.MEASURES])
    args = segment.Args(lake="lake", cut=0, method="bisecting")
    found = segment.clusters(rfm, segment.scale_of(rfm), [3], args)[3]
    assert sorted(found.sizes.tolist()) == [20, 25, 30]


def test_an_id_is_never_given_to_another_segment():
    scale = segment.Scale(np.zeros(3), np.ones(3))
    earlier = [
        {
            "cut_ms": 1,
            "segment_id": 0,
            "segment": "Loyal Customers",
            "recency_days": 5,
            "frequency": 20,
            "monetary": 4e3,
        },
        {"cut_ms": 1, "segment_id": 1, "segment": "Newcomers", "recency_days": 4, "frequency": 1, "monetary": 30},
        {
            "cut_ms": 2,
            "segment_id": 0,
            "segment": "Loyal Customers",
            "recency_days": 5,
            "frequency": 20,
            "monetary": 4e3,
        },
    ]
    centroids = scale.standard(np.array([[200, 2, 100], [5, 20, 4100], [4, 1, 30]]))
    found = segments_of(centroids, scale, earlier, within=1.0)
    assert [s.segment_id for s in found] == [2, 0, 3], "1 was gone at the newest cut"
    assert [s.before for s in found] == [None, "Loyal Customers", None]
    assert found[0] == Segment(2, "Lapsed Customers", (200.0, 2.0, 100.0), None)


def test_dense_places_are_those_of_dbscan_on_one_machine(spark):
    rng = np.random.default_rng(2)
    blobs = [rng.normal(centre, spread, (70, 3)) for centre, spread in ((0, 0.2), (2, 0.4), (-3, 0.6))]
    x = np.concatenate([*blobs, rng.uniform(-5, 5, (60, 3)), np.zeros((9, 3)), np.full((4, 3), 4.9)])
    points = spark.createDataFrame(
        [(i, *row) for i, row in enumerate(x.tolist())], "id long, a double, b double, c double"
    )
    found = {r["id"]: r["cluster"] for r in dbscan(points, "id", [f.col(c) for c in "abc"], 0.35, 5).collect()}
    theirs = DBSCAN(eps=0.35, min_samples=5).fit(x)
    assert {i for i, cluster in found.items() if cluster is None} == set(np.flatnonzero(theirs.labels_ == -1).tolist())
    pairs = {(found[i], theirs.labels_[i]) for i in theirs.core_sample_indices_.tolist()}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) > 2


def test_segments_by_density_keep_ids_and_set_those_apart_who_stand_alone(spark, tmp_path):
    lake = Lake(spark, str(tmp_path))
    visitors = figures(1, kinds({LOYAL: 25, LAPSED: 30, NEW: 25})) | {"odd": (900, 400, 90_000)}
    args: dict[str, Any] = {"lake": lake.root, "method": "dbscan", "k_min": 2, "eps": 0.6, "least": 5}
    made = []
    for cut in CUTS[:2]:
        write(lake, cut, visitors)
        told = segment.main(spark, segment.Args(cut=cut, **args))
        assert told["k"] == 4 and told["sizes"][segment.NOISE] == 1
        made.append(
            {row["visitor_id"]: (row["segment_id"], row["segment"]) for row in lake.read("gold/segments").collect()}
        )
    assert made[0] == made[1] and len(set(made[0].values())) == 4
    assert [v for v, (_, name) in made[0].items() if name == segment.NOISE] == ["odd"]
    assert moves(lake, CUTS[1]) == {}
    centroids = lake.read("gold/centroids").collect()
    assert {read_centroid(row["centroid"]) for row in centroids} == {None}, "serving leaves a visitor where the cut did"
    before = tables(lake)
    segment.main(spark, segment.Args(cut=CUTS[1], **args))
    assert tables(lake) == before
