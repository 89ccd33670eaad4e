"""Personas of a small shop: figures as a plain count has them, the override, the report; and how it looks."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from common.contracts.events import SILVER_EVENTS
from common.contracts.profiles import SEGMENT_HISTORY, SEGMENT_MOVES, SEGMENT_VIEW, SEGMENTS
from common.errors import ConfigError, IncompleteInput
from common.features.windows import DAY_MS, HOUR_MS
from common.personas import Basket, Persona, Share, from_json
from jobs import personas
from jobs.spark.persona_report import Flow, Lift, page
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake
from tests.browser import chromium

CUT = 20_000 * DAY_MS
OVERRIDE = "- {segment: Newcomers, by: anna, when: 2026-11-18, why: Twelve interviews, set: {title: Gift Seekers}}\n"


def events() -> list[dict]:
    rows: list[dict[str, Any]] = []

    def add(visitor: str, kind: str, days: int, hour: int, **more) -> None:
        row = dict.fromkeys(SILVER_EVENTS.names)
        at = CUT - days * DAY_MS + hour * HOUR_MS
        row |= {"event_id": f"e{len(rows)}", "event_type": kind, "visitor_id": visitor, "event_ms": at, "ingest_ms": at}
        row |= {"topic": "t", "partition": 0, "offset": len(rows), "late": False, "category": "tea", "item_id": "i"}
        rows.append(row | {"device": "mobile", **more})

    for days in (40, 30, 10, 100):
        add("a", "purchase", days, 9, order_id=f"a{days}", line=1, price=10, quantity=2)
    add("a", "view", 3, 9, category="cups", device=None, referrer="mail")
    add("b", "purchase", 2, 20, order_id="b1", line=1, price=5, quantity=1)
    add("b", "purchase", 2, 20, order_id="b1", line=2, price=5, quantity=3, category="cups")
    add("nobody", "view", 2, 3)
    return rows


@pytest.fixture
def lake(spark, tmp_path):
    lake = Lake(spark, str(tmp_path / "lake"))
    rows = [
        {**r, "event_date": date(2024, 10, 4), "price": None if r["price"] is None else Decimal(r["price"])}
        for r in events()
    ]
    silver = spark.createDataFrame([tuple(r[n] for n in SILVER_EVENTS.names) for r in rows], struct_type(SILVER_EVENTS))
    lake.append("silver/events", silver)
    members = [("a", CUT, 0, "Loyal Customers", 0.0), ("b", CUT, 4, "Newcomers", 0.0)]
    lake.replace("gold/segments", spark.createDataFrame(members, struct_type(SEGMENTS)))
    figures = '{"recency_days": 5.0, "frequency": 2.0, "monetary": 40.0}'
    moves = [("a", CUT, None, None, 0, "Loyal Customers"), ("b", CUT - DAY_MS, None, None, 4, "Newcomers")]
    lake.replace("gold/segment_moves", spark.createDataFrame(moves, struct_type(SEGMENT_MOVES)))
    history = [(CUT - DAY_MS, 4, "Newcomers", 1, 5.0, 2.0, 40.0, None)]
    lake.replace("gold/segment_history", spark.createDataFrame(history, struct_type(SEGMENT_HISTORY)))
    centroids = [(0, "Loyal Customers", 1, figures, None, None), (4, "Newcomers", 1, figures, None, None)]
    lake.replace("gold/centroids", spark.createDataFrame(centroids, struct_type(SEGMENT_VIEW)))
    return lake


@pytest.mark.spark
def test_cards_and_report_of_a_small_shop(lake, tmp_path):
    overrides = tmp_path / "overrides.yaml"
    overrides.write_text(OVERRIDE + OVERRIDE.replace("Newcomers", "Nobody"))
    args = personas.Args(lake=lake.root, cut=CUT, overrides=str(overrides))
    counts = personas.main(lake.spark, args)
    report = Path(counts["report"])
    assert "newly in a segment" in report.read_text()
    judged = lake.read("gold/segment_lift").collect()
    assert counts["segments_judged"] == len(judged) == 1, "b was a newcomer at the cut before, and came not again"
    assert (judged[0]["segment"], judged[0]["members"], judged[0]["active"]) == ("Newcomers", 1, 0)
    assert judged[0]["activity_lift"] is None
    assert (counts["personas"], counts["overridden"], counts["overrides_without_segment"]) == (2, 1, 1)
    cards = {row["segment_id"]: from_json(row["card"]) for row in lake.read("gold/personas").collect()}

    loyal = cards[0]
    assert loyal.basket.orders_each == 3 and loyal.basket.value == 20 and loyal.basket.units == 2
    assert loyal.churn_days == 19, "gaps of 10 and 20 days; that of 60 began before the days looked at"
    # Three purchases of tea at weight 5, one view of cups; the other segment has 5 and 5.
    assert [(c.name, c.share) for c in loyal.categories] == [("tea", 0.9375), ("cups", 0.0625)]
    assert loyal.categories[0].lift == round(15 / 16 / (20 / 26), 2)
    assert loyal.hours[9] == 1 and sum(loyal.hours) == 1
    assert {d.name: d.share for d in loyal.devices} == {"mobile": 0.75, "unknown": 0.25}
    assert {c.name: c.share for c in loyal.channels} == {"direct": 0.75, "mail": 0.25}
    new = cards[4]
    assert (new.title, new.overrides[0].by) == ("Gift Seekers", "anna")
    assert (new.basket.value, new.basket.units, new.churn_days) == (20, 4, 10)

    text = report.read_text()
    assert "Gift Seekers" in text and "Twelve interviews" in text and "<script" not in text
    before = text, sorted(map(str, lake.read("gold/personas").collect()))
    personas.main(lake.spark, args)
    assert (report.read_text(), sorted(map(str, lake.read("gold/personas").collect()))) == before


@pytest.mark.spark
def test_segments_of_another_cut_are_refused(lake):
    with pytest.raises(IncompleteInput, match=f"gold/segments was made for the cut {CUT}, not {CUT + DAY_MS}: run its"):
        personas.main(lake.spark, personas.Args(lake=lake.root, cut=CUT + DAY_MS))
    assert not lake.exists("gold/personas")


@pytest.mark.spark
def test_a_segment_is_judged_by_what_its_members_do_next(spark):
    members = [("a", 0, "Loyal"), ("b", 0, "Loyal"), ("c", 1, "Lapsed"), ("d", 1, "Lapsed")]
    events = [
        ("a", "purchase", Decimal(3), 2),
        ("a", "view", None, None),
        ("b", "view", None, None),
        ("x", "view", None, None),
    ]
    since = spark.createDataFrame(events, "visitor_id string, event_type string, price decimal(18,4), quantity int")
    made = personas.lifts(
        spark.createDataFrame(members, "visitor_id string, segment_id int, segment string"), since, 9, 8
    )
    rows = {row["segment"]: row for row in made.collect()}
    loyal, lapsed = rows["Loyal"], rows["Lapsed"]
    assert (loyal["members"], loyal["active"], loyal["buyers"], loyal["spend"]) == (2, 2, 1, 6)
    assert (loyal["activity_lift"], loyal["order_lift"]) == (2, 2)
    assert (lapsed["active"], lapsed["spend"], lapsed["activity_lift"], lapsed["order_lift"]) == (0, 0, 0, 0)
    assert (loyal["since_ms"], loyal["cut_ms"]) == (8, 9)


def test_a_lake_that_is_no_path_needs_to_be_told_where_the_report_goes():
    args: dict[str, Any] = {"lake": "s3a://bucket/lake", "cut": CUT}
    with pytest.raises(ConfigError, match="--report"):
        personas.report_path(personas.Args(**args))
    assert personas.report_path(personas.Args(**args, report="none")) is None
    assert personas.report_path(personas.Args(**args, report="p.html")) == Path("p.html")


LIFTS = [Lift("Segment 0", 100, 60, 30, 2.0, 3.0), Lift("Segment 3", 400, 0, 0, 0.0, None)]
FLOWS = [Flow("Segment 2", None, 3), Flow("Segment 0", "Segment 1", 1200), Flow(None, "Segment 3", 40)]


def card(i: int, title: str) -> Persona:
    return Persona(
        segment_id=i,
        segment=title,
        title=title,
        summary="What they are like.",
        size=100 * (i + 1),
        share=(i + 1) / 10,
        recency_days=10.0 * 4**i,
        frequency=4.0 - i,
        monetary=2000.0 / 5**i,
        categories=[Share("home.green_tea", 0.6, 1.4), Share("<b>cups</b>", 0.4, 0.8)],
        basket=Basket(orders_each=2.0, value=1234.5, units=3.0),
        hours=[0.0] * 18 + [0.5, 0.5] + [0.0] * 4,
        weekdays=[0.1] * 5 + [0.25, 0.25],
        devices=[Share("mobile", 1.0, 1.0)],
        channels=[],
        churn_days=20,
        churn_trigger="No order for 20 days.",
        action="Write.",
        tone="Warm.",
    )


def test_the_report_reads_well_in_a_browser(tmp_path):
    path = tmp_path / "personas.html"
    path.write_text(page([card(i, f"Segment {i}") for i in range(4)], FLOWS, LIFTS, CUT, 90), encoding="utf-8")
    faults: list[str] = []
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        view = browser.new_page(viewport={"width": 1280, "height": 900})
        view.on("console", lambda message: faults.append(message.text))
        view.on("request", lambda request: asked.append(request.url))
        view.goto(path.as_uri())
        cards = view.locator("article")
        assert cards.count() == 4 and view.locator("svg").count() == 5
        assert view.get_by_text("<b>cups</b>", exact=True).count() == 4, "told as it is, never as HTML"
        boxes = [cards.nth(i).bounding_box() for i in range(4)]
        assert all(box is not None and box["width"] > 400 and box["height"] > 400 for box in boxes)
        plot = view.locator("svg").first.bounding_box()
        assert plot is not None and plot["height"] > 200
        view.screenshot(path=tmp_path / "personas.png", full_page=True)
        view.set_viewport_size({"width": 390, "height": 800})
        assert view.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert view.get_by_role("row", name="Segment 3 400 0% 0.0 0% –").count() == 1
        assert view.locator("tr").all_inner_texts()[0].split() == ["Segment", "0", "→", "Segment", "1", "1,200"]
        browser.close()
    assert faults == [] and asked == [path.as_uri()]


def test_no_segments_make_a_page_that_says_so():
    assert "No segments yet" in page([], [], [], CUT, 90)
