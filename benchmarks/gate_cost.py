"""Seconds of the nightly chain with its gate over those without, in one session: what judging every table costs."""

import tempfile

from benchmarks.harness import median, report, say, side_by_side
from benchmarks.harness.history import day_start, events
from jobs import chain
from jobs.spark.session import local_session
from jobs.spark.tables import Lake
from local.jars import fetch

VISITORS, DAYS, EACH_DAY = 2_000, 30, 4_000
SERVERS = ("land", "parity", "publish")
REPETITIONS = 3


def main() -> None:
    """Measure, compare, report."""
    spark = local_session("gate_cost", fetch("delta"), memory="3g", settings={"spark.driver.extraJavaOptions": ""})
    with tempfile.TemporaryDirectory() as folder:
        lakes = {}
        for name in ("gated", "open"):
            lake = Lake(spark, f"{folder}/{name}")
            lake.append("bronze/events", events(spark, 0, DAYS - 1, EACH_DAY, VISITORS, seed=5))
            lakes[name] = lake
        day = dict.fromkeys(lakes, DAYS)
        told: dict[str, dict] = {}

        def night(name: str) -> None:
            # Each turn brings a day and runs up to its end, as a night does; the warm-up takes all days before.
            lakes[name].append("bronze/events", events(spark, day[name] - 1, 1, EACH_DAY, VISITORS, seed=5 + day[name]))
            skip = SERVERS if name == "gated" else (*SERVERS, "check")
            args = chain.Args(lake=lakes[name].root, cut=day_start(day[name]), skip=skip, tracking_uri="none")
            told[name] = chain.main(spark, args)
            day[name] += 1

        raw = side_by_side({"gated": lambda: night("gated"), "open": lambda: night("open")}, REPETITIONS)
        say(f"the gate alone: {told['gated']['check']}")
    spark.stop()
    report(
        "gate_cost",
        round(median(raw["gated"]) / median(raw["open"]), 3),
        "ratio of seconds",
        "lower",
        "the same chain without the gate",
        f"{EACH_DAY} events a day by {VISITORS} visitors, {DAYS} days and then a day a turn; cleanse to recommend in "
        f"one session on local[2]; a warm-up, then the median of {REPETITIONS} in turn",
        seconds=raw,
        gate=told["gated"]["check"],
    )


if __name__ == "__main__":
    main()
