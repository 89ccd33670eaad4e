"""Parity is green for equal layers, and red for a lost, a doubled and an altered row."""

from decimal import Decimal

import pytest
from pyspark.sql import functions as f

from common.features.groups import GROUPS
from common.features.tiles import fold
from common.features.windows import HOUR_MS
from jobs.features import tiles
from jobs.parity import WHOLE_ROW, compare, folded, passes, taken_by_speed
from jobs.spark.schema import struct_type

pytestmark = pytest.mark.spark

GROUP = GROUPS["activity"]
CONTRACT = GROUP.contract()
START = 490_000 * HOUR_MS


def rows(count: int = 12) -> list[dict]:
    events = [
        {
            "event_type": "purchase" if i % 3 == 0 else "view",
            "visitor_id": f"v{i % 4}",
            "price": Decimal("2.5000"),
            "quantity": 2,
            "line": 1,
            "event_ms": START + i * HOUR_MS // 2,
        }
        for i in range(count)
    ]
    found = []
    for key, of_key in sorted(fold(GROUP, events).items()):
        for tile in of_key.values():
            values = dict(zip(GROUP.aggregates, tile.values, strict=True))
            values = {k: Decimal(v) if k in ("spend", "refunds") else v for k, v in values.items()}
            found.append({"visitor_id": key, "tile_start": tile.start, "n": tile.n, **values})
    return found


def frame(spark, data):
    return spark.createDataFrame([tuple(row[n] for n in CONTRACT.names) for row in data], struct_type(CONTRACT))


def whole(spark, speed, batch):
    return compare("t", frame(spark, speed), frame(spark, batch), CONTRACT)


def test_equal_layers_pass(spark):
    data = rows()
    found = whole(spark, list(reversed(data)), data)
    assert found.rows["compared"] == found.rows["equal"] == len(data)
    assert all(passes(figures, 0.0) for _, figures in found.features)


@pytest.mark.parametrize(
    ("plant", "figure"),
    [
        (lambda data: data[1:], "missing_in_speed"),
        (lambda data: [*data, {**data[0], "tile_start": data[0]["tile_start"] + 500 * HOUR_MS}], "missing_in_batch"),
        (lambda data: [{**data[0], "views": data[0]["views"] + 3}, *data[1:]], "differing"),
        (lambda data: [{**data[0], "last_event": None}, *data[1:]], "differing"),
    ],
    ids=["lost", "doubled", "altered", "emptied"],
)
def test_a_planted_fault_turns_it_red(spark, plant, figure):
    data = rows()
    found = whole(spark, plant(data), data)
    assert found.rows[figure] == 1
    assert not passes(found.rows, 0.0)


def test_the_altered_column_is_named_with_its_difference(spark):
    data = rows()
    found = whole(spark, [{**data[0], "spend": data[0]["spend"] + Decimal("0.5")}, *data[1:]], data)
    by_feature = dict(found.features)
    assert by_feature["spend"]["differing"] == 1
    assert by_feature["spend"]["largest_difference"] == 0.5
    assert by_feature["views"]["differing"] == 0
    assert by_feature[WHOLE_ROW]["largest_difference"] == 0.5


def test_a_threshold_is_a_share_of_rows():
    figures = {"compared": 100, "equal": 99}
    assert passes(figures, 0.01)
    assert not passes(figures, 0.009)


def test_events_of_imports_and_beyond_the_horizon_are_not_speeds_to_take(spark):
    data = [("events", START, START), ("import:x", START, START), ("events", START, START + 49 * HOUR_MS)]
    events = spark.createDataFrame(data, "topic string, event_ms long, ingest_ms long")
    assert taken_by_speed(events, "events").count() == 1


def test_late_events_are_between_no_others(spark):
    data = [
        (f"e{i}", "view", "v", item, START + i, late) for i, (item, late) in enumerate([("a", 0), ("b", 1), ("c", 0)])
    ]
    events = spark.createDataFrame(
        data, "event_id string, event_type string, visitor_id string, item_id string, event_ms long, late int"
    ).withColumn("late", f.col("late") == 1)
    group = GROUPS["covisits"]
    found = tiles(folded(events, group), group, group.tile_ms).collect()
    assert [(row["previous_item_id"], row["dim"], row["n"]) for row in found] == [("a", "c", 1)]
    assert folded(events, GROUP).count() == 3
