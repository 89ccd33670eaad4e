"""How many events a second the application drains into Cassandra, beside the application most people would write."""

import argparse
from pathlib import Path

from benchmarks.harness import report, say
from benchmarks.harness.speed import PARALLELISM, PARTITIONS, Bench, bench, oracle, traffic
from tests.streaming.traffic import Record, closer

NAIVE = Path(__file__).parent / "harness" / "naive_application.py"


def drain_naive(bench: Bench, topic: str, rows: list[Record], turn: int) -> float:
    """Seconds of the comparator over a topic that holds these records; raises where its views are wrong."""
    suffix = f"naive{turn}"
    tables = bench.tables(suffix)
    ends = {number: sum(row.partition == number for row in rows) for number in range(PARTITIONS)}
    job = bench.platform.flink.submit(
        NAIVE,
        [
            *("--kafka", bench.platform.kafka.address, "--topic", topic, "--cassandra", bench.spec.address),
            *("--keyspace", bench.spec.keyspace, "--suffix", suffix, "--models", str(bench.models / "bench")),
            *("--end", ",".join(f"{number}={end}" for number, end in ends.items())),
            *("--parallelism", str(PARALLELISM)),
        ],
        py_files=[bench.bundle],
    )
    seconds = bench.drained(job, lambda: bench.has_rows(tables["tiles_activity"]))
    say(f"naive: {len(rows)} records in {seconds:.1f} s, {len(rows) / seconds:.0f}/s")
    check(bench, suffix, rows)
    return seconds


def drain_stream(bench: Bench, topic: str, rows: list[Record], turn: int, more: list[str]) -> float:
    """Seconds of the whole application over the same kind of topic; raises where its views are wrong."""
    generation = f"g{turn}"
    tables = bench.tables(generation)
    arguments = [*("--bounded", "--restart-attempts", "0"), *("--archive", str(bench.folder / f"archive{turn}")), *more]
    job = bench.stream(topic, generation, *arguments)
    seconds = bench.drained(job, lambda: bench.has_rows(tables["tiles_activity"]))
    say(f"dovetail: {len(rows)} records in {seconds:.1f} s, {len(rows) / seconds:.0f}/s")
    check(bench, generation, rows)
    return seconds


def check(bench: Bench, suffix: str, rows: list[Record]) -> None:
    """Raise where a view of that generation differs from the oracle."""
    wrong = bench.verdict(bench.tables(suffix), oracle(rows))
    if wrong:
        raise SystemExit(f"the views of {suffix} are not those of the oracle: {wrong}")
    say(f"{suffix}: every view equals the oracle")


def main() -> None:
    """Drain and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--naive-events", type=int, default=12_000)
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--only", choices=("naive", "stream"))
    given, more = parser.parse_known_args()
    rows = traffic(given.events)
    few = rows[: given.naive_events]
    few += closer(few, PARTITIONS)
    raw: dict[str, list[float]] = {"naive": [], "stream": []}
    with bench("speed_vs_naive") as made:
        for topic, records in (("all", rows), ("few", few)):
            made.fill(topic, records)
        for turn in range(given.repetitions):
            if given.only != "naive":
                raw["stream"].append(len(rows) / drain_stream(made, "all", rows, turn, more))
            if given.only != "stream":
                raw["naive"].append(len(few) / drain_naive(made, "few", few, turn))
    if given.only:
        return
    best = {name: max(rates) for name, rates in raw.items()}
    report(
        "speed_vs_naive",
        round(best["stream"] / best["naive"], 2),
        "x",
        "higher",
        "Python KeyedProcessFunctions with value state, one execute a row, the same views",
        "both drain a filled topic into one real Cassandra at parallelism 2, from the first row to the job's end; the "
        "comparator over the first events of the same topic; every view of both equals the oracle",
        events=len(rows),
        naive_events=len(few),
        visitors=5_000,
        events_per_second={name: round(rate) for name, rate in best.items()},
        raw=raw,
    )


if __name__ == "__main__":
    main()
