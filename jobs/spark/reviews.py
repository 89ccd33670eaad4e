"""The book of reviews: what was decided about each quarantined event, by whom, when and why; nothing in it changes.

An event in quarantine is open unless the last decision about it is to discard it: then it stays there and is left
alone. One that was replayed has left it; where a rollback puts it back, it is open once more.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import date

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from jobs.spark.increment import days_of, on_days
from jobs.spark.tables import TABLES, Lake, wall_clock_ms

OPEN, DISCARDED, REPLAYED = "open", "discarded", "replayed"

KEY = TABLES["quarantine/events"].contract.key


def last_decided(lake: Lake, state: str) -> DataFrame:
    """The key of each event that the last decision about it brought into the state, and ``state``."""
    last = f.max_by("state", f.struct("reviewed_ms", "run_id")).alias("state")
    return lake.read_or_empty("quarantine/reviews").groupBy(*KEY).agg(last).where(f.col("state") == state)


def reviewed(lake: Lake) -> DataFrame:
    """The quarantined events with ``state``: open or discarded."""
    states = last_decided(lake, DISCARDED)
    events = lake.read("quarantine/events").join(states, [*KEY], how="left")
    return events.withColumn("state", f.coalesce("state", f.lit(OPEN)))


def chosen(events: DataFrame, state: str, rules: Collection[str], topic: str) -> DataFrame:
    """Those of the reviewed events in the state, of the rules and the topic; empty: of all."""
    rows = events.where(f.col("state") == state)
    if topic:
        rows = rows.where(f.col("topic") == topic)
    return rows.where(f.col("rule").isin(*rules)) if rules else rows


def review(lake: Lake, events: DataFrame, state: str, run_id: str, by: str, why: str) -> int:
    """Write down that a run brings these quarantined events into a state; how many they are."""
    decided = events.select(
        *KEY,
        "rule",
        f.lit(state).alias("state"),
        f.lit(by or None).cast("string").alias("reviewed_by"),
        f.lit(why or None).cast("string").alias("why"),
        f.lit(wall_clock_ms()).alias("reviewed_ms"),
        f.lit(run_id).alias("run_id"),
    )
    return lake.append("quarantine/reviews", decided).inserted


def replayed(lake: Lake, events: DataFrame, run_id: str, by: str, why: str) -> int:
    """Write down that a run replays these events, but for those of which that was written last; how many they are."""
    new = events.join(last_decided(lake, REPLAYED), [*KEY], how="left_anti")
    return review(lake, new, REPLAYED, run_id, by, why)


def finish_replay(lake: Lake, run_id: str) -> int:
    """Take out of quarantine what a replay that was killed has brought to silver/cleansed already; how many events.

    The caller keeps replays and ``cleanse`` off.
    """
    events = lake.read("quarantine/events")
    if not lake.exists("silver/cleansed"):
        return 0
    cleansed = on_days(lake.read("silver/cleansed"), days_of(events)).select(*KEY)
    twice = events.join(cleansed, [*KEY], how="left_semi").persist(StorageLevel.MEMORY_AND_DISK)
    try:
        found = twice.count()
        if found:
            replayed(lake, twice, run_id, "", "")
            lake.remove("quarantine/events", twice)
        return found
    finally:
        twice.unpersist()


def open_by_day(lake: Lake) -> dict[tuple[str, date], int]:
    """How many quarantined events wait for a decision, by the rule that they broke and their UTC day."""
    if not lake.exists("quarantine/events"):
        return {}
    rows = reviewed(lake).where(f.col("state") == OPEN).groupBy("rule", "event_date").count().collect()
    return {(rule, day): count for rule, day, count in rows}


def by_rule(waiting: Mapping[tuple[str, date], int], since: date = date.min) -> dict[str, int]:
    """Those that wait (:func:`open_by_day`), of the days from ``since`` on, by rule."""
    found: Counter[str] = Counter()
    for (rule, day), count in waiting.items():
        if day >= since:
            found[rule] += count
    return dict(sorted(found.items()))
