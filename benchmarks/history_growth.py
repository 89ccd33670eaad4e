"""Seconds of the same day after ten times the history over those after a tenth of it: what a day costs is its own.

Visitor features read thirty days, of which the short history has twelve: that difference is part of the ratio.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.harness import median, report, say, side_by_side
from benchmarks.harness.history import bring, copied, day_start, events
from jobs.spark.session import local_session
from jobs.spark.tables import Lake
from local.jars import fetch

VISITORS, LONG, SHORT = 50_000, 120, 12
CHANGED, CHANGED_EVENTS = 1_000, 10_000


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--each-day", type=int, default=8_000)
    each_day = parser.parse_args().each_day
    spark = local_session("history_growth", fetch("delta"), memory="4g", settings={"spark.driver.extraJavaOptions": ""})
    with tempfile.TemporaryDirectory() as folder:
        for name, days in (("long", LONG), ("short", SHORT)):
            lake = Lake(spark, f"{folder}/{name}")
            # Both histories end on the same day, and the day after it is the same.
            lake.append("silver/events", events(spark, LONG - days, days, each_day, VISITORS, seed=1))
            bring(spark, lake.root, day_start(LONG))
            lake.append("silver/events", events(spark, LONG, 1, CHANGED_EVENTS, CHANGED, seed=100))
            say(f"{name}: {days} days of {each_day:,} events are there")
        # Each turn takes the day from the same state; the copy is made before its clock starts.
        turns = 4
        copies = {
            (name, turn): copied(Path(folder) / name, Path(folder) / f"{name}-{turn}")
            for name in ("long", "short")
            for turn in range(turns)
        }
        left = {name: iter(range(turns)) for name in ("long", "short")}

        def day(name: str) -> None:
            bring(spark, copies[name, next(left[name])], day_start(LONG + 1))

        raw = side_by_side({"long": lambda: day("long"), "short": lambda: day("short")}, repetitions=turns - 1)
    spark.stop()
    report(
        "history_growth",
        round(median(raw["long"]) / median(raw["short"]), 3),
        "ratio of seconds",
        "lower",
        f"the same day after {SHORT} days instead of {LONG}",
        f"{each_day} events a day by {VISITORS} visitors; a day of {CHANGED_EVENTS} events by {CHANGED}; features, "
        "sessions, orders, RFM, visitor features in one session on local[2]; a warm-up, then the median of 3 in turn",
        seconds=raw,
    )


if __name__ == "__main__":
    main()
