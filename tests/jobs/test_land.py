"""Landing takes each archived record once, however often it runs, and refuses a cut that is not all there."""

import base64
import json

import pytest

from common.contracts.events import BRONZE_EVENTS, REJECTIONS
from common.errors import ContractError
from jobs.land import Args, land, main, missing_offsets
from jobs.spark.run import execute
from jobs.spark.tables import Lake
from tests.jobs.dying import Failed, run_killed
from tests.jobs.test_tables import carried

pytestmark = pytest.mark.spark

DAY = "2026-03-01"


def event(offset: int, partition: int = 0) -> dict:
    row = dict.fromkeys(BRONZE_EVENTS.names)
    row |= {"event_id": f"e{offset}", "event_type": "purchase", "visitor_id": "k1_v", "category": "a.b"}
    row |= {"price": 12.1, "quantity": 2, "item_id": "i", "order_id": "o", "line": 1, "properties": {"k": "v"}}
    row |= {"event_ms": 1_772_323_200_000 + offset, "ingest_ms": 1_772_323_200_001 + offset, "late": False}
    return row | {"topic": "events", "partition": partition, "offset": offset, "event_date": DAY}


def rejection(offset: int) -> dict:
    row = dict.fromkeys(REJECTIONS.names) | {"reason": "invalid_json", "raw": base64.b64encode(b"\xff{").decode()}
    row |= {"size": 2, "sha256": "0" * 64, "topic": "events", "partition": 0, "offset": offset}
    return row | {"kafka_ms": 1_772_323_200_000}


def archive(root, folder, name, rows):
    target = root / folder / f"d={DAY}" / "h=00"
    target.mkdir(parents=True, exist_ok=True)
    (target / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_each_record_lands_once(spark, tmp_path):
    root, lake = tmp_path / "archive", Lake(spark, str(tmp_path / "lake"))
    archive(root, "events", "part-1", [event(0), event(1)])
    archive(root, "rejections", "part-1", [rejection(2)])
    args = Args(lake=lake.root, cut=1_772_409_600_000, archive=str(root))
    assert main(spark, args) == {"events": 2, "rejections": 1}
    archive(root, "events", "part-2", [event(1), event(3)])
    assert main(spark, args) == {"events": 1, "rejections": 0}
    assert main(spark, args) == {"events": 0, "rejections": 0}

    rows = lake.read("bronze/events").orderBy("offset").collect()
    assert [row["offset"] for row in rows] == [0, 1, 3]
    assert (str(rows[0]["price"]), rows[0]["properties"], str(rows[0]["event_date"])) == ("12.1000", {"k": "v"}, DAY)
    assert bytes(lake.read("bronze/rejections").collect()[0]["raw"]) == b"\xff{"

    assert missing_offsets(lake, "events", {0: (0, 4)}) == {}
    assert missing_offsets(lake, "events", {0: (0, 6), 1: (0, 1)}) == {0: 2, 1: 1}


def test_a_landing_tells_what_it_wrote_though_spark_calls_back_in_another_thread(spark, tmp_path):
    root, lake = tmp_path / "archive", Lake(spark, str(tmp_path / "lake"))
    archive(root, "events", "part-1", [event(0)])
    archive(root, "rejections", "part-1", [rejection(1)])
    ran = execute(spark, main, Args(lake=lake.root, cut=1_772_409_600_000, archive=str(root)))
    assert ran.writes == {"bronze/events": 1, "bronze/rejections": 1}
    made = {"dovetail.run": ran.run_id, "dovetail.job": "land", "dovetail.reads": {}}
    assert carried(lake, "bronze/events") == carried(lake, "bronze/rejections") == [made, made]
    archive(root, "events", "part-2", [event(2)])
    again = execute(spark, main, Args(lake=lake.root, cut=1_772_409_600_000, archive=str(root)))
    assert carried(lake, "bronze/events")[2:] == [made | {"dovetail.run": again.run_id}]


def test_a_killed_landing_is_done_again_and_lands_nothing_twice(spark, tmp_path, monkeypatch):
    root, lake = tmp_path / "archive", Lake(spark, str(tmp_path / "lake"))
    archive(root, "events", "part-1", [event(0), event(1)])
    archive(root, "rejections", "part-1", [rejection(2)])
    args = Args(lake=lake.root, cut=1_772_409_600_000, archive=str(root))
    deaths, _ = run_killed(monkeypatch, spark, main, args, Failed)
    assert deaths >= 2
    assert sorted(row["offset"] for row in lake.read("bronze/events").collect()) == [0, 1]
    assert [row["offset"] for row in lake.read("bronze/rejections").collect()] == [2]


def test_a_file_cut_off_in_mid_row_is_named_and_lands_once_it_is_whole(spark, tmp_path):
    root, lake = tmp_path / "archive", Lake(spark, str(tmp_path / "lake"))
    archive(root, "events", "part-1", [event(0), event(1)])
    part = next(root.rglob("part-1"))
    whole = part.read_text()
    part.write_text(whole[:-40])
    with pytest.raises(
        ContractError, match=f"{part} has a line that is no record.* put the whole file back"
    ) as refused:
        land(spark, lake, str(root / "events"), "bronze/events", BRONZE_EVENTS)
    assert "\n" not in str(refused.value) and "e1" not in str(refused.value)
    assert not lake.exists("bronze/events") or lake.read("bronze/events").isEmpty()
    part.write_text(whole)
    assert land(spark, lake, str(root / "events"), "bronze/events", BRONZE_EVENTS) == 2


def test_a_lost_checkpoint_lands_nothing_twice(spark, tmp_path):
    root = tmp_path / "archive"
    archive(root, "events", "part-1", [event(0), event(1)])
    lake = Lake(spark, str(tmp_path / "lake"))
    assert land(spark, lake, str(root / "events"), "bronze/events", BRONZE_EVENTS) == 2
    for name in (tmp_path / "lake" / "_checkpoints").rglob("*"):
        if name.is_file():
            name.unlink()
    assert land(spark, lake, str(root / "events"), "bronze/events", BRONZE_EVENTS) == 0
