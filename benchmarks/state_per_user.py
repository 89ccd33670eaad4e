"""Bytes of a checkpoint for each active user whose history is full."""

import argparse
import json
import random
import time

from benchmarks.harness import report
from benchmarks.harness.speed import PARTITIONS, bench, oracle
from common.features.groups import GROUPS
from tests.streaming.traffic import START_MS, Record, event

EVENTS = 56
"""Of each user: searches are no item events, so about 50 of them fill the history."""


def rows_of(users: int, seed: int = 9) -> list[Record]:
    """So many users, each with the same number of events over two hours, in turn."""
    rng = random.Random(seed)
    made = []
    for turn in range(EVENTS):
        for user in range(users):
            at = START_MS + turn * 120_000 + user
            body = event(rng, f"s{turn}-{user}", user, at)
            made.append(Record(user % PARTITIONS, json.dumps(body).encode(), at, f"u{user}".encode()))
    return made


def main() -> None:
    """Drain, take the size of a checkpoint, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000)
    given, more = parser.parse_known_args()
    with bench("state_per_user") as made:
        rest = made.platform.flink.rest
        rows = rows_of(given.users)
        made.fill("users", [])
        tables = made.tables("g1")
        job = made.stream("users", "g1", "--checkpoint-interval", "3 seconds", *more)
        rest.wait_running(job, 120)
        rest.wait_checkpoint(job)
        empty = _size(rest, job)
        made.append("users", rows)
        counted = oracle(rows).once  # a sale without a price breaks a row rule
        visitor = counted[-1]["visitor_id"]
        want = sum(row["visitor_id"] == visitor and GROUPS["activity"].where.evaluate(row) is True for row in counted)
        read = made.session.prepare(f"SELECT sum(n) FROM {tables['tiles_activity'].name} WHERE visitor_id = ?")
        deadline = time.monotonic() + 300
        while made.session.execute(read, (visitor,)).one()[0] != want:
            if time.monotonic() > deadline:
                raise SystemExit("the last user's events did not all arrive within 300 s")
            time.sleep(0.5)
        rest.wait_checkpoint(job)
        size = _size(rest, job)
    report(
        "state_per_user",
        round((size - empty) / given.users),
        "bytes",
        "lower",
        "none: an absolute figure",
        f"size of a completed checkpoint less that of the idle job, over {given.users} users of {EVENTS} events each "
        "within two hours (about 50 of them with an item): deduplication, tiles, sessions; histories are in the views",
        users=given.users,
        checkpoint_bytes=size,
        idle_bytes=empty,
    )


def _size(rest, job: str) -> int:
    return rest.get(f"/jobs/{job}/checkpoints")["latest"]["completed"]["checkpointed_size"]


if __name__ == "__main__":
    main()
