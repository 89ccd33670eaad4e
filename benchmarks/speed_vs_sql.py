"""How many events a second the application computes with a sink that drops rows, beside bare Flink SQL."""

import argparse
from pathlib import Path

from benchmarks.harness import median, report, say
from benchmarks.harness.speed import PARALLELISM, Bench, bench, traffic

HARNESS = Path(__file__).parent / "harness"


def drained(bench: Bench, job: str) -> float:
    """Seconds from the moment when all tasks of a bounded job had started to its end."""
    rest = bench.platform.flink.rest
    if rest.wait_finished(job, 400) != "FINISHED":
        raise SystemExit(f"the job failed: {bench.failure(job)}")
    found = rest.get(f"/jobs/{job}")
    started = [
        subtask["timestamps"]["RUNNING"]
        for vertex in found["vertices"]
        for subtask in rest.get(f"/jobs/{job}/vertices/{vertex['id']}/subtasktimes")["subtasks"]
    ]
    return (found["end-time"] - max(started)) / 1000


def main() -> None:
    """Drain the same topic with both and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=150_000)
    parser.add_argument("--sql-events", type=int, default=600_000, help="for the comparator, which is much faster")
    parser.add_argument("--repetitions", type=int, default=3)
    given, more = parser.parse_known_args()
    raw: dict[str, list[float]] = {"dovetail": [], "sql": []}
    with bench("speed_vs_sql") as made:
        # Ours drains the beginning of what the comparator drains. The same records again and again would lie behind the
        # comparator's watermark and be dropped as late.
        long = traffic(max(given.events, given.sql_events))
        rows = long[: given.events]
        made.fill("topic", rows)
        made.fill("long", long)
        for turn in range(given.repetitions):
            job = made.platform.flink.submit(
                HARNESS / "sql_application.py",
                ["--kafka", made.platform.kafka.address, "--topic", "long", "--parallelism", str(PARALLELISM)],
            )
            raw["sql"].append(len(long) / drained(made, job))
            job = made.stream(
                "topic",
                f"g{turn}",
                *("--bounded", "--restart-attempts", "0", *more),
                script=HARNESS / "dropping_application.py",
            )
            raw["dovetail"].append(len(rows) / drained(made, job))
            say(f"events/s: sql {raw['sql'][-1]:.0f}, dovetail {raw['dovetail'][-1]:.0f}")
    rates = {name: median(values) for name, values in raw.items()}
    report(
        "speed_vs_sql",
        round(rates["dovetail"] / rates["sql"], 3),
        "x",
        "higher",
        "bare Flink SQL: JSON source and SESSION function, no Python, no deduplication, the same topic's records",
        "both drain a filled topic at parallelism 2 into sinks that drop rows, from when all tasks run "
        f"to the job's end; median of {given.repetitions}; ours drains the first {len(rows)} of {len(long)} records",
        events={"dovetail": len(rows), "sql": len(long)},
        events_per_second={name: round(rate) for name, rate in rates.items()},
        raw=raw,
    )


if __name__ == "__main__":
    main()
