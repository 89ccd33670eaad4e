"""Cleanse: each bronze event either meets every row rule and goes on, or goes to quarantine with the rule's name.

A rule looks at one row alone, so rows from the cut on are cleansed too and wait; what aggregates reads only what
lies before the cut. Only rows that came to bronze since the last run are read.
"""

from typing import Any

from pydantic.dataclasses import dataclass
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from common.rules import RULES
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.run import run
from jobs.spark.tables import Lake


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


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Judge what is new in bronze and file it; every row in is either good or quarantined."""
    lake = Lake(spark, args.lake)
    changed, version = lake.changes("bronze/events", since=lake.mark("silver/cleansed", "bronze/events"))
    events = judged(changed)
    tally = events.groupBy("rule").agg(f.count("*").alias("rows"), f.min("event_date"), f.max("event_date")).collect()
    rows = {row["rule"]: row["rows"] for row in tally}
    broken = {rule: count for rule, count in sorted(rows.items(), key=str) if rule is not None}
    added, kept = 0, 0
    if rows:
        within = f"t.event_date BETWEEN DATE'{min(r[2] for r in tally)}' AND DATE'{max(r[3] for r in tally)}'"
        if broken:
            kept = lake.insert_new("quarantine/events", quarantined(events), within=within).inserted
        # Last, since it carries the mark: a run that fails before reads the same rows again.
        added = lake.insert_new(
            "silver/cleansed", good(events), within=within, mark={"bronze/events": version}
        ).inserted
    return {
        "rows_in": sum(rows.values()),
        "good": rows.get(None, 0),
        "quarantined": sum(broken.values()),
        "rules": broken,
        "new_good": added,
        "new_quarantined": kept,
    }


if __name__ == "__main__":
    run(main, Args)
