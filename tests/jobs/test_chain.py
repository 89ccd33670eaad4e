"""The chain over a small shop: every row accounted for, every table what the oracles say, a second run the same."""

from collections import Counter, defaultdict
from decimal import Decimal

import numpy as np
import pytest

from common.blend import read_blend
from common.embedding import load_model, unpack_recommendations
from common.features.groups import GROUPS
from common.features.previous import with_previous
from common.features.tiles import batch_tiles
from common.features.windows import DAY_MS
from common.sessions import SESSION_GAP_MS, fold_session, sessionize
from jobs.chain import STEPS
from jobs.features import at_cut
from jobs.publish import batch_tiles as tiles_of_rows
from jobs.spark.models import newest_model
from tests.jobs.small_shop import CUT_MS

# The first test to ask builds the lake: dozens of small Spark jobs.
pytestmark = [pytest.mark.spark, pytest.mark.timeout(900)]

MADE = (
    "silver/cleansed",
    "quarantine/events",
    "silver/events",
    "silver/items",
    "gold/sessions",
    "gold/orders",
    "gold/rfm",
    "gold/visitor_features",
    "gold/segments",
    "gold/centroids",
    "gold/recommendations",
    "gold/items",
    *(f"gold/{group.table}" for group in GROUPS.values()),
)


@pytest.fixture(scope="session")
def events(built):
    """Silver events before the cut, as the oracles take them."""
    rows = [row.asDict() for row in built.lake.read("silver/events").where(f"event_ms < {CUT_MS}").collect()]
    assert len(rows) > 500
    return rows


def test_every_line_is_accounted_for(built):
    shop, lake = built.shop, built.lake
    count = {name: lake.read(name).count() for name in ("bronze/events", "bronze/rejections", *MADE[:3])}
    assert built.imported["rows_in"] == shop.lines
    assert count["bronze/rejections"] == built.imported["rejected"] == shop.broken
    assert count["bronze/events"] == shop.lines - shop.broken
    assert count["quarantine/events"] == built.counts["cleanse"]["quarantined"] == shop.free
    assert count["silver/cleansed"] == count["bronze/events"] - shop.free
    duplicates = built.counts["dedup_events"]["duplicates"]
    assert count["silver/events"] == count["silver/cleansed"] - duplicates
    assert 0 < duplicates <= shop.twice


def test_a_rejection_keeps_its_bytes_and_reason(built):
    rows = built.lake.read("bronze/rejections").collect()
    kept = {bytes(row["raw"]): row["reason"] for row in rows}
    lines = built.shop.path.read_bytes().split(b"\n")
    assert all(lines[row["offset"]] == bytes(row["raw"]) for row in rows)
    assert kept[b"{"] == "invalid_json"
    assert kept[b""] == "empty"
    assert kept[b"[1]"] == "not_an_object"


def test_quarantine_names_the_rule(built):
    rules = {row["rule"] for row in built.lake.read("quarantine/events").select("rule").distinct().collect()}
    assert rules == {"sale_price_is_positive"}


def test_each_event_is_kept_once_and_is_the_first_record(built):
    order = ("ingest_ms", "topic", "partition", "offset")
    first: dict[str, tuple] = {}
    for row in built.lake.read("silver/cleansed").collect():
        at = tuple(row[name] for name in order)
        first[row["event_id"]] = min(first.get(row["event_id"], at), at)
    kept = {row["event_id"]: tuple(row[n] for n in order) for row in built.lake.read("silver/events").collect()}
    assert kept == first


def test_sessions_equal_the_oracle(built, events):
    expected = {}
    for rows in sessionize(events):
        session = fold_session(rows)
        closed = session.session_end + SESSION_GAP_MS < CUT_MS
        expected[session.visitor_id, session.session_start] = {
            **{name: getattr(session, name) for name in session.__struct_fields__},
            "closed": closed,
        }
    rows = built.lake.read("gold/sessions").drop("session_date").collect()
    stored = {(r["visitor_id"], r["session_start"]): r.asDict() for r in rows}
    assert stored == expected
    assert {row["closed"] for row in stored.values()} == {True, False}


@pytest.mark.parametrize("name", sorted(GROUPS))
def test_tiles_equal_the_oracle(built, events, name):
    group, events = GROUPS[name], with_previous(events)
    rows = defaultdict(list)
    for row in at_cut(built.lake.read(f"gold/{group.table}"), group, CUT_MS).collect():
        rows[row[group.key]].append({"dim": "", **row.asDict()})
    stored = {key: tiles_of_rows(group, found) for key, found in rows.items()}
    assert stored == batch_tiles(group, events, CUT_MS)


def test_rfm_equals_a_plain_count(built, events):
    orders: dict[str, set[str]] = defaultdict(set)
    spent: dict[str, Decimal] = defaultdict(Decimal)
    returned: dict[str, Decimal] = defaultdict(Decimal)
    last: dict[str, int] = defaultdict(int)
    for row in events:
        if row["event_type"] == "purchase":
            orders[row["visitor_id"]].add(row["order_id"])
            spent[row["visitor_id"]] += row["price"] * row["quantity"]
            last[row["visitor_id"]] = max(last[row["visitor_id"]], row["event_ms"])
        if row["event_type"] == "refund":
            returned[row["visitor_id"]] += row["price"] * row["quantity"]
    assert set(returned) & set(orders)
    expected = {
        v: ((CUT_MS - last[v]) // DAY_MS, len(orders[v]), spent[v], returned[v], spent[v] - returned[v]) for v in orders
    }
    stored = {
        r["visitor_id"]: (r["recency_days"], r["frequency"], r["monetary"], r["refunded"], r["net"])
        for r in built.lake.read("gold/rfm").collect()
    }
    assert stored == expected


def test_rfm_scores_follow_the_figures(built):
    rows = built.lake.read("gold/rfm").collect()
    for figure, score, direction in (
        ("recency_days", "r_score", -1),
        ("frequency", "f_score", 1),
        ("monetary", "m_score", 1),
    ):
        ordered = sorted(rows, key=lambda r: direction * r[figure])
        assert [r[score] for r in ordered] == sorted(r[score] for r in rows)
        assert len({(r[figure], r[score]) for r in rows}) == len({r[figure] for r in rows}), (
            "equal figures, equal scores"
        )


def test_segments_have_names_and_every_buyer_one(built):
    segments, rfm = built.lake.read("gold/segments").collect(), built.lake.read("gold/rfm").count()
    centroids = {r["segment_id"]: r for r in built.lake.read("gold/centroids").collect()}
    assert len(segments) == rfm
    assert Counter(r["segment_id"] for r in segments) == {i: r["size"] for i, r in centroids.items() if r["size"]}
    assert len({r["segment"] for r in centroids.values()}) == len(centroids) == built.counts["segment"]["k"]


def test_fold_in_is_what_mllib_fitted(built):
    trained = built.counts["train_als"]
    assert trained["fold_in_users"] > 20
    assert trained["fold_in_difference"] < 1e-5


def test_lists_are_ranked_and_leave_out_what_was_bought(built, events):
    folder, _ = newest_model(built.lake.root, CUT_MS)
    model = load_model(folder)
    bought = defaultdict(set)
    for row in events:
        if row["event_type"] == "purchase":
            bought[row["visitor_id"]].add(row["item_id"])
    blend = read_blend(folder, CUT_MS)
    assert blend is not None and blend.weights == built.counts["recommend"]["source_weights"]
    assert {len(near.items) for near in blend.neighbours.values()} == {len(model.item_ids)}
    rows = built.lake.read("gold/recommendations").collect()
    assert len(rows) == len({e["visitor_id"] for e in events if e["event_type"] in ("view", "cart", "purchase")})
    for row in rows:
        indexes, scores = unpack_recommendations(bytes(row["recommendations"]))
        assert np.all(np.diff(scores) <= 0)
        listed = {model.item_ids[i] for i in indexes}
        assert listed == set(model.item_ids) - bought[row["visitor_id"]]


def test_similar_items_do_not_hold_the_item_itself(built):
    folder, manifest = newest_model(built.lake.root, CUT_MS)
    model = load_model(folder)
    rows = built.lake.read("gold/items").collect()
    assert {row["item_id"] for row in rows} == set(model.item_ids)
    for row in rows:
        indexes, _ = unpack_recommendations(bytes(row["similar"]))
        assert model.index[row["item_id"]] not in indexes
        assert row["model_version"] == manifest.model_version


def test_a_second_run_gives_the_same_tables(built):
    before = {name: sorted(map(str, built.lake.read(name).collect())) for name in MADE}
    again = built.run_again()
    assert again["cleanse"]["rows_in"] == again["dedup_events"]["rows_in"] == 0
    assert again["train_als"]["trained"] is False
    for name in MADE:
        assert sorted(map(str, built.lake.read(name).collect())) == before[name], name


def test_each_step_leaves_a_row_in_runs(built):
    rows = built.lake.read("gold/runs").collect()
    by_run = defaultdict(list)
    for row in sorted(rows, key=lambda r: r["started_ms"]):
        by_run[row["run_id"]].append(row)
    first = min(by_run.values(), key=lambda found: found[0]["started_ms"])
    assert [row["job"] for row in first][:2] == ["cleanse", "dedup_events"]
    assert {row["job"] for row in first} == {s.name for s in STEPS} - {"land", "check", "parity", "publish"}
    assert all(row["outcome"] == "ok" for row in first)
    assert first[0]["reads"] == {"bronze/events": 1}
    assert set(first[0]["writes"]) == {"silver/cleansed", "quarantine/events"}
