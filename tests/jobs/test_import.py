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

MAPPING: dict[str, Any] = {
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


def stored(spark, folder):
    """What bronze holds: the rows' numbers and whose they are, and the rejected rows' bytes by their numbers."""
    lake = Lake(spark, str(folder / "lake"))
    events = lake.read("bronze/events").select("topic", "offset", "event_id").collect()
    return set(events), {row["offset"]: bytes(row["raw"]) for row in lake.read("bronze/rejections").collect()}


@pytest.mark.spark
def test_other_rows_under_known_numbers_are_refused_before_anything_is_written(spark, shop, pseudonym_key):
    main(spark, args(shop))
    before = stored(spark, shop)
    lines = SHOP_CSV.splitlines()

    def changed(number: int, line: str) -> str:
        return "\n".join([*lines[:number], line, *lines[number + 1 :]])

    others = {
        "other events": SHOP_CSV.replace(";ann;", ";eve;"),
        "of other days alone": SHOP_CSV.replace("2026-03", "2026-04"),
        "a rejected row where one was rejected": changed(5, "5;never;look;bob;B;;2.50;"),
        "a good row where one was rejected": changed(5, "8;2026-03-01 10:00:00;look;bob;B;;2.50;"),
        "a rejected row where one was good": changed(1, "1;never;look;ann;A;Acme;1.50;"),
    }
    for what, text in others.items():
        (shop / "shop.csv").write_text(text, encoding="utf-8")
        with pytest.raises(ContractError, match="import:shop already has other rows .* --dataset NAME") as refused:
            main(spark, args(shop))
            pytest.fail(what)
        assert "\n" not in str(refused.value)
    (shop / "shop.csv").write_text(SHOP_CSV, encoding="utf-8")
    with pytest.raises(ContractError, match="already has other rows under 3 of these numbers"):
        main(spark, args(shop, shift_days=1))
    assert stored(spark, shop) == before


@pytest.mark.spark
def test_a_file_that_has_grown_brings_what_is_new(spark, shop, pseudonym_key):
    main(spark, args(shop))
    was, refused = stored(spark, shop)
    assert refused.keys() == {3, 4, 5, 7}
    # The line that was cut off is whole, and one more follows, of another day.
    (shop / "shop.csv").write_text(SHOP_CSV + "4:00;look;bob;B;;2.50;\n7;2026-05-01 10:00:00;look;bob;B;;2.50;\n")
    counts = main(spark, args(shop))
    assert (counts["rows_in"], counts["new_events"], counts["new_rejections"], counts["moved"]) == (8, 2, 0, 1)
    now, left = stored(spark, shop)
    assert was < now and {row["offset"] for row in now - was} == {7, 8}
    assert left == {number: raw for number, raw in refused.items() if number != 7}
    again = main(spark, args(shop))
    assert (again["new_events"], again["new_rejections"], again["moved"]) == (0, 0, 0)
    assert stored(spark, shop) == (now, left)


@pytest.mark.spark
def test_what_a_mended_mapping_can_read_moves_out_of_the_rejections(spark, shop, pseudonym_key):
    main(spark, args(shop))
    fields = MAPPING["fields"] | {
        "quantity": {"sql": "coalesce(try_cast(pieces AS int), 1)"},
        "price": {"sql": "replace(cost, ',', '.')"},
    }
    (shop / "map.yaml").write_text(yaml.safe_dump(MAPPING | {"fields": fields}), encoding="utf-8")
    counts = main(spark, args(shop))
    assert (counts["accepted"], counts["new_events"], counts["new_rejections"], counts["moved"]) == (5, 2, 0, 2)
    events, refused = stored(spark, shop)
    assert {row["offset"] for row in events} == {1, 2, 3, 4, 6} and refused.keys() == {5, 7}


@pytest.mark.spark
def test_files_without_a_name_of_their_data_set_are_known_by_their_own(spark, shop, pseudonym_key):
    other = shop / "Orders 2026-04.csv"
    other.write_text(SHOP_CSV.replace("2026-03", "2026-04"), encoding="utf-8")
    for path in (shop / "shop.csv", other, shop / "shop.csv"):
        counts = main(spark, args(shop, path=str(path), dataset=""))
    assert counts["new_events"] == 0
    events, _ = stored(spark, shop)
    assert {row["topic"] for row in events} == {"import:shop.csv", "import:orders_2026-04.csv"} and len(events) == 6


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
    counts = main(spark, args(shop, until=1_772_359_200_000 + 60_000, shift_days=0, export=str(out), most_rejected=0.8))
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
def test_digits_are_grouped_by_threes_and_nothing_else_is_taken_for_a_group(spark, tmp_path):
    right = {
        ",": {
            "1,50": "1.50",
            "1.234,50": "1234.50",
            "1 234": "1234",
            "1'234'567,8": "1234567.8",
            "12\u00a0345": "12345",
        },
        ".": {"1.50": "1.50", "1,234.50": "1234.50", "1 234": "1234", "-1,234": "-1234"},
        None: {"1.50": "1.50", "1,50": "1,50"},  # the latter is the gate's to refuse
    }
    wrong = {
        ",": ["1.50", "0.150", "1.2345", "12.34,5", "1.234 567", "1.234.5", "1234.567", "1,2,3", "1,"],
        ".": ["1,50", "0,150", "1,2345", "12,34.5", "1,234 567", "1234,567"],
        None: [],
    }
    for mark, texts in right.items():
        lines = [f"1772359200000;{text}" for text in (*texts, *wrong[mark])]
        (tmp_path / "shop.csv").write_text("\n".join(["at;cost", *lines]), encoding="utf-8")
        price = {"column": "cost"} if mark is None else {"column": "cost", "decimal": mark}
        fields = {"event_type": {"value": "view"}, "event_ms": "at", "price": price}
        spec = {"format": "csv", "options": {"sep": ";"}, "fields": fields}
        rows = mapped(spark, tmp_path, tmp_path / "shop.csv", spec)
        assert [row["price"] for row in rows[: len(texts)]] == list(texts.values())
        assert rows[len(texts) :] == lines[len(texts) :], "refused as they stand"


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
def test_each_file_of_a_folder_has_a_header_of_its_own(spark, tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "1.csv").write_text('when;"who;where";cost\n2026-03-01 10:00:00;"ann;x";1\n2026-03-01 10:00;"ann;x";1\n')
    (folder / "2.csv").write_text('\ufeffcost;colour;"who;where";when\n2;red;bob;2026-03-02 10:00:00\n')
    (folder / "3.csv").write_text('when;"who;where";cost\n2026-03-03 10:00:00;eve;3\n')
    fields = {
        "event_type": {"value": "view"},
        "event_ms": {"column": "when", "time": "yyyy-MM-dd HH:mm:ss"},
        "user_id": "who;where",
        "price": "cost",
    }
    spec = {"format": "csv", "options": {"sep": ";"}, "fields": fields}
    rows = mapped(spark, tmp_path, folder, spec)
    assert rows[1] == '2026-03-01 10:00;"ann;x";1'
    got = [(row["user_id"], row["price"], row["event_ms"]) for row in (rows[0], *rows[2:])]
    day = 86_400_000
    assert got == [("ann;x", "1", 1_772_359_200_000), *((w, p, 1_772_359_200_000 + n * day) for w, p, n in LATER)]
    alone = mapped(spark, tmp_path, folder / "2.csv", spec)
    assert alone == [rows[2]], "what a row becomes hangs on its own file"
    (folder / "2.csv").write_text("cost;customer;when\n2;bob;2026-03-02 10:00:00\n")
    with pytest.raises(ContractError, match=f"^{folder}/2.csv has no column who;where; it has cost, customer, when$"):
        mapped(spark, tmp_path, folder, spec)


LATER = (("bob", "2", 1), ("eve", "3", 2))


@pytest.mark.spark
def test_a_member_that_no_row_of_a_json_file_has_is_named(spark, tmp_path):
    path = tmp_path / "shop.jsonl"
    often = [{"at": 1_772_359_200_000, "item": "A"}] * 1_200
    path.write_text("".join(json.dumps(row) + "\n" for row in [*often, {"at": 1_772_359_200_000, "sku": "B"}]))
    fields = {"event_type": {"value": "view"}, "event_ms": "at", "item_id": "sku"}
    rows = mapped(spark, tmp_path, path, {"format": "json", "fields": fields})
    assert [row.get("item_id") for row in rows] == [None] * 1_200 + ["B"], "one row is enough, however late"
    with pytest.raises(ContractError, match=r"shop.jsonl has no column article, who; it has at, item$"):
        mapped(spark, tmp_path, path, {"format": "json", "fields": fields | {"item_id": "article", "user_id": "who"}})


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
        ({"options": {"sep": ";", "encoding": "cp1252"}}, "options: .*unknown are encoding; known are sep, quote"),
        ({"format": "json"}, "options: .*unknown are sep; known are none but of csv"),
        ({"fields": MAPPING["fields"] | {"item_id": {"column": "sku", "time": "epoch_s"}}}, "item_id takes no time$"),
        (
            {"fields": MAPPING["fields"] | {"event_ms": {"column": "when", "decimal": ",", "factor": 10}}},
            "event_ms takes no decimal and no factor",
        ),
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
