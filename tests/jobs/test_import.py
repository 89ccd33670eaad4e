"""Every row of a history file is imported or rejected with its bytes; foreign shapes come in by a mapping file."""

import json
from typing import Any

import pytest
import yaml

from common.errors import ConfigError, ContractError, MissingRequirement
from jobs.import_events import Args, main
from jobs.spark.readers import Source, load_mapping, read
from jobs.spark.tables import Lake

SHOP_CSV = """id;when;what;who;sku;brand;cost;pieces
1;2026-03-01 10:00:00;look;ann;A;Acme;1.50;
2;2026-03-01 10:01:00;buy;ann;A;Acme;1.50;2
3;2026-03-01 10:02:00;buy;bob;B;;2,50;1
4;2026-03-01 10:03:00;buy;bob;B;;2.50;many
5;not a time;look;bob;B;;2.50;
2;2026-03-01 10:01:00;buy;ann;A;Acme;1.50;2
6;2026-03-01 10:0"""

MAPPING = {
    "format": "csv",
    "options": {"sep": ";"},
    "fields": {
        "event_type": {"column": "what", "values": {"look": "view", "buy": "purchase"}},
        "event_ms": {"column": "when", "time": "yyyy-MM-dd HH:mm:ss"},
        "user_id": "who",
        "item_id": "sku",
        "price": "cost",
        "quantity": "pieces",
        "order_id": {"sql": "concat(who, '-', substr(`when`, 1, 10))"},
        "currency": {"value": "EUR"},
    },
    "properties": ["brand"],
}


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "shop.csv").write_text(SHOP_CSV, encoding="utf-8")
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(MAPPING), encoding="utf-8")
    return tmp_path


def args(folder, **changes):
    values: dict[str, Any] = {"lake": str(folder / "lake"), "format": "mapping", "path": str(folder / "shop.csv")}
    return Args(**(values | {"mapping": str(folder / "map.yaml"), "dataset": "shop", "most_rejected": 0.6} | changes))


@pytest.mark.spark
def test_a_mapped_file_is_imported_and_its_dirty_rows_are_rejected(spark, shop, pseudonym_key):
    counts = main(spark, args(shop))
    assert (counts["rows_in"], counts["accepted"], counts["rejected"]) == (7, 3, 4)
    assert counts["exact_duplicate_rows"] == 1
    lake = Lake(spark, str(shop / "lake"))
    rows = lake.read("bronze/events").orderBy("offset").collect()
    assert [row["offset"] for row in rows] == [1, 2, 6]
    assert rows[1]["event_id"] == rows[2]["event_id"] != rows[0]["event_id"]
    view, sale = rows[0], rows[1]
    assert (view["event_type"], view["event_ms"], view["properties"]) == ("view", 1_772_359_200_000, {"brand": "Acme"})
    assert (str(sale["price"]), sale["quantity"], sale["order_id"], sale["currency"]) == (
        "1.5000",
        2,
        "ann-2026-03-01",
        "EUR",
    )
    assert view["visitor_id"].startswith("k1_") and "ann" not in view["visitor_id"]
    lines = SHOP_CSV.encode().split(b"\n")
    for row in lake.read("bronze/rejections").collect():
        kept = bytes(row["raw"])
        # A price that is no number is the gate's to refuse, in the event; a row that can't be mapped stays as it was.
        assert kept == lines[row["offset"]] or json.loads(kept)["price"] == "2,50"
    assert main(spark, args(shop))["new_events"] == 0


@pytest.mark.spark
def test_a_second_file_under_the_same_name_is_refused(spark, shop, pseudonym_key):
    main(spark, args(shop))
    (shop / "shop.csv").write_text(SHOP_CSV.replace(";ann;", ";eve;"), encoding="utf-8")
    with pytest.raises(ContractError, match="import:shop already names another file's rows"):
        main(spark, args(shop))


@pytest.mark.spark
def test_an_import_that_refused_most_of_its_file_fails_and_loses_nothing(spark, shop, pseudonym_key):
    lake = Lake(spark, str(shop / "lake"))
    said = (
        "4 of 7 rows were rejected, above --most-rejected 0.5: invalid_json 3, wrong_type 1; they are in "
        "bronze/rejections, topic import:shop, the others were taken; mend the file"
    )
    for _ in range(2):
        with pytest.raises(ContractError, match=said) as refused:
            main(spark, args(shop, most_rejected=0.5))
        assert "\n" not in str(refused.value)
        assert (lake.read("bronze/events").count(), lake.read("bronze/rejections").count()) == (3, 4)


@pytest.mark.spark
def test_events_from_until_on_are_exported_for_a_replay(spark, shop, pseudonym_key):
    out = shop / "live.jsonl"
    counts = main(spark, args(shop, until=1_772_359_200_000 + 60_000, shift_days=0, export=str(out)))
    assert (counts["accepted"], counts["exported"]) == (1, 3)
    replay = [json.loads(line) for line in out.read_text().splitlines()]
    assert [e["event_ms"] for e in replay] == sorted(e["event_ms"] for e in replay)
    assert {e["event_type"] for e in replay} == {"purchase"}


@pytest.mark.spark
def test_times_are_shifted_by_whole_days(spark, shop, pseudonym_key):
    main(spark, args(shop, shift_days=2))
    first = Lake(spark, str(shop / "lake")).read("bronze/events").orderBy("offset").collect()[0]
    assert first["event_ms"] == 1_772_359_200_000 + 2 * 86_400_000
    assert str(first["event_date"]) == "2026-03-03"


def mapped(spark, folder, path, spec):
    """What each row of a file becomes by a mapping: the raw event, or the row as it stands."""
    (folder / "map.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    rows = read(spark, "mapping", Source(str(path), mapping=str(folder / "map.yaml"))).orderBy("offset").collect()
    return [json.loads(row["raw"]) if row["event_ms"] is not None else row["raw"] for row in rows]


@pytest.mark.spark
def test_numbers_are_multiplied_exactly_and_none_is_cut_off(spark, tmp_path):
    lines = [
        "1772359200.2509;1234;1.5;2.5",
        "1772359200;0.005;0.0005;1",  # a price has four decimals, and rounds to them
        "1772359200;900719925474099.3;1;1",  # beyond what a double holds, and beyond what the gate takes
        "1772359200.1239996;1234;2;2",  # cut off, not rounded
        "1772359200;0.123456789;2;2",
        "1772359200;1234;2;0.1",  # 1.2 pieces
        "1772359200;1234;2;1.0000004",  # 12.0000048 pieces
        "1772359200;1234;0.1234567891;1",  # more decimals than are multiplied exactly
        "1772359200;many;2;1",
        "soon;1234;2;1",
    ]
    path = tmp_path / "shop.csv"
    path.write_text("\n".join(["at;cents;minutes;dozens", *lines]), encoding="utf-8")
    fields = {
        "event_type": {"value": "view"},
        "event_ms": {"column": "at", "time": "epoch_s"},
        "price": {"column": "cents", "factor": "0.01"},
        "value": {"column": "minutes", "factor": 60},
        "quantity": {"column": "dozens", "factor": "12"},
    }
    rows = mapped(spark, tmp_path, path, {"format": "csv", "options": {"sep": ";"}, "fields": fields})
    read_rows, refused = rows[:5], rows[5:]
    assert [(row["event_ms"], row["price"], row["value"], row["quantity"]) for row in read_rows] == [
        (1_772_359_200_250, "12.3400", 90, 30),
        (1_772_359_200_000, "0.0001", 0.03, 12),
        (1_772_359_200_000, "9007199254740.9930", 60, 12),
        (1_772_359_200_123, "12.3400", 120, 24),
        (1_772_359_200_000, "0.0012", 120, 24),
    ]
    assert refused == lines[5:], "refused as they stand"


@pytest.mark.spark
@pytest.mark.parametrize(
    ("how", "event_ms"),
    [
        ({"column": "instant"}, 1_772_359_200_250),
        ({"column": "instant", "zone": "Europe/Berlin"}, 1_772_359_200_250),  # an instant has no zone to read it in
        ({"column": "clock"}, 1_772_359_200_000),
        ({"column": "clock", "zone": "Europe/Berlin"}, 1_772_355_600_000),
        ({"column": "day", "zone": "Europe/Berlin"}, 1_772_319_600_000),
        ({"column": "micros", "time": "epoch_us"}, 1_772_359_200_250),
        ({"column": "millis"}, 1_772_359_200_250),
    ],
)
def test_a_column_of_times_is_read_as_what_it_is(spark, tmp_path, how, event_ms):
    spark.sql(
        """SELECT TIMESTAMP '2026-03-01 10:00:00.2509 UTC' AS instant, TIMESTAMP_NTZ '2026-03-01 10:00:00' AS clock,
        DATE '2026-03-01' AS day, 1772359200250900 AS micros, 1772359200250 AS millis"""
    ).write.parquet(str(tmp_path / "shop"))
    spec = {"format": "parquet", "fields": {"event_type": {"value": "view"}, "event_ms": how}}
    (row,) = mapped(spark, tmp_path, tmp_path / "shop", spec)
    assert row["event_ms"] == event_ms


@pytest.mark.spark
def test_a_missing_column_is_named(spark, shop, pseudonym_key):
    (shop / "shop.csv").write_text(SHOP_CSV.replace("sku", "article"), encoding="utf-8")
    with pytest.raises(ContractError, match="has no column sku; it has id, when, what, who, article"):
        main(spark, args(shop))


@pytest.mark.spark
def test_a_missing_file_is_named(spark, shop, pseudonym_key):
    with pytest.raises(MissingRequirement, match="there is no file .*nothing.csv"):
        main(spark, args(shop, path=str(shop / "nothing.csv")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "excel"}, "format: Input should be 'csv', 'json' or 'parquet'"),
        ({"fields": {"event_type": "a"}}, "event_ms is not mapped"),
        ({"fields": {"event_type": "a", "event_ms": "b", "colour": "c"}}, "colour is not a field of an event"),
        (
            {"fields": {"event_type": "a", "event_ms": {"time": "epoch_s"}}},
            "event_ms needs one of column, value and sql",
        ),
        ({"more": 1}, "more: Extra inputs"),
        *(
            ({"fields": {"price": {"column": "cents", "factor": factor}}}, f"price.FieldMapping.factor: .*{message}")
            for factor, message in (
                ("a hundredth", "valid decimal"),
                ("0", "greater than 0"),
                ("0.0000001", "no more than 6 decimal places"),
                ("10000000", "no more than 7 digits before the decimal point"),
            )
        ),
    ],
)
def test_a_faulty_mapping_is_refused_in_one_line(tmp_path, changes, message):
    path = tmp_path / "map.json"
    path.write_text(json.dumps(MAPPING | changes), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_mapping(str(path))
