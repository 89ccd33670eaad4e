"""What was turned away moves on once the fault is mended; what still fails stays."""

import hashlib
import json
from decimal import Decimal

import pytest

from common.contracts.events import REJECTIONS
from jobs import cleanse, replay
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake
from tests.jobs.test_tables import DAY_MS, START_MS, event, frame

pytestmark = pytest.mark.spark


def rejection(offset: int, raw: bytes, size: int | None = None) -> tuple:
    row = {"reason": "future", "raw": raw, "size": len(raw) if size is None else size, "kafka_ms": START_MS}
    row |= {"sha256": hashlib.sha256(raw).hexdigest(), "topic": "events", "partition": 1, "offset": offset}
    return tuple(row.get(name) for name in REJECTIONS.names)


def test_rejections_that_pass_the_gate_now_become_events(spark, tmp_path, pseudonym_key):
    lake = Lake(spark, str(tmp_path / "lake"))
    sound = {"event_id": "e1", "event_type": "view", "user_id": "u", "item_id": "i", "event_ms": START_MS}
    rows = [
        rejection(5, json.dumps(sound).encode()),
        rejection(6, b"\xff{"),
        rejection(7, json.dumps(sound).encode(), size=5_000_000),
    ]
    lake.append("bronze/rejections", spark.createDataFrame(rows, struct_type(REJECTIONS)))
    args = replay.Args(lake=lake.root, what="rejections", topic="events")
    assert replay.main(spark, args) == {"tried": 3, "passed": 1, "moved": 1}
    moved = lake.read("bronze/events").collect()
    assert [(r["event_id"], r["partition"], r["offset"], r["ingest_ms"]) for r in moved] == [("e1", 1, 5, START_MS)]
    assert {row["offset"] for row in lake.read("bronze/rejections").collect()} == {6, 7}
    assert replay.main(spark, args)["passed"] == 0


def test_quarantined_events_that_meet_the_rules_now_are_cleansed(spark, tmp_path, monkeypatch):
    lake = Lake(spark, str(tmp_path / "lake"))
    gift = event(1, event_type="purchase", order_id="o", quantity=1, price=Decimal(0))
    lake.append("bronze/events", frame(spark, [event(0), gift, event(2, event_type="purchase")]))
    cleansing = cleanse.Args(lake=lake.root, cut=START_MS + DAY_MS)
    assert cleanse.main(spark, cleansing)["quarantined"] == 2
    args = replay.Args(lake=lake.root, what="quarantine")
    assert replay.main(spark, args)["passed"] == 0
    mended = tuple(rule for rule in cleanse.RULES if rule.name != "sale_price_is_positive")
    monkeypatch.setattr(cleanse, "RULES", mended)
    assert replay.main(spark, args) == {"tried": 2, "passed": 1, "moved": 1}
    assert {row["offset"] for row in lake.read("silver/cleansed").collect()} == {0, 1}
    assert {row["offset"] for row in lake.read("quarantine/events").collect()} == {2}
    # The mark of what was cleansed is older than the replay's commit, and still found.
    assert cleanse.main(spark, cleansing)["rows_in"] == 0
