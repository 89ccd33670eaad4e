"""How long an event takes from being posted to being readable in Cassandra, at half of the stream's own maximum."""

import argparse

from benchmarks.harness import report, say
from benchmarks.harness.probes import Load, Prober
from benchmarks.harness.speed import bench, traffic

WARM_UP_S = 90.0
"""A stream runs for months: what its machines compile in the first minute, and the backlog of that, are over."""


def main() -> None:
    """Find the maximum, then probe at half of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=60_000, help="drained to find the maximum")
    parser.add_argument("--rate", type=float, help="events a second; by default half of the maximum, found first")
    parser.add_argument("--seconds", type=float, default=60.0)
    given, more = parser.parse_known_args()
    with bench("freshness") as made:
        rate = given.rate
        if rate is None:
            rows = traffic(given.events)
            made.fill("backlog", rows)
            tables = made.tables("max")
            archive = ("--archive", str(made.folder / "archive-max"))
            job = made.stream("backlog", "max", "--bounded", "--restart-attempts", "0", *archive, *more)
            rate = len(rows) / made.drained(job, lambda: made.has_rows(tables["tiles_activity"])) / 2
            say(f"half of the maximum: {rate:.0f} events/s")
        made.fill("live", [])
        tables = made.tables("g1")
        job = made.stream("live", "g1", "--archive", str(made.folder / "archive"), *more)
        made.platform.flink.rest.wait_running(job, 120)
        prober = Prober(made, "live", tables["tiles_activity"])
        with Load(made, "live", rate) as load:
            prober.run(WARM_UP_S)
            before = load.sent
            probed = prober.run(given.seconds)
            offered = (load.sent - before) / given.seconds
        p50, p99 = (round(probed.quantile(q) * 1000) for q in (0.5, 0.99))
    report(
        "freshness",
        p99,
        "ms",
        "lower",
        "none: an absolute figure",
        "event posted to row readable in a real Cassandra, open loop of events at half of the drained maximum, probes "
        f"of new visitors at {len(probed.seconds) / given.seconds:.0f}/s for {given.seconds:.0f} s, "
        f"after {WARM_UP_S:.0f} s of the same; archive and checkpoints on",
        p50=p50,
        p90=round(probed.quantile(0.9) * 1000),
        longest=round(max(probed.seconds) * 1000),
        probes=len(probed.seconds),
        events_per_second=round(offered),
    )


if __name__ == "__main__":
    main()
