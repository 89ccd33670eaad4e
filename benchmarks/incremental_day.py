"""Seconds of a day on which 1 % of the visitors did something, over those of a recompute of everything up to its end.

Every day of the history is such a day: each run also moves one of them past the horizon of 48 hours, and one out of the
thirty days of visitor features. Features, sessions, orders, RFM and visitor features of both must be equal to the row.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.harness import median, report, say, seconds
from benchmarks.harness.history import bring, copied, day_start, digest, events
from jobs.spark.session import local_session
from jobs.spark.tables import Lake
from local.jars import fetch

REPETITIONS = 3


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--each-day", type=int, default=50_000)
    parser.add_argument("--visitors", type=int, default=500_000)
    args = parser.parse_args()
    days, each_day, visitors = args.days, args.each_day, args.visitors
    changed = visitors // 100
    spark = local_session(
        "incremental_day", fetch("delta"), memory="4g", settings={"spark.driver.extraJavaOptions": ""}
    )
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        lake = Lake(spark, str(base))
        lake.append("silver/events", events(spark, 0, days, each_day, visitors, seed=1, active=changed))
        built = seconds(lambda: bring(spark, str(base), day_start(days)))
        say(f"{days} days of {each_day:,} events: {built:.1f} s for all of them")
        # The day comes after the tables were made, so it is in the change feed alone.
        lake.append("silver/events", events(spark, days, 1, each_day, visitors, seed=100, active=changed))
        cut, raw = day_start(days + 1), {"day": list[float](), "recompute": list[float]()}
        # A folder of its own for each turn: Delta remembers what it saw under a path.
        for turn in range(REPETITIONS + 1):
            root = copied(base, Path(folder) / f"day-{turn}")
            took = seconds(partial(bring, spark, root, cut))
            say(f"day {turn or 'warm-up'}: {took:.2f} s")
            raw["day"] += [took] if turn else []
        # Building the base was the recompute's warm-up.
        for turn in range(1, REPETITIONS):
            whole = copied(base / "silver", Path(folder) / f"whole-{turn}" / "silver").removesuffix("/silver")
            took = seconds(partial(bring, spark, whole, cut))
            say(f"recompute {turn}: {took:.2f} s")
            raw["recompute"].append(took)
        found, expected = digest(spark, root), digest(spark, whole)
    spark.stop()
    different = [table for table in expected if found[table] != expected[table]]
    if different:
        raise SystemExit(f"error: tables differ from a recompute: {', '.join(different)}")
    report(
        "incremental_day",
        round(median(raw["day"]) / median(raw["recompute"]), 3),
        "ratio of seconds",
        "lower",
        "the same jobs without tables to go on from",
        f"{days} days of {each_day} events by {changed} of {visitors} visitors, then one more; features, "
        "sessions, orders, RFM, visitor features in one session on local[2]; median of 3 and of 2; equal to the row",
        seconds=raw,
        rows={table: figures[0] for table, figures in expected.items()},
    )


if __name__ == "__main__":
    main()
