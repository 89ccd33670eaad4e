"""How much slower the application drains a topic of which 1 % is poison, every kind in turn, than one without any."""

import argparse
import itertools

from benchmarks.harness import median, report, say
from benchmarks.harness.speed import PARTITIONS, Bench, bench, oracle, traffic
from local.simulator.poison import poisoned
from tests.streaming.traffic import NO_NUMBERS, POISON, Record


def with_poison(rows: list[Record]) -> list[Record]:
    """The records and a hundredth more among them, at the timestamps of those that they follow: every kind in turn.

    One of them has ten megabytes, which the gate refuses by their size and digest.
    """
    every = 100
    times = [row.kafka_ms for row in rows[::every]]
    shop = [(one.record.value, one.record.key, str(one.reason)) for one in poisoned(len(times) // 2 + 1, times)]
    wild = itertools.cycle([*((value, None, reason) for value, reason in POISON), *_numbers()])
    huge = [(b'{"referrer": "' + b"x" * (10 << 20) + b'"}', None, "oversize")]
    bad = [*huge, *itertools.chain.from_iterable(zip(shop, wild, strict=False))]
    found = []
    for number, row in enumerate(rows):
        found.append(row)
        if number % every == 0:
            value, key, reason = bad[number // every]
            found.append(Record(number // every % PARTITIONS, value, row.kafka_ms, key, reason))
    return found


def _numbers() -> list[tuple[bytes | None, bytes | None, str]]:
    event = '{"event_id":"x","event_type":"view","user_id":"u","item_id":"i","event_ms":1763596800000,"value":'
    return [(f"{event}{number}}}".encode(), None, "refused") for number in NO_NUMBERS]


def drain(made: Bench, topic: str, rows: list[Record], generation: str) -> float:
    """Events a second, poison not counted; raises where a view differs from the oracle, or the job failed once."""
    tables = made.tables(generation)
    job = made.stream(topic, generation, "--bounded", "--restart-attempts", "0")
    rate = sum(not row.reason for row in rows) / made.drained(job, lambda: made.has_rows(tables["tiles_activity"]))
    if wrong := made.verdict(tables, oracle(rows)):
        raise SystemExit(f"the views of {generation} are not those of the oracle: {wrong}")
    say(f"{topic}: {rate:.0f} events/s")
    return rate


def main() -> None:
    """Drain both in turn and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args()
    rows = traffic(given.events)
    topics = {"clean": rows, "poisoned": with_poison(rows)}
    raw: dict[str, list[float]] = {name: [] for name in topics}
    with bench("poison_cost") as made:
        for name, records in topics.items():
            made.fill(name, records)
        for turn in range(given.repetitions):
            for name, records in topics.items():
                raw[name].append(drain(made, name, records, f"g{turn}{name[0]}"))
    rates = {name: median(values) for name, values in raw.items()}
    report(
        "poison_cost",
        round(100 * (1 - rates["poisoned"] / rates["clean"]), 1),
        "%",
        "lower",
        "the same topic without poison",
        "both drain into a real Cassandra at parallelism 2, a failure ends the job, every view equals the oracle; "
        f"median of {given.repetitions}",
        records={name: len(records) for name, records in topics.items()},
        events_per_second={name: round(rate) for name, rate in rates.items()},
        raw=raw,
    )


if __name__ == "__main__":
    main()
