"""Seconds from the ``kill -9`` of a TaskManager under load until events are fresh again and stay so."""

import argparse
import threading
import time

from benchmarks.harness import report, say
from benchmarks.harness.probes import Load, Prober, fresh_from
from benchmarks.harness.speed import bench
from local.flink import FlinkSize

FRESH_S = 1.0
"""No lag is left where an event is readable within so long, or within what the slowest took before the first kill."""


def main() -> None:
    """Kill a TaskManager some times and report the median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=300.0)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=45.0, help="of probing after each kill")
    given, more = parser.parse_known_args()
    raw: list[float] = []
    with bench("recovery", FlinkSize()) as made:
        made.fill("live", [])
        tables = made.tables("g1")
        job = made.stream("live", "g1", "--archive", str(made.folder / "archive"), *more)
        made.platform.flink.rest.wait_running(job, 120)
        prober = Prober(made, "live", tables["tiles_activity"])
        with Load(made, "live", given.rate), made.platform.flink.supervised():
            prober.run(20)  # a job that has just begun is slow
            fresh = max(FRESH_S, prober.run(20).quantile(1.0))
            say(f"before any kill, every event was readable within {fresh:.2f} s")
            for _ in range(given.kills):
                victim = _busy(made.platform.flink, job)
                killed: list[float] = []

                def kill(victim: int = victim, killed: list[float] = killed) -> None:
                    killed.append(time.monotonic())
                    made.platform.flink.taskmanagers[victim].kill()

                timer = threading.Timer(3.0, kill)
                timer.start()
                probed = prober.run(given.seconds)
                took = fresh_from(probed, killed[0], fresh)
                if took is None:
                    raise SystemExit(f"not fresh {given.seconds - 3:.0f} s after the kill")
                say(f"fresh again after {took:.1f} s")
                raw.append(took)
    report(
        "recovery",
        round(sorted(raw)[len(raw) // 2], 1),
        "s",
        "lower",
        "none: an absolute figure",
        f"kill -9 of the TaskManager that runs the job at {given.rate:.0f} events/s; until every probe from then on is "
        f"readable within {fresh:.2f} s, as all before the kills; median of {given.kills}; a supervisor starts the "
        "TaskManager again",
        raw=[round(seconds, 1) for seconds in raw],
        events_per_second=given.rate,
    )


def _busy(cluster, job: str) -> int:
    """The number (from 0) of a TaskManager that runs tasks of the job."""
    vertex = cluster.rest.get(f"/jobs/{job}")["vertices"][0]["id"]
    name = cluster.rest.get(f"/jobs/{job}/vertices/{vertex}")["subtasks"][0]["taskmanager-id"]
    return [server.name for server in cluster.taskmanagers].index(name)


if __name__ == "__main__":
    main()
