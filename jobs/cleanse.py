"""Cleanse: each bronze event either meets every row rule and goes on, or goes to quarantine with the rule's name.

A rule looks at one row alone, so rows from the cut on are cleansed too and wait; what aggregates reads only what
lies before the cut. Only rows that came to bronze since the last run are read. Where that is not known all are,
and what was filed before stays where it is, whatever the rules say now: to move it is a replay's, which leaves
alone what a review has discarded.
"""

from typing import Any

from pydantic.dataclasses import dataclass
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from common.rules import RULES
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.observing import observed
from jobs.spark.run import run
from jobs.spark.tables import TABLES, Lake

FILES = ("silver/cleansed", "quarantine/events")
"""Where an event is filed: in one of the two."""


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Cleanse bronze events into silver/cleansed and quarantine/events."""


def judged(events: DataFrame) -> DataFrame:
    """The rows with ``rule``: the first rule each breaks, null where it breaks none."""
    broken = [f.when(~f.coalesce(f.expr(r.holds.spark()), f.lit(False)), f.lit(r.name)) for r in RULES]
    return events.withColumn("rule", f.coalesce(*broken))


def good(events: DataFrame) -> DataFrame:
    """Rows of silver/cleansed."""
    return events.where("rule IS NULL").drop("rule")


def quarantined(events: DataFrame) -> DataFrame:
    """Rows of quarantine/events."""
    return events.where("rule IS NOT NULL")


def keys(lake: Lake, table: str) -> DataFrame:
    """The keys of the rows that are filed in a table."""
    return lake.read(table).select(*TABLES[table].contract.key)


def but_for(events: DataFrame, others: DataFrame | None) -> DataFrame:
    """The rows whose key is not among the others'; all where there are none."""
    return events if others is None else events.join(others, [*others.columns], how="left_anti")


def within(days: set[str] | None) -> str | None:
    """The partitions of the target that hold rows of these days; None where they are not known."""
    if days is None:
        return None
    named = ", ".join(f"DATE'{day}'" for day in sorted(days))
    return f"t.event_date IN ({named})" if days else "false"


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Judge what is new in bronze and file it; every row in is either good or quarantined.

    Rows are counted as they are written (``observe``), and read again only where some broke a rule. Each of the two
    tables says what it has seen, so a run that fails between them files the rest again.
    """
    lake = Lake(spark, args.lake)
    marks = [lake.mark(table, "bronze/events") for table in FILES]
    since = None if None in marks else min(mark for mark in marks if mark is not None)
    changed, version = lake.changes("bronze/events", since=since)
    if since == version:
        return {"rows_in": 0, "good": 0, "quarantined": 0, "rules": {}, "new_good": 0, "new_quarantined": 0}
    where = within(lake.partitions_added("bronze/events", since, version))
    mark = {"bronze/events": version}
    counts = [f.count_if(f.col("rule") == rule.name).alias(rule.name) for rule in RULES]
    events = judged(changed)
    # Both have seen the same: no row that comes now has been filed.
    new = since is not None and marks[0] == marks[1]
    filed = {} if new else {table: keys(lake, table) for table in FILES if lake.exists(table)}
    counted, seen = observed(events, f.count("*").alias("rows_in"), *counts)
    fit = but_for(good(counted), filed.get("quarantine/events"))
    added = lake.insert_new("silver/cleansed", fit, within=where, mark=mark).inserted
    tally = seen.get()
    rows_in = tally.pop("rows_in")
    broken = {rule: count for rule, count in sorted(tally.items()) if count}
    if broken:
        bad = but_for(quarantined(events), filed.get("silver/cleansed"))
        kept = lake.insert_new("quarantine/events", bad, within=where, mark=mark).inserted
    else:
        kept = lake.append("quarantine/events", quarantined(events.limit(0)), mark=mark).inserted
    return {
        "rows_in": rows_in,
        "good": rows_in - sum(broken.values()),
        "quarantined": sum(broken.values()),
        "rules": broken,
        "new_good": added,
        "new_quarantined": kept,
    }


if __name__ == "__main__":
    run(main, Args)
