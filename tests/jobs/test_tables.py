"""The door to the lake: contracts hold, identifiers stay out of the log, only what changed is read again."""

import json
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import functions as f

from common.contracts.events import BRONZE_EVENTS
from common.errors import ConcurrentRun, ContractError, IncompleteInput
from common.features.expressions import event as an_event
from common.rules import Rule
from jobs import cleanse, dedup_events
from jobs.spark import tables
from jobs.spark.observing import observed
from jobs.spark.run import alone, execute
from jobs.spark.schema import struct_type
from jobs.spark.tables import MARK, TABLES, Lake, recording
from tests.jobs.dying import run_killed

DAY_MS = 86_400_000
START_MS = 1_772_323_200_000


def event(offset: int, event_id: str | None = None, **changes) -> dict:
    row = dict.fromkeys(BRONZE_EVENTS.names)
    row |= {"event_id": event_id or f"e{offset}", "event_type": "view", "visitor_id": "k1_someone", "item_id": "i1"}
    row |= {"category": "unknown", "event_ms": START_MS + offset, "ingest_ms": START_MS + offset, "late": False}
    row |= {"topic": "events", "partition": 0, "offset": offset, "event_date": date(2026, 3, 1)}
    return row | changes


def frame(spark, rows):
    return spark.createDataFrame(
        [tuple(row[n] for n in BRONZE_EVENTS.names) for row in rows], struct_type(BRONZE_EVENTS)
    )


@pytest.fixture
def lake(spark, tmp_path):
    return Lake(spark, str(tmp_path / "lake"))


@pytest.mark.spark
def test_a_frame_that_breaks_its_contract_is_refused_with_the_difference(spark, lake):
    rows = frame(spark, [event(1)])
    wrong = rows.drop("category").withColumn("quantity", f.col("quantity").cast("string"))
    with pytest.raises(ContractError, match="category is missing; quantity is string, expected int"):
        lake.append("bronze/events", wrong)
    assert not lake.exists("bronze/events")


@pytest.mark.spark
def test_a_column_that_a_contract_gets_and_may_be_null_needs_no_table_made_anew(spark, lake, monkeypatch):
    now = TABLES["silver/events"]
    fields = tuple(x for x in now.contract.fields if x.name not in ("country", "price"))
    with monkeypatch.context() as patch:
        patch.setitem(TABLES, "silver/events", replace(now, contract=replace(now.contract, version=0, fields=fields)))
        lake.append("silver/events", frame(spark, [event(1), event(2)]))
    before = lake.version("silver/events")
    assert [row["price"] for row in lake.read("silver/events").collect()] == [None, None]
    priced: dict[str, Any] = {"price": Decimal("2.5000"), "country": "DE"}
    lake.upsert("silver/events", frame(spark, [event(2, **priced), event(3, **priced)]))
    lake.append("silver/events", frame(spark, [event(4, **priced)]))
    assert {row["event_id"]: row["price"] for row in lake.read("silver/events").collect()} == {
        "e1": None,
        **dict.fromkeys(("e2", "e3", "e4"), Decimal("2.5000")),
    }
    changed, _ = lake.changes("silver/events", since=before)
    assert {(row["event_id"], row["country"]) for row in changed.collect()} == {(f"e{n}", "DE") for n in (2, 3, 4)}
    images = lake.touched("silver/events", 0, lake.version("silver/events"))
    assert images.where("event_id = 'e2'").select("country").distinct().count() == 2
    assert lake.as_declared("silver/events")
    properties = DeltaTable.forPath(spark, lake.path("silver/events")).detail().collect()[0]["properties"]
    assert properties["dovetail.contract"] == f"silver_events v{now.contract.version}"
    assert "price" in properties["delta.dataSkippingStatsColumns"]


@pytest.mark.spark
def test_a_table_that_is_not_there_names_the_job_that_makes_it(lake):
    with pytest.raises(IncompleteInput, match="no silver/events: run dedup_events first"):
        lake.read("silver/events")


@pytest.mark.spark
def test_identifiers_stay_out_of_the_log(spark, lake):
    lake.append("bronze/events", frame(spark, [event(1, query="secret words", order_id="order-7", item_id="item-7")]))
    log = "".join(p.read_text() for p in Path(lake.path("bronze/events"), "_delta_log").glob("*.json"))
    assert "event_ms" in log
    for identifier in ("k1_someone", "e1", "secret words", "order-7", "item-7"):
        assert f'"{identifier}' not in log and f'\\"{identifier}' not in log


@pytest.mark.spark
def test_only_what_changed_is_cleansed_and_deduplicated(spark, lake):
    args = {"lake": lake.root, "cut": START_MS + DAY_MS}
    lake.append("bronze/events", frame(spark, [event(1), event(2, "twin"), event(3, event_type="purchase")]))
    first = cleanse.main(spark, cleanse.Args(**args))
    assert (first["rows_in"], first["new_good"], first["new_quarantined"]) == (3, 2, 1)
    assert first["rules"] == {"sale_has_order": 1}
    assert dedup_events.main(spark, dedup_events.Args(**args))["inserted"] == 2

    # The same event again: one copy later, one from an earlier record that reached the lake late, with another date.
    earlier = event(0, "twin", ingest_ms=START_MS - DAY_MS, event_ms=START_MS - DAY_MS, event_date=date(2026, 2, 28))
    lake.append("bronze/events", frame(spark, [event(9, "twin"), earlier]))
    assert cleanse.main(spark, cleanse.Args(**args))["rows_in"] == 2
    second = dedup_events.main(spark, dedup_events.Args(**args))
    assert second == {"rows_in": 2, "inserted": 0, "replaced": 1, "duplicates": 2}
    rows = {row["event_id"]: row for row in lake.read("silver/events").collect()}
    assert {name: row["offset"] for name, row in rows.items()} == {"e1": 1, "twin": 0}
    assert rows["twin"]["event_date"] == date(2026, 2, 28)


@pytest.mark.spark
def test_a_lost_mark_costs_a_full_read_and_changes_nothing(spark, lake, monkeypatch):
    args = cleanse.Args(lake=lake.root, cut=START_MS + DAY_MS)
    lake.append("bronze/events", frame(spark, [event(1), event(2)]))
    cleanse.main(spark, args)
    monkeypatch.setattr(Lake, "mark", lambda *_: None)
    again = cleanse.main(spark, args)
    assert (again["rows_in"], again["new_good"]) == (2, 0)
    assert lake.read("silver/cleansed").count() == 2


@pytest.mark.spark
@pytest.mark.parametrize(
    "lost", [("silver/cleansed",), ("quarantine/events",), ("silver/cleansed", "quarantine/events")]
)
def test_a_full_read_after_the_rules_changed_leaves_each_row_in_one_table(spark, lake, monkeypatch, lost):
    """What was filed stays where it is, though a mark is lost, other rules hold and the run is killed anywhere."""
    args = cleanse.Args(lake=lake.root, cut=START_MS + DAY_MS)
    sale: dict[str, Any] = {"event_type": "purchase", "price": Decimal(1), "quantity": 1}
    lake.append("bronze/events", frame(spark, [event(1), event(2, **sale), event(3, country="Atlantis")]))
    cleanse.main(spark, args)
    lake.append("bronze/events", frame(spark, [event(4), event(5, **sale), event(6, country="Atlantis")]))

    # A sale may be without its order from now on, and nothing is to be looked at.
    mended = [rule for rule in cleanse.RULES if rule.name != "sale_has_order"]
    monkeypatch.setattr(cleanse, "RULES", (*mended, Rule("is_no_view", ~(an_event.type == "view"))))
    mark = Lake.mark
    made = {table: lake.version(table) for table in lost}

    def lost_mark(self, table, source):
        return None if self.version(table) == made.get(table) else mark(self, table, source)

    monkeypatch.setattr(Lake, "mark", lost_mark)
    deaths, told = run_killed(monkeypatch, spark, cleanse.main, args)
    assert deaths == 2 and told["rows_in"] == (6 if "quarantine/events" in lost else 3)
    held = {t: sorted(r["offset"] for r in lake.read(t).collect()) for t in ("silver/cleansed", "quarantine/events")}
    assert held == {"silver/cleansed": [1, 5], "quarantine/events": [2, 3, 4, 6]}


@pytest.mark.spark
def test_a_failed_run_leaves_its_row_in_runs(spark, lake):
    with pytest.raises(IncompleteInput):
        execute(spark, dedup_events.main, dedup_events.Args(lake=lake.root, cut=0))
    row = lake.read("gold/runs").collect()[0]
    assert (row["job"], row["outcome"], json.loads(row["arguments"])["cut"]) == ("dedup_events", "IncompleteInput", 0)


def carried(lake: Lake, table: str) -> list[dict]:
    """What each commit of a table carries as userMetadata, from the first."""
    history = DeltaTable.forPath(lake.spark, lake.path(table)).history().orderBy("version")
    return [json.loads(row["userMetadata"] or "{}") for row in history.collect()]


@pytest.mark.spark
def test_every_commit_names_its_run_and_job_beside_what_the_table_has_seen(spark, lake):
    rows = frame(spark, [event(1), event(2)])
    with recording("r1", "some_job"):
        lake.insert_new("silver/events", rows, mark={"silver/cleansed": 3})
        lake.upsert("silver/events", rows, mark={"silver/cleansed": 4})
        lake.append("silver/events", rows.limit(0), mark={"silver/cleansed": 5})
    with recording("r2", "other_job"):
        lake.append("silver/events", lake.read("silver/events").limit(0).unionByName(frame(spark, [event(3)])))
        lake.replace("silver/events", rows, mark={"silver/cleansed": 6})
        lake.replace("silver/events", rows)
        lake.remove("silver/events", frame(spark, [event(1)]))
        lake.restore("silver/events", 2)
    lake.append("silver/events", frame(spark, [event(4)]))
    one, two = (
        {"dovetail.run": run, "dovetail.job": job, "dovetail.reads": reads}
        for run, job, reads in (("r1", "some_job", {}), ("r2", "other_job", {"silver/events": 3}))
    )
    seen = [{"dovetail.mark": {"silver/cleansed": version}} for version in range(7)]
    assert carried(lake, "silver/events") == [
        one,
        *(one | seen[version] for version in (3, 4, 5)),
        *(two, two | seen[6], two, two),
        two | seen[4],
        {},
    ]


@pytest.mark.spark
def test_a_commit_of_no_row_is_left_out_unless_it_tells_what_was_seen(spark, lake):
    rows = frame(spark, [event(1)])
    with recording("r1", "some_job"):
        lake.append("silver/events", rows)
        for mark in (None, {"silver/cleansed": 1}):
            lake.append("silver/events", rows.limit(0), mark=mark)
            lake.insert_new("silver/events", rows, mark=mark)
    assert [MARK in said for said in carried(lake, "silver/events")] == [False, False, True, True]


def _hold(root, held, done):
    with alone(root, "rfm"):
        held.set()
        done.wait(30)


def test_of_two_runs_of_a_job_at_once_one_goes_on(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(tmp_path), held, done))
    other.start()
    try:
        assert held.wait(60)
        with pytest.raises(ConcurrentRun, match="another run of rfm"), alone(str(tmp_path), "rfm"):
            pass
        with alone(str(tmp_path), "segment"):
            pass
    finally:
        done.set()
        other.join()
    with alone(str(tmp_path), "rfm"):
        pass


@pytest.mark.spark
def test_a_table_that_several_writers_make_at_once_has_the_rows_of_all(spark, lake, monkeypatch):
    # In one program commits take turns; other programs do not wait for each other.
    monkeypatch.setattr(tables, "_session_settings", nullcontext())
    together = threading.Barrier(3)

    def write(offset):
        together.wait(30)
        return lake.append("bronze/events", frame(spark, [event(offset)]))

    with ThreadPoolExecutor(3) as pool:
        assert [written.inserted for written in pool.map(write, range(3))] == [1, 1, 1]
    assert lake.read("bronze/events").count() == 3


@pytest.mark.spark
def test_a_table_whose_making_was_killed_before_its_commit_is_made(spark, lake, monkeypatch):
    monkeypatch.setattr(tables, "_CREATION_S", 0.2)
    log = Path(lake.path("bronze/events")) / "_delta_log"
    log.mkdir(parents=True)
    (log / ".00000000000000000000.json.d7a1.tmp").write_text("{")
    assert lake.append("bronze/events", frame(spark, [event(1)])).inserted == 1
    other = Path(lake.path("silver/cleansed"))
    other.mkdir(parents=True)
    (other / "notes.txt").write_text("kept")
    with pytest.raises(AnalysisException, match="not a Delta table"):
        lake.append("silver/cleansed", frame(spark, [event(1)]))
    assert (other / "notes.txt").read_text() == "kept"


@pytest.mark.spark
def test_rows_are_counted_as_they_are_written_also_where_none_is_left_to_write(spark, lake):
    rows = frame(spark, [event(i) for i in range(7)])
    for written, kept in ((7, "true"), (0, "true"), (0, "offset < 0")):
        counted, tally = observed(rows, f.count("*").alias("rows"), f.max("offset").alias("last"))
        assert lake.insert_new("silver/cleansed", counted.where(kept)).inserted == written
        assert tally.get() == {"rows": 7, "last": 6}
    counted, tally = observed(rows, f.count("*").alias("rows"))
    lake.upsert("silver/events", dedup_events.first_of_each(counted))
    lake.upsert("silver/events", dedup_events.first_of_each(counted.where("offset > 4")))
    assert tally.get() == {"rows": 7}


@pytest.mark.spark
def test_a_delivery_of_nothing_but_what_breaks_a_rule_is_counted(spark, lake):
    args = cleanse.Args(lake=lake.root, cut=START_MS + DAY_MS)
    lake.append("bronze/events", frame(spark, [event(1)]))
    assert cleanse.main(spark, args)["rules"] == {}
    lake.append("bronze/events", frame(spark, [event(2, event_type="purchase"), event(3, country="Atlantis")]))
    told = cleanse.main(spark, args)
    assert (told["rows_in"], told["good"], told["new_good"], told["new_quarantined"]) == (2, 0, 0, 2)
    assert told["rules"] == {"country_is_known": 1, "sale_has_order": 1}
    assert cleanse.main(spark, args)["rows_in"] == 0
    assert lake.partitions_added("bronze/events", 0, 2) == {"2026-03-01"}
