"""What was turned away moves on once the fault is mended; what still fails stays."""

import hashlib
import json
from decimal import Decimal
from typing import Any

import pytest

from common.contracts.events import REJECTIONS
from common.errors import ConfigError
from jobs import check, cleanse, replay, replay_quarantine, review_quarantine, rollback
from jobs.spark.run import execute
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake
from tests.jobs.dying import Killed, run_killed
from tests.jobs.test_tables import DAY_MS, START_MS, event, frame

pytestmark = pytest.mark.spark


def rejection(offset: int, raw: bytes, size: int | None = None) -> tuple:
    row = {"reason": "future", "raw": raw, "size": len(raw) if size is None else size, "kafka_ms": START_MS}
    row |= {"sha256": hashlib.sha256(raw).hexdigest(), "topic": "events", "partition": 1, "offset": offset}
    return tuple(row.get(name) for name in REJECTIONS.names)


def test_rejections_that_pass_the_gate_now_become_events_once_though_killed(
    spark, tmp_path, pseudonym_key, monkeypatch
):
    lake = Lake(spark, str(tmp_path / "lake"))
    sound = {"event_id": "e1", "event_type": "view", "user_id": "u", "item_id": "i", "event_ms": START_MS}
    rows = [
        rejection(5, json.dumps(sound).encode()),
        rejection(6, b"\xff{"),
        rejection(7, json.dumps(sound).encode(), size=5_000_000),
    ]
    lake.append("bronze/rejections", spark.createDataFrame(rows, struct_type(REJECTIONS)))
    args = replay.Args(lake=lake.root, topic="events")
    deaths, told = run_killed(monkeypatch, spark, replay.main, args)
    # killed before the rejection is taken out, it has put the event in already
    assert deaths == 2 and told == {"tried": 3, "passed": 1, "moved": 0}
    moved = lake.read("bronze/events").collect()
    assert [(r["event_id"], r["partition"], r["offset"], r["ingest_ms"]) for r in moved] == [("e1", 1, 5, START_MS)]
    assert {row["offset"] for row in lake.read("bronze/rejections").collect()} == {6, 7}
    assert replay.main(spark, args)["passed"] == 0


def test_quarantined_events_are_judged_again_and_every_row_is_accounted_for(spark, tmp_path, monkeypatch):
    lake = Lake(spark, str(tmp_path / "lake"))
    sale: dict[str, Any] = {"event_type": "purchase", "order_id": "o", "quantity": 1, "price": Decimal(0)}
    gift, orphan = event(1, **sale), event(2, event_type="purchase")
    odd = event(3, **sale | {"ingest_ms": START_MS - DAY_MS})
    lake.append("bronze/events", frame(spark, [event(0), gift, orphan, odd]))
    cleansing = cleanse.Args(lake=lake.root, cut=START_MS + DAY_MS)
    assert cleanse.main(spark, cleansing)["quarantined"] == 3
    args = replay_quarantine.Args(lake=lake.root)
    assert replay_quarantine.main(spark, args) == {"tried": 3, "passed": 0, "filed_anew": 0, "moved": 0, "stays": 3}

    mended = tuple(rule for rule in cleanse.RULES if rule.name != "sale_price_is_positive")
    monkeypatch.setattr(cleanse, "RULES", mended)
    told = replay_quarantine.main(spark, replay_quarantine.Args(lake=lake.root, rules=("sale_price_is_positive",)))
    assert told == {"tried": 2, "passed": 1, "filed_anew": 1, "moved": 1, "stays": 0}
    assert {row["offset"] for row in lake.read("silver/cleansed").collect()} == {0, 1}
    left = {row["offset"]: row["rule"] for row in lake.read("quarantine/events").collect()}
    assert left == {2: "sale_has_order", 3: "ingested_after_it_happened"}
    # Again: nothing moves. What was cleansed is known still, though the mark's commit is older than the replay's.
    assert replay_quarantine.main(spark, args) == {"tried": 2, "passed": 0, "filed_anew": 0, "moved": 0, "stays": 2}
    assert cleanse.main(spark, cleansing)["rows_in"] == 0
    with pytest.raises(ConfigError, match="no_such is no rule"):
        replay_quarantine.main(spark, replay_quarantine.Args(lake=lake.root, rules=("no_such",)))


def test_a_steward_discards_and_reopens_and_each_decision_is_kept(spark, tmp_path, monkeypatch):
    lake = Lake(spark, str(tmp_path / "lake"))
    cleansing = cleanse.Args(lake=lake.root, cut=START_MS + DAY_MS)
    abroad: dict[str, Any] = {"country": "Atlantis"}
    rows = [event(0), event(1, **abroad), event(2, topic="import:shop", **abroad), event(3, event_type="purchase")]
    lake.append("bronze/events", frame(spark, rows))
    cleanse.main(spark, cleansing)

    def decide(decision: str, **more: Any):
        chosen = {"rules": ("country_is_known",), "by": "anna", "why": "A test shop."} | more
        args = review_quarantine.Args(lake=lake.root, decision=decision, **chosen)  # type: ignore[arg-type]
        return execute(spark, review_quarantine.main, args)

    discarded = decide("discard", topic="events")
    still_open = {"country_is_known": 1, "sale_has_order": 1}
    assert json.loads(discarded.counts) == {"finished": 0, "decided": 1, "open": still_open}
    book = lake.read("quarantine/reviews").collect()
    assert [(r["offset"], r["rule"], r["state"], r["reviewed_by"], r["why"], r["run_id"]) for r in book] == [
        (1, "country_is_known", "discarded", "anna", "A test shop.", discarded.run_id)
    ]
    assert json.loads(decide("discard", topic="events").counts)["decided"] == 0, "it is discarded already"
    assert json.loads(decide("discard", day="2026-02-28").counts)["decided"] == 0, "a day without such events"

    # What comes later is open, though the same rule turned it away; the gate tells it by rule.
    lake.append("bronze/events", frame(spark, [event(4, **abroad)]))
    cleanse.main(spark, cleansing)
    told = check.main(spark, check.Args(lake=lake.root, cut=cleansing.cut, tables=("quarantine/events",), docs="none"))
    assert told["quarantine_open"] == {"country_is_known": 2, "sale_has_order": 1}

    # A replay leaves alone what is discarded, and says by whom the rest was taken back.
    mended = tuple(rule for rule in cleanse.RULES if rule.name != "country_is_known")
    monkeypatch.setattr(cleanse, "RULES", mended)
    replaying = replay_quarantine.Args(lake=lake.root, by="ben", why="Atlantis is a country now.")
    deaths, again = run_killed(monkeypatch, spark, replay_quarantine.main, replaying)
    assert deaths == 3 and (again["tried"], again["passed"], again["stays"]) == (3, 2, 1)
    assert {row["offset"] for row in lake.read("quarantine/events").collect()} == {1, 3}
    book = lake.read("quarantine/reviews").where("state = 'replayed'").collect()
    assert sorted((r["offset"], r["rule"], r["reviewed_by"]) for r in book) == [
        (2, "country_is_known", "ben"),
        (4, "country_is_known", "ben"),
    ]
    assert json.loads(decide("reopen").counts) == {"finished": 0, "decided": 1, "open": still_open}
    assert replay_quarantine.main(spark, replay_quarantine.Args(lake=lake.root))["passed"] == 1
    gone_back = rollback.versions_after(lake.read("gold/runs").collect())
    assert gone_back.keys() == {"quarantine/events", "silver/cleansed"}
    last = lake.read("quarantine/reviews").where("offset = 1").orderBy("reviewed_ms").collect()
    assert [(r["state"], r["reviewed_by"]) for r in last] == [
        ("discarded", "anna"),
        ("open", "anna"),
        ("replayed", None),
    ]
    with pytest.raises(ConfigError, match="nothing in quarantine broke no_such; there are sale_has_order"):
        decide("discard", rules=("no_such",))


def test_a_steward_decides_nothing_about_what_a_killed_replay_has_moved(spark, tmp_path, monkeypatch):
    lake = Lake(spark, str(tmp_path / "lake"))
    abroad: dict[str, Any] = {"country": "Atlantis"}
    lake.append("bronze/events", frame(spark, [event(0), event(1, **abroad), event(2, **abroad)]))
    cleanse.main(spark, cleanse.Args(lake=lake.root, cut=START_MS + DAY_MS))
    committed = Lake._committed

    def or_die(self: Lake, table: str, write: Any) -> Any:
        if table == "quarantine/reviews":
            raise Killed
        return committed(self, table, write)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(cleanse, "RULES", tuple(rule for rule in cleanse.RULES if rule.name != "country_is_known"))
        patch.setattr(Lake, "_committed", or_die)
        replay_quarantine.main(spark, replay_quarantine.Args(lake=lake.root, by="ben"))
    assert lake.read("silver/cleansed").count() == 3 and lake.read("quarantine/events").count() == 2
    lake.append("bronze/events", frame(spark, [event(3, **abroad)]))
    cleanse.main(spark, cleanse.Args(lake=lake.root, cut=START_MS + DAY_MS))
    args = review_quarantine.Args(
        lake=lake.root, decision="discard", rules=("country_is_known",), by="anna", why="A test shop."
    )
    assert review_quarantine.main(spark, args) == {"finished": 2, "decided": 1, "open": {}}
    assert [row["offset"] for row in lake.read("quarantine/events").collect()] == [3]
    assert sorted(row["offset"] for row in lake.read("silver/cleansed").collect()) == [0, 1, 2]
    book = [(r["offset"], r["state"], r["reviewed_by"]) for r in lake.read("quarantine/reviews").collect()]
    assert sorted(book) == [(1, "replayed", None), (2, "replayed", None), (3, "discarded", "anna")]
    assert review_quarantine.main(spark, args) == {"finished": 0, "decided": 0, "open": {}}
