"""The application's steps in a real Flink, from a file to files: one job, every view against its oracle."""

import base64
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from common.admission import Event, Rejection, policy_from_env
from common.contracts.events import BRONZE_EVENTS, REJECTIONS
from common.contracts.triggers import TRIGGERS
from common.features.groups import GROUPS
from common.features.windows import DAY_MS
from common.triggers import rules_with
from streaming.admit import Gate
from streaming.archive import insert_archive, insert_rejection_archive
from streaming.features import VISITOR, chains
from streaming.flink.ddl import interval, quote
from streaming.flink.environment import Settings, table_environment
from streaming.flink.sources import DISORDER_MS, RawTopic
from streaming.run import LATENESS_MS, Args, compose
from streaming.write import Target, WriteClosedSessions, WriteRows, WriteTiles, WriteVisitors
from tests.streaming.absent import fired
from tests.streaming.oracle import MemoryViews, differences, expected_views
from tests.streaming.traffic import GAP_MS, Record, expected, records
from views.connect import ClusterSpec
from views.speed import SpeedRows

pytestmark = pytest.mark.flink

TARGET = Target(ClusterSpec(("127.0.0.1",)), "g1", created_ms=0, ttl_s=0)
SEED = 20_251_120

ABSENCES = rules_with(
    (
        "seen_again: view not cart|purchase within 6 hours per item",
        "quiet: view|search not cart|purchase|uncart within 20 minutes per visitor",
    )
)
"""The declared rules, and two whose spans are long enough to be cancelled often in this traffic."""


@dataclass
class Played:
    """What went in, and what the job left in its folder."""

    traffic: list[Record]
    folder: Path

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The JSON rows of one output."""
        found = []
        for path in sorted((self.folder / name).rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                found += [json.loads(line, parse_float=Decimal) for line in path.read_text().splitlines()]
        return found


@pytest.fixture(scope="module")
def played(tmp_path_factory, environment_python, pseudonym_key) -> Iterator[Played]:
    """The steps over seeded traffic, run once; what the writers would get goes to files."""
    folder = tmp_path_factory.mktemp("application")
    traffic = records(SEED, 4_000, partitions=1, visitors=500)
    source = folder / "raw.json"
    with source.open("w") as out:
        for offset, record in enumerate(traffic):
            value = None if record.value is None else base64.b64encode(record.value).decode()
            line = {"value": value, "kafka_ms": record.kafka_ms, "partition": 0, "offset": offset}
            out.write(json.dumps(line) + "\n")

    settings = Settings(parallelism=2, checkpoint_interval_ms=None, restart_attempts=0, job_name="test")
    t_env = table_environment(settings)
    t_env.execute_sql(
        f"""CREATE TEMPORARY TABLE raw_file (
          `value` BYTES, `kafka_ms` BIGINT, `partition` INT, `offset` BIGINT,
          `kafka_time` AS TO_TIMESTAMP_LTZ(`kafka_ms`, 3),
          WATERMARK FOR `kafka_time` AS `kafka_time` - {interval(DISORDER_MS)}
        ) WITH ('connector' = 'filesystem', 'path' = '{source.as_uri()}', 'format' = 'json')"""
    )
    raw = t_env.sql_query("SELECT `value`, `kafka_ms`, 'file' AS `topic`, `partition`, `offset` FROM raw_file")
    args = Args(RawTopic("", "file", ""), Gate(), TARGET, settings, triggers_topic="file", rules=ABSENCES)
    steps = compose(t_env, raw, args)

    statements = t_env.create_statement_set()
    statements.add_insert_sql(insert_archive(t_env, steps.events, str(folder)))
    statements.add_insert_sql(insert_rejection_archive(t_env, steps.rejections, str(folder)))
    tables = {"visitors": steps.visitors, "closed": steps.closed, **steps.tiles}
    for name, writer in writers().items():
        statements.add_insert_sql(_insert(t_env, name, tables[name], writer, folder))
    statements.add_insert_sql(_insert_all(t_env, "triggers", steps.triggers, TRIGGERS.names, folder))
    statements.execute().wait()
    yield Played(traffic, folder)


def writers() -> dict[str, WriteRows]:
    """The application's writers by output, without a session and while no model is live."""
    by_key = chains(GROUPS.values())
    found: dict[str, WriteRows] = {
        "visitors": WriteVisitors(TARGET, by_key.pop(VISITOR)),
        "closed": WriteClosedSessions(TARGET),
        **{key: WriteTiles(TARGET, groups) for key, groups in by_key.items()},
    }
    for writer in found.values():
        writer.rows = SpeedRows(TARGET.generation, TARGET.created_ms, TARGET.ttl_s)
        if isinstance(writer, WriteVisitors):
            writer.reader = lambda session: lambda visitors: {}  # type: ignore[method-assign]
        writer.connected(None)
    found["visitors"].embedder.model = lambda: None
    return found


def _insert(t_env, name: str, table, writer: WriteRows, folder: Path) -> str:
    chosen = [f"{writer.argument(column)} AS {quote(column)}" for column in writer.columns]
    return _insert_all(t_env, name, table, chosen, folder)


def _insert_all(t_env, name: str, table, chosen: Iterable[str], folder: Path) -> str:
    result = t_env.sql_query(f"SELECT {', '.join(chosen)} FROM {table}")
    schema = result._j_table.getResolvedSchema()
    columns = ", ".join(
        f"{quote(column)} {kind.getLogicalType().asSerializableString()}"
        for column, kind in zip(schema.getColumnNames(), schema.getColumnDataTypes(), strict=True)
    )
    t_env.execute_sql(
        f"CREATE TEMPORARY TABLE {quote(name)} ({columns}) WITH ('connector' = 'filesystem', "
        f"'path' = '{(folder / name).as_uri()}', 'format' = 'json')"
    )
    return f"INSERT INTO {quote(name)} SELECT * FROM {result}"


def test_every_record_is_an_event_of_the_archive_or_a_rejection_with_its_bytes(played: Played) -> None:
    judged = expected(played.traffic, policy_from_env("DOVETAIL_PSEUDONYM_KEY")).judged
    events = {row["offset"]: row for row in played.rows("events")}
    refused = {row["offset"]: row for row in played.rows("rejections")}
    assert len(events) + len(refused) == len(played.rows("events")) + len(played.rows("rejections")) == len(judged)
    for offset, (record, outcome) in enumerate(zip(played.traffic, judged, strict=True)):
        if isinstance(outcome, Rejection):
            row = refused[offset]
            assert (row["reason"], record.reason) == (outcome.reason, outcome.reason)
            assert (base64.b64decode(row["raw"]), row["size"], row["sha256"]) == (
                outcome.raw,
                outcome.size,
                outcome.sha256,
            )
            assert (row["topic"], row["partition"], row["kafka_ms"]) == ("file", 0, record.kafka_ms)
            assert row.keys() >= set(REJECTIONS.names)
        else:
            row = events[offset]
            assert row.keys() >= set(BRONZE_EVENTS.names)
            assert {name: row[name] for name in Event.__struct_fields__} == {
                name: getattr(outcome, name) for name in Event.__struct_fields__
            }
            assert row["late"] is (outcome.event_ms < record.kafka_ms - LATENESS_MS)
    assert {record.reason for record in played.traffic} > {"invalid_utf8", "too_deep", "future", "empty"}


def test_the_archive_lies_in_folders_of_the_hour_in_which_records_came(played: Played) -> None:
    for path in (played.folder / "events").rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            day, hour = path.parent.parent.name, path.parent.name
            for line in path.read_text().splitlines():
                at = datetime.fromtimestamp(json.loads(line)["ingest_ms"] / 1000, UTC)
                assert (day, hour) == (f"d={at:%Y-%m-%d}", f"h={at:%H}")


def test_all_views_equal_their_oracles_whatever_the_batches_and_their_order(played: Played) -> None:
    traffic = expected(played.traffic, policy_from_env("DOVETAIL_PSEUDONYM_KEY"))
    want = expected_views(traffic.once, LATENESS_MS)
    tables = SpeedRows(TARGET.generation, TARGET.created_ms).tables
    rng = random.Random(SEED)
    views = MemoryViews()
    for name, writer in writers().items():
        rows = played.rows(name)
        rng.shuffle(rows)
        if name == "visitors":  # the count of updates is the last step before the writer: of a visitor it only grows
            rows = in_order(rows)
        while rows:
            cut = rng.randrange(1, 200)
            batch, rows = rows[:cut], rows[cut:]
            views.apply(writer.mutations({column: [row[column] for row in batch] for column in writer.columns}))
    found = {name: differences(views.rows(tables[name]), rows) for name, rows in want.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}
    assert all(len(rows) > 50 for rows in want.values()), Counter({name: len(rows) for name, rows in want.items()})


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, each visitor's by its count of updates, in the places that the visitor's rows have."""
    queued: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["updates"]):
        queued.setdefault(row["visitor_id"], []).append(row)
    return [queued[row["visitor_id"]].pop(0) for row in rows]


def test_absences_fire_as_they_are_defined_once_whatever_copies_came(played: Played) -> None:
    traffic = expected(played.traffic, policy_from_env("DOVETAIL_PSEUDONYM_KEY"))
    want = fired(traffic.once, ABSENCES, LATENESS_MS)
    starts = Counter((rule.name, row["event_type"] in rule.after) for rule in ABSENCES for row in traffic.once)
    for rule in ABSENCES:
        some = sum(row["rule"] == rule.name for row in want.values())
        assert 5 < some < starts[rule.name, True] - 5, rule.name
    found = played.rows("triggers")
    assert len({row["trigger_id"] for row in found}) == len(found)
    assert {row["trigger_id"]: {k: row.get(k) for k in TRIGGERS.names} for row in found} == want


def test_the_traffic_holds_what_the_oracles_are_tested_for(played: Played) -> None:
    traffic = expected(played.traffic, policy_from_env("DOVETAIL_PSEUDONYM_KEY"))
    late = [row for row in traffic.once if row["event_ms"] < row["ingest_ms"] - LATENESS_MS]
    assert len(traffic.events) - len(traffic.once) > 100 and len(late) > 20
    starts = sorted((row["visitor_id"], row["event_ms"]) for row in traffic.once)
    gaps = {b[1] - a[1] for a, b in pairwise(starts) if a[0] == b[0]}
    assert {GAP_MS, GAP_MS + 1} <= gaps, "a gap of exactly 30 minutes joins, one more millisecond parts"
    assert 0 in gaps, "of two events of one instant the id says which was before"
    pairs = [(a, b) for a, b in pairwise(starts) if a[0] == b[0] and b[1] - a[1] <= GAP_MS]
    assert any(a[1] // DAY_MS < b[1] // DAY_MS for a, b in pairs), "midnight parts a pair"
