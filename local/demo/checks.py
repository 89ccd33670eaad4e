"""The checks of the demo: each turns what was measured into a verdict that can be wrong."""

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pandas as pd

from common.features.windows import DAY_MS, MINUTE_MS
from local.demo.load import Answered
from local.demo.oracle import Expected
from local.demo.probes import Probed
from local.selfcheck import Check, latency
from local.simulator.faults import Disturbed
from views.scan import Digest

REQUIRED = (
    "history_accounted",
    "rfm_matches_oracle",
    "segments_published",
    "als_beats_popularity",
    "fold_in_equals_mllib",
    "poison_accounted",
    "duplicates_ignored",
    "late_events_land_in_their_tile",
    "sessions_parity",
    "features_parity",
    "click_changes_list",
    "answer_latency",
    "flip_without_failure",
    "replay_changes_nothing",
)
"""What every run of the demo must have measured."""

MIN_TEST_USERS = 200
MIN_PROBES = 300

KNOWN_RETAIL: dict[str, Any] = {
    "exact_duplicate_rows": 5_268,
    "rows": 392_692,
    "customers": 4_338,
    "revenue": Decimal("8887208.89"),
    "recency_median": 50.0,
    "recency_mean": 92.06,
    "frequency_median": 2.0,
    "frequency_mean": 4.27,
    "frequency_max": 209,
    "monetary_median": 668.57,
    "monetary_mean": 2_048.69,
    "monetary_max": 280_206.02,
}
"""Known answers of UCI Online Retail at the snapshot 2011-12-10, computed independently."""


def history_accounted(imported: Mapping[str, Any], stored: Mapping[str, int], landed: int, refused: int) -> Check:
    """Rows of the file and of the topic against what became of them, to the row.

    ``stored`` counts rows of the lake's tables; ``landed`` and ``refused`` the topic's records that were admitted and
    rejected by the oracle.
    """
    rows_in = imported["rows_in"] + landed + refused
    duplicates = stored["silver/cleansed"] - stored["silver/events"]
    parts = {
        "silver": stored["silver/events"],
        "quarantined": stored["quarantine/events"],
        "rejected": stored["bronze/rejections"],
        "duplicates": duplicates,
    }
    detail = f"rows in {rows_in:,} = " + " + ".join(f"{name} {count:,}" for name, count in parts.items())
    whole = stored["bronze/events"] == stored["silver/cleansed"] + stored["quarantine/events"]
    return Check(
        "history_accounted", rows_in == sum(parts.values()) and whole, sum(parts.values()), "rows", rows_in, detail
    )


def rfm_matches_oracle(purchases: pd.DataFrame, rfm: pd.DataFrame, cut_ms: int) -> Check:
    """gold/rfm against the same figures by pandas, row by row."""
    spent = [price * quantity for price, quantity in zip(purchases["price"], purchases["quantity"], strict=True)]
    grouped = purchases.assign(spent=spent).groupby("visitor_id")
    oracle = pd.DataFrame(
        {
            "recency_days": (cut_ms - grouped["event_ms"].max()) // DAY_MS,
            "frequency": grouped["order_id"].nunique(),
            "monetary": grouped["spent"].agg(lambda values: sum(values, Decimal(0))),
        }
    )
    stored = rfm.set_index("visitor_id").reindex(oracle.index)
    wrong = sum(
        (row.recency_days, row.frequency, row.monetary) != (want.recency_days, want.frequency, want.monetary)
        for row, want in zip(stored.itertuples(), oracle.itertuples(), strict=True)
    )
    wrong += abs(len(rfm) - len(oracle))
    detail = f"{len(oracle):,} visitors, {wrong:,} differ"
    return Check("rfm_matches_oracle", wrong == 0 and len(oracle) > 0, wrong, "rows differ", 0, detail)


def known_answers(purchases: pd.DataFrame, rfm: pd.DataFrame, exact_duplicate_rows: int) -> Check:
    """The known answers of Online Retail, each exact to the digits that are known."""
    revenue = sum((p * q for p, q in zip(purchases["price"], purchases["quantity"], strict=True)), Decimal(0))
    money = rfm["monetary"].astype(float)
    found: dict[str, Any] = {
        "exact_duplicate_rows": exact_duplicate_rows,
        "rows": len(purchases),
        "customers": purchases["visitor_id"].nunique(),
        "revenue": revenue.quantize(Decimal("0.01")),
        "recency_median": float(rfm["recency_days"].median()),
        "recency_mean": round(float(rfm["recency_days"].mean()), 2),
        "frequency_median": float(rfm["frequency"].median()),
        "frequency_mean": round(float(rfm["frequency"].mean()), 2),
        "frequency_max": int(rfm["frequency"].max()),
        "monetary_median": round(float(money.median()), 2),
        "monetary_mean": round(float(money.mean()), 2),
        "monetary_max": round(float(money.max()), 2),
    }
    wrong = {name: str(found[name]) for name, want in KNOWN_RETAIL.items() if found[name] != want}
    detail = "all as published" if not wrong else f"differ: {wrong}"
    return Check("known_answers", not wrong, len(KNOWN_RETAIL) - len(wrong), "figures", len(KNOWN_RETAIL), detail)


def segments_published(segment: Mapping[str, Any], stored: Mapping[int, tuple[str, int]]) -> Check:
    """The segments that the job found against those in the live view."""
    sizes = {name: size for name, size in stored.values()}
    passed = len(stored) == segment["k"] and sizes == segment["sizes"] and len(stored) >= 2
    detail = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    return Check("segments_published", passed, len(stored), "segments", segment["k"], detail)


def als_beats_popularity(train: Mapping[str, Any]) -> Check:
    """nDCG@10 of the model and of popularity on the split in time."""
    value = {"als": train["ndcg"], "popularity": train["ndcg_popularity"]}
    users = train["test_users"]
    if users < MIN_TEST_USERS:
        detail = f"{users} test users are too few to tell; it takes {MIN_TEST_USERS}"
        return Check("als_beats_popularity", None, value, "nDCG@10", "als > popularity", detail)
    passed = value["als"] > value["popularity"]
    return Check("als_beats_popularity", passed, value, "nDCG@10", "als > popularity", f"{users:,} test users")


def fold_in_equals_mllib(train: Mapping[str, Any]) -> Check:
    """Largest relative difference of the fold-in from MLlib's user factors."""
    difference, users = train["fold_in_difference"], train["fold_in_users"]
    passed = users > 0 and difference <= 1e-5
    return Check("fold_in_equals_mllib", passed, difference, "relative", 1e-5, f"{users:,} users")


def poison_accounted(expected: Counter[str], found: Counter[str], poisoned: int) -> Check:
    """Rejections by reason: those declared for what was sent against those in the topic."""
    wrong = {
        reason: (expected[reason], found[reason]) for reason in expected | found if expected[reason] != found[reason]
    }
    detail = (
        f"{poisoned} poisoned, {sum(expected.values()) - poisoned} by the data's own faults, {len(expected)} reasons"
    )
    if wrong:
        detail += f"; expected and found differ: {wrong}"
    passed = not wrong and poisoned > 0
    return Check("poison_accounted", passed, sum(found.values()), "rejections", sum(expected.values()), detail)


def duplicates_ignored(expected: Expected, stored: Mapping[tuple[str, int], Mapping[str, Any]]) -> Check:
    """Events counted in the stored tiles against the distinct events sent."""
    counted = sum(row["n"] for row in stored.values())
    passed = counted == len(expected.events) and expected.duplicates > 0
    detail = f"{expected.duplicates:,} duplicates sent among {expected.admitted:,} admitted records"
    return Check("duplicates_ignored", passed, counted, "events counted", len(expected.events), detail)


def late_events_land(
    expected: Expected, disturbed: Disturbed, stored: Mapping[tuple[str, int], Mapping[str, Any]]
) -> Check:
    """Tiles of events sent late, as stored against the fold of all events."""
    late = [e for e in sorted(disturbed.late_within | disturbed.late_beyond) if e in expected.events]
    tiles = {expected.tile_of(event_id) for event_id in late}
    right = sum(
        (visitor, start) in stored and stored[visitor, start]["n"] == expected.activity[visitor][start, ""].n
        for visitor, start in tiles
    )
    detail = f"{len(late):,} late events, {len(disturbed.late_beyond):,} of them beyond the lateness"
    passed = right == len(tiles) and len(late) > 0
    return Check("late_events_land_in_their_tile", passed, right, "tiles right", len(tiles), detail)


def features_parity(parity: Mapping[str, Any], tables: list[str]) -> Check:
    """Tiles of every group as both layers stored them."""
    rows = [parity[table] for table in tables]
    return _parity("features_parity", rows, "")


def sessions_parity(parity: Mapping[str, Any]) -> Check:
    """Closed sessions as both layers stored them."""
    healed = parity["sessions_healed_by_late_events"]
    return _parity("sessions_parity", [parity["sessions"]], f"{healed} more are healed by late events in batch")


def _parity(name: str, rows: list[Mapping[str, Any]], detail: str) -> Check:
    compared, equal = (sum(row[key] for row in rows) for key in ("compared", "equal"))
    value = {
        "compared": compared,
        "equal": equal,
        "missing": sum(row["missing_in_speed"] + row["missing_in_batch"] for row in rows),
        "largest difference": max(row["largest_difference"] for row in rows),
    }
    return Check(name, compared == equal and compared > 0, value, "rows", "all equal", detail)


def sessions_match_truth(events: pd.DataFrame, gap_ms: int) -> Check:
    """The session rule against the shop's own session ids, for each event that follows another of its visitor.

    The detail names the best that a gap of any other whole number of minutes up to an hour would reach: a shop also
    begins sessions that no gap can see.
    """
    # Events of one instant have no order of their own: those of a session stand together.
    ordered = events.dropna(subset=["truth"]).sort_values(["visitor_id", "event_ms", "truth", "event_id"])
    follows = ordered["visitor_id"].eq(ordered["visitor_id"].shift())
    gaps = (ordered["event_ms"] - ordered["event_ms"].shift())[follows]
    same = ordered["truth"].eq(ordered["truth"].shift())[follows]
    own, ours = ordered["truth"].nunique(), len(ordered) - int((gaps <= gap_ms).sum())
    share = round(float(((gaps <= gap_ms) == same).mean()), 4) if len(gaps) else 0.0
    best = max((float(((gaps <= m * MINUTE_MS) == same).mean()) for m in range(1, 61)), default=0.0)
    detail = (
        f"{ours:,} sessions by the rule, {own:,} by the shop's own ids, {len(gaps):,} pairs of events; "
        f"the best gap of 1 to 60 minutes reaches {best:.4f}"
    )
    return Check("sessions_match_truth", share >= 0.95, share, "of pairs agree", 0.95, detail)


def click_changes_list(probed: Probed) -> Check:
    """Latency from a click to a list that it moved."""
    made = len(probed.milliseconds) + len(probed.unmoved)
    detail = f"{made} probes"
    if probed.unmoved:
        detail += f", {len(probed.unmoved)} without a change: {dict(Counter(probed.unmoved))}"
    check = latency("click_changes_list", probed.milliseconds, {"p50": 400, "p99": 1000}, detail)
    if probed.unmoved or made < MIN_PROBES:
        return Check(check.name, False, check.value, check.unit, check.goal, check.detail)
    return check


def answer_latency(answered: Answered, rate: float) -> Check:
    """Latency of answers under an open loop."""
    detail = f"{answered.requests:,} requests at {rate:.0f}/s, {answered.degraded} degraded"
    check = latency("answer_latency", answered.latencies_ms, {"p99": 25}, detail)
    if answered.failures:
        why = f"{check.detail}; {len(answered.failures)} failed: {dict(Counter(answered.failures))}"
        return Check(check.name, False, check.value, check.unit, check.goal, why)
    return check


def flip_without_failure(answered: Answered) -> Check:
    """Requests answered while a new version was published."""
    detail = f"{answered.requests:,} requests; versions answered from: {', '.join(sorted(answered.versions))}"
    if answered.failures:
        detail += f"; failures: {dict(Counter(answered.failures))}"
    passed = not answered.failures and len(answered.versions) >= 2
    return Check("flip_without_failure", passed, len(answered.failures), "failures", 0, detail)


def replay_changes_nothing(first: Mapping[str, Digest], second: Mapping[str, Digest]) -> Check:
    """Digests of two generations' tables."""
    differ = [name for name in first if first[name] != second[name]]
    rows = sum(digest.rows for digest in first.values())
    detail = ", ".join(f"{name} {digest.rows:,} rows" for name, digest in first.items())
    if differ:
        detail += "; differ: " + ", ".join(f"{n} ({first[n].rows:,} and {second[n].rows:,} rows)" for n in differ)
    empty = [name for name, digest in first.items() if not digest.rows]
    passed = not differ and not empty
    return Check("replay_changes_nothing", passed, rows, "rows compared", "equal digests", detail)
