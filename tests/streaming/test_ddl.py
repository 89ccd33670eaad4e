"""Contracts in Flink SQL: golden files, and the topic's DDL."""

import os
from pathlib import Path

import pytest

from common.contracts.core import BYTES, DOUBLE, EPOCH_MS, LONG, STRING, Field, decimal, list_of, map_of, struct
from common.contracts.registry import ALL
from common.errors import ConfigError, ContractError
from streaming.flink.ddl import columns, create_table, flink_type, interval, row_type
from streaming.flink.sources import RawTopic

GOLDEN = Path(__file__).parents[1] / "golden" / "flink"


@pytest.mark.parametrize("name", sorted(ALL))
def test_each_contract_renders_as_its_golden_file(name: str) -> None:
    rendered = f"{create_table(ALL[name])};\n\n-- as a value\n{row_type(ALL[name])}\n"
    path = GOLDEN / f"{name}.sql"
    if os.environ.get("DOVETAIL_UPDATE_GOLDEN"):
        path.write_text(rendered)
    assert rendered == path.read_text(), f"{path.name} differs: check the change, then set DOVETAIL_UPDATE_GOLDEN=1"


def test_no_golden_file_is_left_of_a_contract_that_is_gone() -> None:
    assert {path.stem for path in GOLDEN.glob("*.sql")} == set(ALL)


@pytest.mark.parametrize(
    ("kind", "sql"),
    [
        (STRING, "STRING"),
        (LONG, "BIGINT"),
        (EPOCH_MS, "BIGINT"),
        (DOUBLE, "DOUBLE"),
        (BYTES, "BYTES"),
        (decimal(18, 4), "DECIMAL(18, 4)"),
        (map_of(STRING), "MAP<STRING, STRING>"),
        (list_of(struct(Field("value", STRING), Field("n", LONG))), "ARRAY<ROW<`value` STRING, `n` BIGINT>>"),
    ],
)
def test_each_kind_has_its_type(kind, sql) -> None:
    assert flink_type(kind) == sql


def test_a_column_that_may_not_be_null_says_so_in_a_table_and_not_in_a_row() -> None:
    assert "`event_id` STRING NOT NULL" in columns(ALL["events"])
    assert "NOT NULL" not in row_type(ALL["events"])


@pytest.mark.parametrize(
    ("ms", "sql"),
    [
        (0, "INTERVAL '0 00:00:00.000' DAY TO SECOND(3)"),
        (601_001, "INTERVAL '0 00:10:01.001' DAY TO SECOND(3)"),
        (172_800_000 + 3_661_500, "INTERVAL '2 01:01:01.500' DAY TO SECOND(3)"),
    ],
)
def test_an_interval_is_exact_to_the_millisecond(ms: int, sql: str) -> None:
    assert interval(ms) == sql


def test_an_interval_beyond_what_flink_takes_is_refused() -> None:
    with pytest.raises(ContractError, match="out of bounds"):
        interval(100 * 86_400_000)


def test_the_topic_has_its_watermark_on_the_kafka_timestamp() -> None:
    ddl = RawTopic("host:9092", "events", "group").ddl("raw_events")
    assert "WATERMARK FOR `kafka_time` AS `kafka_time` - INTERVAL '0 00:00:01.000' DAY TO SECOND(3)" in ddl
    assert "'scan.bounded.mode'" not in ddl


@pytest.mark.parametrize(
    ("start", "option"),
    [
        ("earliest", {"scan.startup.mode": "earliest-offset"}),
        ("latest", {"scan.startup.mode": "latest-offset"}),
        ("group", {"scan.startup.mode": "group-offsets", "properties.auto.offset.reset": "earliest"}),
        ("timestamp:1700000000000", {"scan.startup.timestamp-millis": "1700000000000"}),
        ("offsets:0=12,1=7", {"scan.startup.specific-offsets": "partition:0,offset:12;partition:1,offset:7"}),
    ],
)
def test_each_start_becomes_the_connectors_options(start: str, option: dict[str, str]) -> None:
    options = RawTopic("host:9092", "events", "group", start=start, bounded=True).options()
    assert option.items() <= options.items()
    assert options["scan.bounded.mode"] == "latest-offset"


@pytest.mark.parametrize("start", ["", "now", "timestamp:", "timestamp:soon", "offsets:", "offsets:0", "earliest:1"])
def test_an_unknown_start_is_refused(start: str) -> None:
    with pytest.raises(ConfigError, match="--start"):
        RawTopic("host:9092", "events", "group", start=start).options()
