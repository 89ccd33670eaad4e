"""A simulated week with 5 % duplicates, 2 % late events and a cut each night: what the two layers disagree on.

The headline is how many feature rows differ, of all nights, and must be 0. Beside it stands each session that the
stream closed otherwise than batch has it in the end, with the events that are the cause; none may be without one.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from os import environ
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from benchmarks.harness import report, say
from benchmarks.harness.speed import PARTITIONS, Bench, bench, oracle
from common.contracts.sessions import SESSIONS
from common.errors import IncompleteInput, ServerUnavailable
from common.features.groups import GROUPS
from common.features.windows import DAY_MS, HOUR_MS, MINUTE_MS
from common.sessions import SESSION_GAP_MS
from jobs import chain, land, parity
from jobs.spark.session import local_session
from jobs.spark.tables import Lake
from local.jars import fetch
from streaming.run import LATENESS_MS
from tests.streaming.oracle import stored
from tests.streaming.traffic import START_MS, Record, closer, records

FIRST_MS = START_MS + 3 * DAY_MS
"""Where the traffic begins."""

PAUSE_MS = HOUR_MS
"""Nothing comes for so long after a cut but the records that close what ended before it."""

FOREVER_S = 100 * 365 * 86_400
KEPT = ("cleanse", "dedup_events", "sessionize", "features")
TRIES = 60


def nights(seed: int, per_day: int, days: int) -> list[list[Record]]:
    """The records of each day, and at its end what closes its sessions; the topic's order."""
    rows = records(seed, per_day * days, partitions=PARTITIONS, visitors=per_day // 4, span_ms=days * DAY_MS)
    found = []
    for day in range(days):
        begin, cut = FIRST_MS + day * DAY_MS, FIRST_MS + (day + 1) * DAY_MS
        own = [row for row in rows if begin + (PAUSE_MS if day else 0) <= row.kafka_ms < cut]
        # closer() lies three hours behind what it is given
        ending = closer([Record(0, b"", cut + PAUSE_MS - MINUTE_MS - 3 * HOUR_MS)], PARTITIONS)
        found.append([*own, *ending])
    return found


def landed(spark: SparkSession, made: Bench, args: Mapping[str, Any], topic: str) -> None:
    """Land the archive as soon as the stream has shown all of it."""
    for _ in range(TRIES):
        try:
            land.main(spark, land.Args(**args, kafka=made.platform.kafka.address, topic=topic))
            return
        except IncompleteInput as error:
            say(str(error))
    raise ServerUnavailable(f"the archive is not complete after {TRIES} tries")


def causes(
    speed: Mapping[tuple[Any, ...], tuple[Any, ...]],
    batch: Mapping[tuple[Any, ...], tuple[Any, ...]],
    events: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """The sessions that differ, each with the late events of the visitor that lie in it or join it to another."""
    late: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in events:
        if row["event_ms"] < row["ingest_ms"] - LATENESS_MS:
            late[row["visitor_id"]].append(row)
    end = SESSIONS.names.index("session_end")
    found = []
    for key in sorted(speed.keys() | batch.keys()):
        have, want = speed.get(key), batch.get(key)
        if have == want:
            continue
        until = max(row[end] for row in (have, want) if row is not None)
        near = [
            row["event_id"]
            for row in late[key[0]]
            if key[1] - SESSION_GAP_MS <= row["event_ms"] <= until + SESSION_GAP_MS
        ]
        where = "in batch alone" if have is None else "in speed alone" if want is None else "in both"
        found.append({"visitor_id": key[0], "session_start": key[1], "found": where, "late_events": near})
    return found


def main() -> None:
    """Play the week, night by night; report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--per-day", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=11)
    given = parser.parse_args()
    environ.update(PYSPARK_PYTHON=sys.executable, PYSPARK_DRIVER_PYTHON=sys.executable)
    week = nights(given.seed, given.per_day, given.days)
    with bench("parity_week") as made:
        archive, lake = made.folder / "archive", made.folder / "lake"
        made.fill("week", [])
        # A day comes at once, after minutes of silence: no partition is to be taken for idle while another is read.
        settings = ("--checkpoint-interval", "2 seconds", "--idle", "1 hour")
        job = made.stream("week", "g1", "--archive", str(archive), *settings)
        made.platform.flink.rest.wait_running(job, 180)
        spark = local_session("parity-week", fetch("delta"), memory="1600m")
        differing, compared, healed = 0, 0, 0
        try:
            for day, rows in enumerate(week, 1):
                made.append("week", rows)
                args: dict[str, Any] = {"lake": str(lake), "cut": FIRST_MS + day * DAY_MS, "archive": str(archive)}
                landed(spark, made, args, "week")
                skip = tuple(step.name for step in chain.STEPS if step.name not in KEPT)
                chain.main(spark, chain.Args(**args, topic="week", skip=skip, tracking_uri="none"))
                args |= {"cassandra": made.spec.address, "keyspace": made.spec.keyspace, "generation": "g1"}
                args |= {"threshold": 1.0, "ttl_seconds": FOREVER_S, "topic": "week"}
                del args["archive"]
                said = parity.main(spark, parity.Args(**args))
                figures = [said[group.table] for group in GROUPS.values()] + [said["sessions"]]
                differing += sum(one["compared"] - one["equal"] for one in figures)
                compared += sum(one["compared"] for one in figures)
                healed = said["sessions_healed_by_late_events"]
                say(f"night {day}: {compared} rows compared so far, {differing} differ, {healed} sessions healed")
            cut = FIRST_MS + given.days * DAY_MS
            judged = oracle([row for rows in week for row in rows])
            speed = _closed(stored(made.session, made.tables("g1")["sessions"]), cut)
            rows_of = Lake(spark, str(lake)).read("gold/sessions").select(*SESSIONS.names).collect()
            batch = _closed({(row["visitor_id"], row["session_start"]): tuple(row) for row in rows_of}, cut)
        finally:
            spark.stop()
    named = causes(speed, batch, judged.events)
    without = [one for one in named if not one["late_events"]]
    Path(made.folder / "sessions.json").write_text("\n".join(map(str, named)))
    report(
        "parity_week",
        differing,
        "rows",
        "lower",
        "batch's recomputation from what the stream archived",
        f"{given.days} days of {given.per_day} events with 5 % duplicates, 2 % late and 1 % poisoned; each night the "
        "archive is landed and every row of the stream's views is compared: tiles since the cut less 48 h, sessions",
        rows_compared=compared,
        sessions={"in_batch": len(batch), "differing": len(named), "without_a_cause": without},
        named=named[:20],
        seed=given.seed,
    )
    if differing or without:
        raise SystemExit(1)


def _closed(rows: Mapping[Any, tuple[Any, ...]], cut_ms: int) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The sessions that were over at the cut."""
    end = SESSIONS.names.index("session_end")
    return {key: row for key, row in rows.items() if row[end] + SESSION_GAP_MS < cut_ms}


if __name__ == "__main__":
    main()
