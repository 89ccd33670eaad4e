"""The shop simulator: same seed, same bytes; sound for the gate; tastes that a recommender can find."""

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from common.admission import Event, Policy, Reason, Rejection, admit
from common.contracts.catalogue import ITEMS
from common.errors import ConfigError
from common.features.windows import DAY_MS, HOUR_MS, MINUTE_MS
from local.simulator.config import ShopConfig
from local.simulator.faults import FaultConfig, disturb, event_id
from local.simulator.poison import poisoned
from local.simulator.record import Record
from local.simulator.shop import Shop

POLICY = Policy(b"a key for tests only", "k1", max_age_ms=40 * DAY_MS)
SMALL = ShopConfig(visitors=200, items=120, history_days=14)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop(SMALL)


@pytest.fixture(scope="module")
def history(shop) -> list[dict]:
    return [json.loads(content(record)) for record in shop.history()]


def content(record: Record) -> bytes:
    assert record.value is not None
    return record.value


def digest(shop: Shop) -> str:
    state = hashlib.sha256()
    for record in shop.history():
        state.update(b"%b\0%b\0%d\n" % (record.key or b"", content(record), record.timestamp_ms))
    return state.hexdigest()


def test_the_same_configuration_gives_the_same_bytes_and_another_seed_others(shop):
    assert digest(shop) == digest(Shop(SMALL))
    assert digest(shop) != digest(Shop(replace(SMALL, seed=1)))
    assert shop.catalogue.titles == Shop(SMALL).catalogue.titles


def test_history_does_not_depend_on_the_traffic_after_it(shop):
    cut = SMALL.cut_ms
    longer = [record for record in shop.records(SMALL.start_ms, cut + 2 * DAY_MS) if record.event_ms < cut]
    assert longer == list(shop.history())
    live = list(shop.live(cut + 2 * DAY_MS))
    assert live and all(cut <= record.event_ms < cut + 2 * DAY_MS for record in live)
    assert {record.key for record in live} & {record.key for record in shop.history()}


def test_the_gate_admits_every_event(shop):
    records = list(shop.history())
    admitted = [admit(record.value, record.timestamp_ms, POLICY) for record in records]
    assert [one for one in admitted if isinstance(one, Rejection)] == []
    events = [one for one in admitted if isinstance(one, Event)]
    assert len({one.event_id for one in events}) == len(records)
    assert [one.event_ms for one in events] == sorted(one.event_ms for one in events)
    assert {one.event_type for one in events} == {
        *("view", "search", "cart", "uncart", "purchase", "refund", "impression", "rate", "share", "identify")
    }


def test_sessions_are_apart_by_more_than_the_gap_and_whole_within_it(history):
    by_visitor = defaultdict(list)
    for one in history:
        by_visitor[one.get("user_id") or one["anonymous_id"]].append((one["event_ms"], one["properties"]["session_id"]))
    longest = 0
    for events in by_visitor.values():
        for (before, session), (after, next_session) in zip(events, events[1:], strict=False):
            assert (after - before > 30 * MINUTE_MS) == (session != next_session)
        spans = defaultdict(list)
        for at, session in events:
            spans[session].append(at)
        longest = max(longest, *(max(times) - min(times) for times in spans.values()))
    assert longest > DAY_MS, "a robot's session is longer than a day"


def test_order_lines_share_an_instant_and_count_from_one(history):
    orders = defaultdict(list)
    for one in history:
        if one["event_type"] == "purchase":
            orders[one["order_id"]].append(one)
    assert max(len(lines) for lines in orders.values()) > 2
    for lines in orders.values():
        assert len({line["event_ms"] for line in lines}) == 1
        assert [line["line"] for line in lines] == list(range(1, len(lines) + 1))
        assert len({line["item_id"] for line in lines}) == len(lines)
    refunds = [one for one in history if one["event_type"] == "refund"]
    assert refunds
    for one in refunds:
        assert any(line["item_id"] == one["item_id"] for line in orders[one["order_id"]])


def test_visitors_are_anonymous_first_and_known_from_their_log_in_on(history):
    seen = defaultdict(list)
    for one in history:
        seen[one["anonymous_id"]].append((one["event_type"], one.get("user_id")))
    changed = [events for events in seen.values() if {user is None for _, user in events} == {True, False}]
    assert len(changed) > 10
    for events in changed:
        first_known = next(i for i, (_, user) in enumerate(events) if user is not None)
        assert events[first_known][0] == "identify"
        assert all(user is not None for _, user in events[first_known:])
    assert any(all(user is None for _, user in events) for events in seen.values())


def test_popularity_has_a_long_tail(history):
    views = Counter(one["item_id"] for one in history if one["event_type"] == "view")
    counts = np.array(sorted(views.values(), reverse=True))
    assert counts[:12].sum() > 0.2 * counts.sum(), "a tenth of the items draws more than a fifth of the views"
    assert len(counts) == SMALL.items


def test_the_catalogue_file_follows_its_contract(shop, tmp_path):
    table = pq.read_table(shop.write_catalogue(tmp_path / "items.parquet"))
    assert tuple(table.column_names) == ITEMS.names
    assert table.num_rows == SMALL.items
    assert len(set(table["title"].to_pylist())) == SMALL.items
    assert all(count == 0 for count in (table[name].null_count for name in ITEMS.names))


def test_the_history_file_has_a_line_an_event(shop, history, tmp_path):
    assert shop.write_history(tmp_path / "history.jsonl") == len(history)
    assert [json.loads(line) for line in (tmp_path / "history.jsonl").open()] == history


@pytest.mark.parametrize(
    "wrong", [{"cut_ms": 1}, {"history_days": 2}, {"known": 0.9, "anonymous": 0.2}, {"max_gap_s": 2000.0}]
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ConfigError):
        ShopConfig(**wrong)


# ---- faults


def test_each_poisoned_record_is_refused_for_its_reason():
    now = SMALL.cut_ms
    records = list(poisoned(100, [now, now + 1000], max_age_ms=POLICY.max_age_ms))
    for one in records:
        refused = admit(one.record.value, one.record.timestamp_ms, POLICY)
        assert isinstance(refused, Rejection), one.reason
        assert refused.reason is one.reason
        assert content(one.record).startswith(refused.raw)
    # a record of Kafka always has a timestamp, and a defect is none of the record's
    assert {one.reason for one in records} == set(Reason) - {Reason.MISSING_TIMESTAMP, Reason.DEFECT}
    assert sum(one.reason is Reason.OVERSIZE for one in poisoned(500, [now])) == 1


def test_faults_are_added_as_counted_and_nothing_is_lost(shop):
    until = SMALL.cut_ms + DAY_MS
    sound = list(shop.live(until))
    config = FaultConfig(duplicates=0.1, late_within=0.1, late_beyond=0.05, poisoned=40)
    done = disturb(sound, config, until)
    assert done == disturb(sound, config, until)
    assert len(done.records) == len(sound) + done.duplicates + len(done.poisoned)
    assert 0.05 * len(sound) < done.duplicates < 0.2 * len(sound)
    assert done.late_within and done.late_beyond and not done.late_within & done.late_beyond
    times = [record.timestamp_ms for record in done.records]
    assert times == sorted(times)
    bad = {id(one.record) for one in done.poisoned}
    first_seen: dict[str, int] = {}
    for record in done.records:
        if id(record) not in bad:
            first_seen.setdefault(event_id(record), record.timestamp_ms - record.event_ms)
    assert set(first_seen) == {event_id(record) for record in sound}
    for name, delay in first_seen.items():
        if name in done.late_beyond:
            assert delay > config.lateness_ms
        elif name in done.late_within:
            assert MINUTE_MS <= delay <= config.lateness_ms
        else:
            assert delay < MINUTE_MS
    assert all(record.timestamp_ms < until + HOUR_MS // 60 for record in done.records)


# ---- tastes


def ndcg(ranked: np.ndarray, truth: list[set[int]], k: int = 10) -> float:
    """Mean nDCG@k of ranked items (users x k) against the sets of items that came true."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    scores = []
    for row, items in zip(ranked, truth, strict=True):
        hits = np.array([item in items for item in row[:k]])
        scores.append((hits * discount).sum() / discount[: min(k, len(items))].sum())
    return float(np.mean(scores))


def test_tastes_are_real_neighbours_beat_popularity_on_items_not_seen_before():
    shop = Shop(ShopConfig())
    split = shop.config.cut_ms - 5 * DAY_MS
    index = {item: i for i, item in enumerate(shop.catalogue.item_ids)}
    train: dict[str, Counter] = defaultdict(Counter)
    test: dict[str, set[int]] = defaultdict(set)
    for record in shop.history():
        one = json.loads(content(record))
        if one["event_type"] in ("view", "cart", "purchase") and "user_id" in one:
            if record.event_ms < split:
                train[one["user_id"]][index[one["item_id"]]] += 1
            else:
                test[one["user_id"]].add(index[one["item_id"]])
    users = sorted(user for user in test if train[user] and test[user] - train[user].keys())
    assert len(users) > 400
    rows = {user: r for r, user in enumerate(sorted(train))}
    seen = np.zeros((len(rows), len(index)))
    for user, r in rows.items():
        for item, count in train[user].items():
            seen[r, item] = np.log1p(count)
    similar = seen.T @ seen
    norm = np.sqrt(np.diag(similar)) + 1e-9
    similar = similar / norm[:, None] / norm[None, :]
    np.fill_diagonal(similar, 0)
    mine = seen[[rows[user] for user in users]]
    truth = [test[user] - train[user].keys() for user in users]
    neighbours = np.where(mine > 0, -np.inf, mine @ similar)
    popular = np.where(mine > 0, -np.inf, np.tile((seen > 0).sum(axis=0), (len(users), 1)))
    by_neighbours = ndcg(np.argsort(-neighbours, axis=1), truth)
    by_popularity = ndcg(np.argsort(-popular, axis=1), truth)
    assert by_neighbours > 2 * by_popularity
