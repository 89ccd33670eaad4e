"""Whatever a shop delivers: what is right goes on, what is wrong is kept with its reason, or one line says why."""

import gzip
import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import yaml
from pyspark.sql import functions as f

from common.errors import ContractError
from common.features.windows import DAY_MS
from jobs import catalogue, cleanse, dedup_events, features, import_events, rfm, sessionize
from jobs.spark.tables import Lake
from tests.jobs.test_tables import START_MS, event, frame

pytestmark = pytest.mark.spark

LINES = [
    "who;what;when;sku;group;cost;pieces;order",
    "ann;buy;2026-03-01 09:30:00;A;Tee;1.234,50;2;o1",
    "ann;buy;01.03.2026 10:30;B;Tee;0,99;1;o1",
    "bob;buy;2026-03-01T09:00:00+02:00;B;Tee;99 999,00;1;o2",
    "bob;look;20260301T120000;C;Caf\u00e9;;;",
    "eve;buy;1 March 2026;C;Tee;1,00;1;o3",  # a fifth format
    "eve;buy;2026-03-01 09:30:00;C;Tee;-5,00;1;o4",
    "eve;buy;2026-03-01 09:30:00;C;Tee;99.999.999.999,00;1;o5",
    ";look;2026-03-01 09:30:00;C;Tee;;;",  # nobody
    "eve;buy;2026-03-01 09:30:00;C;Tee;1.50;1;o8",  # a point where the mark is a comma: no group of three
    "eve;buy;2026-03-01 09:30:00;C;Tee;1,00;one;o6",
    "eve;buy;2026-03-01 09:30:00;C;Tee;1,00;1;",  # no order
    "eve;look;2026-03-0",  # cut off
]
LATIN = "zoe;look;2026-03-01 12:00:00;C;Caf\u00e9;;;"

MAPPING = {
    "format": "csv",
    "options": {"sep": ";"},
    "fields": {
        "event_type": {"column": "what", "values": {"look": "view", "buy": "purchase"}},
        "event_ms": {
            "column": "when",
            "time": ["yyyy-MM-dd HH:mm:ss", "dd.MM.yyyy HH:mm", "yyyy-MM-dd'T'HH:mm:ssXXX", "yyyyMMdd'T'HHmmss"],
        },
        "user_id": "who",
        "item_id": "sku",
        "category": "group",
        "price": {"column": "cost", "decimal": ","},
        "quantity": "pieces",
        "order_id": "order",
    },
}


@pytest.fixture
def lake(spark, tmp_path):
    return Lake(spark, str(tmp_path / "lake"))


def test_a_dirty_file_gives_what_is_right_and_keeps_the_rest(spark, lake, tmp_path, pseudonym_key):
    body = b"\n".join([*(line.encode() for line in LINES[:-1]), LATIN.encode("latin-1"), LINES[-1].encode()])
    (tmp_path / "shop.csv").write_bytes(body)
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(MAPPING), encoding="utf-8")
    shop, mapping = str(tmp_path / "shop.csv"), str(tmp_path / "map.yaml")
    args = import_events.Args(lake=lake.root, format="mapping", path=shop, mapping=mapping, most_rejected=0.7)
    counts = import_events.main(spark, args)
    assert (counts["rows_in"], counts["accepted"], counts["rejected"]) == (13, 5, 8)
    rows = lake.read("bronze/events").orderBy("offset").collect()
    assert [row["event_ms"] - START_MS for row in rows] == [34_200_000, 37_800_000, 25_200_000, 43_200_000, 43_200_000]
    assert [row["price"] for row in rows] == [Decimal("1234.5"), Decimal("0.99"), Decimal(99999), None, None]
    assert [row["category"] for row in rows] == ["tee", "tee", "tee", "caf\u00e9", "caf\u00e9"]
    kept = lake.read("bronze/rejections").orderBy("offset").collect()
    assert sum(counts["reasons"].values()) == len(kept) == 8
    # What the gate refused is kept as the event it was to be, with the field at fault; what can't be read as it came.
    gate = [json.loads(bytes(row["raw"])).get("price") for row in kept if bytes(row["raw"]).startswith(b"{")]
    assert gate[:2] == ["-5.00", "99999999999.00"] and gate[-1] == "1.00"
    assert bytes(kept[-1]["raw"]).decode() == LINES[-1]


def test_a_time_in_another_form_ends_the_import_with_the_reason(spark, lake, tmp_path, pseudonym_key):
    """As where a shop changes a column's type over night: not a row can be read."""
    rows = [f"v{i};look;{1_772_000_000 + i};C;Tee;;;" for i in range(20)]
    (tmp_path / "shop.csv").write_text("\n".join([LINES[0], *rows]), encoding="utf-8")
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(MAPPING), encoding="utf-8")
    shop, mapping = str(tmp_path / "shop.csv"), str(tmp_path / "map.yaml")
    args = import_events.Args(lake=lake.root, format="mapping", path=shop, mapping=mapping)
    with pytest.raises(ContractError, match="20 of 20 rows were rejected, above --most-rejected 0.5: invalid_json 20;"):
        import_events.main(spark, args)
    assert sorted(bytes(r["raw"]).decode() for r in lake.read("bronze/rejections").collect()) == sorted(rows)


def test_units_and_zones_are_brought_to_one(spark, lake, tmp_path, pseudonym_key):
    (tmp_path / "shop.csv").write_text("who;when;sku;cents\nann;2026-03-01 10:00:00;A;1234\n", encoding="utf-8")
    fields: dict[str, Any] = {"event_type": {"value": "view"}, "user_id": "who", "item_id": "sku"}
    fields["event_ms"] = {"column": "when", "time": "yyyy-MM-dd HH:mm:ss", "zone": "Europe/Berlin"}
    fields["price"] = {"column": "cents", "factor": "0.01"}
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(MAPPING | {"fields": fields}), encoding="utf-8")
    shop, mapping = str(tmp_path / "shop.csv"), str(tmp_path / "map.yaml")
    args = import_events.Args(lake=lake.root, format="mapping", path=shop, mapping=mapping)
    assert import_events.main(spark, args)["accepted"] == 1
    row = lake.read("bronze/events").collect()[0]
    assert (row["event_ms"], row["price"]) == (START_MS + 9 * 3_600_000, Decimal("12.34"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop("UnitPrice"), "has no column UnitPrice; it has InvoiceNo, StockCode"),
        (lambda t: t.withColumnRenamed("Quantity", "Qty"), "has no column Quantity; it has InvoiceNo, StockCode"),
    ],
)
def test_a_column_that_is_missing_is_named(spark, lake, tmp_path, pseudonym_key, change, message):
    change(retail(spark)).write.parquet(str(tmp_path / "retail"))
    with pytest.raises(ContractError, match=message) as refused:
        import_events.main(
            spark, import_events.Args(lake=lake.root, format="online_retail", path=str(tmp_path / "retail"))
        )
    assert "\n" not in str(refused.value)
    assert not lake.exists("bronze/events")


def test_a_column_that_is_added_or_retyped_changes_nothing(spark, lake, tmp_path, pseudonym_key):
    odd = retail(spark).withColumn("Colour", f.lit("red")).withColumn("UnitPrice", f.col("UnitPrice").cast("string"))
    odd.withColumn("CustomerID", f.col("CustomerID").cast("double")).write.parquet(str(tmp_path / "retail"))
    args = import_events.Args(lake=lake.root, format="online_retail", path=str(tmp_path / "retail"))
    counts = import_events.main(spark, args)
    assert (counts["rows_in"], counts["accepted"]) == (2, 2)
    assert [r["price"] for r in lake.read("bronze/events").orderBy("offset").collect()] == [Decimal("2.55"), Decimal(3)]


def retail(spark):
    rows = [("536365", "85123A", "MUG", 6, "2010-12-01 08:26:00", 2.55, 17850, "United Kingdom")]
    rows += [("C53637", "71053", "CUP", -1, "2010-12-01 09:00:00", 3.0, 17851, "France")]
    names = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
    frame = spark.createDataFrame(rows, names)
    return frame.withColumns({"InvoiceDate": f.to_timestamp("InvoiceDate"), "Quantity": f.col("Quantity").cast("int")})


def test_skew_an_empty_day_and_a_day_delivered_twice(spark, lake, monkeypatch):
    monkeypatch.setattr(features, "GROUPS", {"activity": features.GROUPS["activity"]})
    sale: dict[str, Any] = {"event_type": "purchase", "quantity": 1, "price": Decimal(2), "line": 1}
    # One customer with a third of the rows; then a day without any, then the first day once more under new offsets.
    rows = [event(i, visitor_id="whale" if i % 3 == 0 else f"v{i}", order_id=f"o{i}", **sale) for i in range(300)]
    again = [{**row, "offset": row["offset"] + 1_000, "ingest_ms": START_MS + 2 * DAY_MS} for row in rows]
    jobs: list[tuple[Any, Any]] = [(cleanse.main, cleanse.Args), (dedup_events.main, dedup_events.Args)]
    jobs += [(features.main, features.Args), (sessionize.main, sessionize.Args), (rfm.main, rfm.Args)]
    found = []
    for day, came in enumerate((rows, [], again), 1):
        if came:
            lake.append("bronze/events", frame(spark, came))
        for main, args in jobs:
            main(spark, args(lake=lake.root, cut=START_MS + day * DAY_MS))
        figures = lake.read("gold/rfm").select("visitor_id", "recency_days", "frequency", "monetary").collect()
        found.append({row["visitor_id"]: tuple(row)[1:] for row in figures})
    assert found[0]["whale"] == (0, 100, Decimal(200)) and len(found[0]) == 201
    assert [one["whale"] for one in found[1:]] == [(1, 100, Decimal(200)), (2, 100, Decimal(200))]
    assert lake.read("silver/cleansed").count() == 600 and lake.read("silver/events").count() == 300
    assert {row["session_date"] for row in lake.read("gold/sessions").collect()} == {date(2026, 3, 1)}


def test_a_catalogue_without_one_of_its_columns_is_refused(spark, tmp_path):
    item: dict[str, Any] = {"item_id": "A", "title": None, "category": "tee", "price": 2, "currency": "EUR"}
    files = {"items.json": [item, item | {"item_id": "B"}], "cut.json": [{"item_id": "A", "titel": "Tee"}]}
    for name, lines in files.items():
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    rows = catalogue.from_file(spark, str(tmp_path / "items.json"), START_MS).collect()
    assert [(row["item_id"], row["title"], row["price"]) for row in rows] == [(x, x, Decimal(2)) for x in "AB"]
    spark.read.json(str(tmp_path / "cut.json")).write.parquet(str(tmp_path / "cut.parquet"))
    for name in ("cut.json", "cut.parquet"):
        with pytest.raises(ContractError, match="no column title, category, price, currency; it has item_id, titel"):
            catalogue.from_file(spark, str(tmp_path / name), START_MS)


REES46 = """event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session
2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde
2019-10-01 00:00:01 UTC,purchase,1004237,2053013555631882655,electronics.smartphone,apple,1081.98,535871217,c6bd7419
2019-10-01 00:00:04 UTC,view,1480613,2053013561092866779,computers.desk"""


def test_a_shop_file_cut_off_in_mid_row_gives_what_is_whole(spark, lake, tmp_path, pseudonym_key):
    (tmp_path / "rees46.csv").write_text(REES46, encoding="utf-8")
    args = import_events.Args(lake=lake.root, format="rees46", path=str(tmp_path / "rees46.csv"))
    counts = import_events.main(spark, args)
    assert (counts["rows_in"], counts["accepted"], counts["rejected"]) == (3, 2, 1)
    kept = lake.read("bronze/rejections").collect()
    assert [bytes(row["raw"]).decode() for row in kept] == [REES46.splitlines()[-1]]


def test_a_file_that_ends_before_its_end_is_named_in_one_line(spark, lake, tmp_path, pseudonym_key):
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(MAPPING), encoding="utf-8")
    whole = gzip.compress(
        "\n".join([*LINES[:2], *(f"v{i};look;2026-03-01 09:30:00;C;Tee;;;" for i in range(5_000))]).encode()
    )
    (tmp_path / "shop.csv.gz").write_bytes(whole[: len(whole) // 2])
    retail(spark).coalesce(1).write.parquet(str(tmp_path / "retail"))
    part = next((tmp_path / "retail").glob("*.parquet"))
    (tmp_path / "cut.parquet").write_bytes(part.read_bytes()[:-40])
    more: list[dict[str, Any]] = [{"format": "online_retail", "path": str(tmp_path / "cut.parquet")}]
    more += [{"format": "mapping", "path": str(tmp_path / "shop.csv.gz"), "mapping": str(tmp_path / "map.yaml")}]
    for given in more:
        with pytest.raises(ContractError, match=f"{given['path']} can't be read to its end") as refused:
            import_events.main(spark, import_events.Args(lake=lake.root, **given))
        assert "\n" not in str(refused.value)
    assert not lake.exists("bronze/events") or lake.read("bronze/events").isEmpty()


def test_codes_are_brought_to_one_and_what_is_none_is_quarantined_by_name(spark, lake, tmp_path, pseudonym_key):
    lines = ["who;when;sku;land;money", "ann;2026-03-01 10:00:00;A;germany;eur", "bob;2026-03-01 10:00:00;A;DEU;EUR"]
    lines += ["eve;2026-03-01 10:00:00;A;Atlantis;EUR", "kim;2026-03-01 10:00:00;A;;ZZZ", "zoe;2026-03-01 10:00:00;A;;"]
    (tmp_path / "shop.csv").write_text("\n".join(lines), encoding="utf-8")
    fields: dict[str, Any] = {"event_type": {"value": "view"}, "user_id": "who", "item_id": "sku"}
    fields |= {"event_ms": {"column": "when", "time": "yyyy-MM-dd HH:mm:ss"}, "country": "land", "currency": "money"}
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(MAPPING | {"fields": fields}), encoding="utf-8")
    shop, mapping = str(tmp_path / "shop.csv"), str(tmp_path / "map.yaml")
    args = import_events.Args(lake=lake.root, format="mapping", path=shop, mapping=mapping)
    assert import_events.main(spark, args)["accepted"] == 5
    counts = cleanse.main(spark, cleanse.Args(lake=lake.root, cut=START_MS + DAY_MS))
    assert (counts["good"], counts["rules"]) == (3, {"country_is_known": 1, "currency_is_known": 1})
    rows = lake.read("silver/cleansed").orderBy("offset").collect()
    assert [(row["country"], row["currency"]) for row in rows] == [("DE", "EUR"), ("DE", "EUR"), (None, None)]
