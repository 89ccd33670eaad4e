"""The gate: sound tables pass, what breaks a suite stops the chain in one line, and no value of a row is told."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import functions as f

from common.contracts.profiles import RFM
from common.errors import ConfigError, QualityGateFailed
from jobs import chain, check, cleanse, review_quarantine
from jobs.spark.schema import struct_type
from jobs.spark.tables import TABLES, Lake
from tests.jobs.small_shop import CUT_MS
from tests.jobs.test_tables import DAY_MS, START_MS, event, frame

pytestmark = [pytest.mark.spark, pytest.mark.timeout(900)]


def test_every_table_has_a_suite_but_verdicts_trials_and_accounts():
    from jobs.spark.expectations import DECLARED

    names = [declared.table for declared in DECLARED]
    assert len(names) == len(set(names))
    without = {"silver/verdicts", "quarantine/reviews", "gold/tuning_trials", "gold/parity", "gold/runs"}
    assert set(TABLES) - set(names) == without


def test_sound_tables_pass_and_the_docs_tell_no_value(built, tmp_path):
    args = check.Args(lake=built.lake.root, cut=CUT_MS, docs=str(tmp_path), days=3650)
    counts = check.main(built.spark, args)
    assert counts["tables"] >= 24 and counts["expectations"] > 3 * counts["tables"]
    pages = [path for path in tmp_path.rglob("*.html") if "validations" in path.parts]
    assert len(pages) == counts["tables"] and (tmp_path / "index.html").is_file()
    visitors = [row["visitor_id"] for row in built.lake.read("gold/rfm").select("visitor_id").limit(5).collect()]
    for page in pages:
        text = page.read_text()
        assert not any(visitor in text for visitor in visitors)


def rfm_rows(spark, **changes):
    row = {
        "visitor_id": "k1_someone",
        "cut_ms": CUT_MS,
        "recency_days": 1,
        "frequency": 1,
        "monetary": 5,
        "refunded": 0,
    }
    row |= {"net": 5, "last_purchase": CUT_MS - 1, "r_score": 5, "f_score": 1, "m_score": 1}
    rows = [row, row | {"visitor_id": "k1_other"} | changes]
    schema = struct_type(RFM)
    columns = [f.col(x.name).cast(x.dataType).alias(x.name) for x in schema]
    return (
        spark.createDataFrame([json.dumps(r) for r in rows], "string")
        .select(f.from_json("value", ", ".join(f"{x.name} {x.dataType.simpleString()}" for x in schema)).alias("r"))
        .select("r.*")
        .select(*columns)
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"frequency": 0}, "1 of 2 rows break buyer_has_an_order"),
        ({"net": 4}, "1 of 2 rows break net_is_the_difference"),
        ({"visitor_id": "k1_someone"}, r"proportion of unique values to be between \(visitor_id\): found 0.5"),
        ({"cut_ms": CUT_MS - 3_600_000}, r"unique value count to be between \(cut_ms\): found 2"),
    ],
)
def test_what_breaks_a_suite_is_told_in_one_line(spark, tmp_path, changes, told):
    lake = Lake(spark, str(tmp_path / "lake"))
    lake.replace("gold/rfm", rfm_rows(spark, **changes))
    with pytest.raises(QualityGateFailed, match=f"gold/rfm: .*{told}") as failed:
        check.main(spark, check.Args(lake=lake.root, cut=CUT_MS, docs="none"))
    assert "k1_" not in str(failed.value)


def test_a_night_of_which_too_much_waits_in_quarantine_does_not_pass(spark, tmp_path):
    lake = Lake(spark, str(tmp_path / "lake"))
    cut = START_MS + DAY_MS
    good = [event(at) for at in range(60)]
    bad = [event(at, country="Atlantis") for at in range(60, 120)]
    bad += [event(at, event_type="purchase", item_id="i1") for at in range(120, 140)]
    # Too few for a share, then most of them, though many more were good long before.
    old: dict[str, Any] = {"event_ms": START_MS - 9 * DAY_MS, "ingest_ms": START_MS, "event_date": date(2026, 2, 20)}
    lake.append("bronze/events", frame(spark, [*bad[:45], *(event(at, **old) for at in range(1_000, 1_300))]))
    cleanse.main(spark, cleanse.Args(lake=lake.root, cut=cut))

    def gate(**more: Any):
        given = {"tables": ("quarantine/events",), "docs": "none"} | more
        return check.main(spark, check.Args(lake=lake.root, cut=cut, **given))

    assert gate()["tables"] == 1, "45 events tell no share"
    lake.append("bronze/events", frame(spark, [*bad[45:], *good]))
    cleanse.main(spark, cleanse.Args(lake=lake.root, cut=cut))
    share, named = 80 / 140, "of 140 events \\(country_is_known 60, sale_has_order 20\\), above --most-quarantined"
    with pytest.raises(QualityGateFailed, match=f"quarantine/share: .*quarantined_share.*: found {share} {named}"):
        gate(docs=str(tmp_path / "docs"))
    assert any("quarantine_share" in str(page) for page in (tmp_path / "docs").rglob("*.html"))
    assert gate(most_quarantined=0.6)["tables"] == 2
    assert gate(days=30)["tables"] == 2, "80 of 440"
    # What was looked at and is not to be counted waits no more.
    decided: dict[str, Any] = {"rules": ("country_is_known",), "by": "anna", "why": "A test shop."}
    review_quarantine.main(spark, review_quarantine.Args(lake=lake.root, decision="discard", **decided))
    assert gate()["quarantine_open"] == {"sale_has_order": 20}


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([("EUR", 5), ("GBP", 7), (None, 9)], 2),
        ([("EUR", 5), ("EUR", 7), (None, 9), ("GBP", None)], None),
        ([(None, 5)], None),
    ],
)
def test_prices_of_several_currencies_are_not_summed(spark, tmp_path, rows, found):
    lake = Lake(spark, str(tmp_path / "lake"))
    priced = [event(at, currency=money, price=price and Decimal(price)) for at, (money, price) in enumerate(rows)]
    lake.append("silver/events", frame(spark, priced))
    args = check.Args(lake=lake.root, cut=START_MS + DAY_MS, tables=("silver/events",), docs="none")
    if found is None:
        assert check.main(spark, args)["tables"] == 1
        return
    told = rf"silver/events: column unique value count to be between \(currency\): found {found}$"
    with pytest.raises(QualityGateFailed, match=told):
        check.main(spark, args)


def test_a_table_that_may_be_empty_passes_empty(spark, tmp_path):
    """A night on which nobody changes the segment, a shop that has sold nothing yet."""
    from jobs.spark.expectations import DECLARED

    lake = Lake(spark, str(tmp_path / "lake"))
    some = [one.table for one in DECLARED if one.may_be_empty and one.also]
    assert {"gold/segment_moves", "gold/rfm", "gold/segments", "gold/personas"} <= set(some)
    for table in some:
        lake.replace(table, spark.createDataFrame([], struct_type(TABLES[table].contract)))
    told = check.main(spark, check.Args(lake=lake.root, cut=CUT_MS, docs="none"))
    assert (told["tables"], told["quarantine_open"]) == (len(some), {})


def test_a_table_without_a_suite_is_named(spark, tmp_path):
    with pytest.raises(ConfigError, match="gold/runs has no suite; there are bronze/events"):
        check.main(spark, check.Args(lake=str(tmp_path), cut=CUT_MS, tables=("gold/runs",)))


def test_a_closed_gate_stops_the_chain_before_publication(built, monkeypatch):
    def closed(spark, args):
        raise QualityGateFailed("gold/rfm: 1 of 2 rows break buyer_has_an_order")

    def publishes(spark, args):
        raise AssertionError("published behind a closed gate")

    closed.__module__, publishes.__module__ = "jobs.check", "jobs.publish"
    mains = {"check": closed, "publish": publishes}
    steps = tuple(chain.Step(mains[s.name], s.args, s.after) for s in chain.STEPS if s.name in mains)
    monkeypatch.setattr(chain, "STEPS", steps)
    with pytest.raises(QualityGateFailed, match="buyer_has_an_order"):
        chain.main(built.spark, chain.Args(lake=built.lake.root, cut=CUT_MS))
