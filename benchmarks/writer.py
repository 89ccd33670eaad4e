"""Upserts a second of one writer process, beside a loop that executes each row of the same real batches."""

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from benchmarks.harness import median, report, say, side_by_side
from benchmarks.harness.speed import MODEL, Store, oracle, store, traffic
from common.embedding import fold_in_batch, history_entry, last_items, pack_history
from common.features.groups import GROUPS
from common.features.tiles import Tile, fold, merge
from common.sessions import lift, merge_partials
from views.mutations import Upsert
from views.speed import SpeedRows
from views.writer import ViewWriter

BATCH = 2_000
"""Events of one call, as streaming/flink/environment.py has it."""


def batches(made: Store, events: Sequence[dict[str, Any]], rows: SpeedRows) -> Iterator[list[Upsert]]:
    """The visitors' rows that each batch of events leaves: the newest tiles, session and vector of each visitor."""
    groups = [group for group in GROUPS.values() if group.key == "visitor_id"]
    tiles: dict[str, dict[Any, Tile]] = {group.name: {} for group in groups}
    sessions: dict[str, list[Any]] = {}
    histories: dict[str, tuple[Any, ...]] = {}
    updates: dict[str, int] = {}
    for start in range(0, len(events), BATCH):
        batch = events[start : start + BATCH]
        found: list[Upsert] = []
        for group in groups:
            kept = tiles[group.name]
            for visitor, changed in fold(group, batch).items():
                for at, tile in changed.items():
                    have = kept.get((visitor, at))
                    kept[visitor, at] = tile = tile if have is None else merge(group, have, tile)
                    values = dict(zip(group.columns, (tile.n, *tile.values), strict=True))
                    found.append(
                        rows.tile(group, {group.key: visitor, "tile_start": tile.start, "dim": tile.dim, **values})
                    )
        for row in batch:
            sessions[row["visitor_id"]] = merge_partials(sessions.get(row["visitor_id"], []), [lift(row)])
            entry = history_entry(row)
            if entry is not None:
                histories[row["visitor_id"]] = last_items((*histories.get(row["visitor_id"], ()), entry))
                updates[row["visitor_id"]] = updates.get(row["visitor_id"], 0) + 1
        visitors = list(dict.fromkeys(row["visitor_id"] for row in batch))
        for visitor in visitors:
            found.append(rows.open_session(msgspec.structs.asdict(sessions[visitor][-1].row(closed=False))))
        with_items = [visitor for visitor in visitors if visitor in histories]
        folded = fold_in_batch(made.model, [histories[visitor] for visitor in with_items])
        for visitor, vector in zip(with_items, folded.vectors.astype("<f4"), strict=True):
            row = {
                "visitor_id": visitor,
                "model_version": MODEL,
                "vector": vector.tobytes(),
                "history": pack_history(histories[visitor]),
                "unknown_items": 0,
                "updates": updates[visitor],
            }
            found.append(rows.embedding(row))
        yield found


def main() -> None:
    """Write the same rows in both ways and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=6_000)
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args()
    with store("writer") as made:
        tables = made.tables("w")
        rows = SpeedRows("w", 1, ttl_s=0)
        calls = list(batches(made, oracle(traffic(given.events)).once, rows))
        count = sum(map(len, calls))
        say(f"{count} upserts in {len(calls)} calls")
        prepared = {table.name: made.session.prepare(table.insert(made.spec.keyspace)) for table in tables.values()}

        def loop() -> None:
            for call in calls:
                for upsert in call:
                    made.session.execute(
                        prepared[upsert.table.name], (*upsert.values, upsert.timestamp, upsert.ttl), timeout=30
                    )

        writer = ViewWriter(made.session)

        def component() -> None:
            for call in calls:
                writer.write(call)

        raw = side_by_side({"dovetail": component, "execute": loop}, given.repetitions)
        begun = time.process_time()
        component()
        busy = time.process_time() - begun
        ours, theirs = (count / median(raw[name]) for name in ("dovetail", "execute"))
        report(
            "writer",
            round(ours / theirs, 2),
            "x",
            "higher",
            "a loop that executes one prepared insert a row",
            "one process writes the same upserts of the visitors' views to one real Cassandra, in the stream's batches "
            f"of {BATCH} events; warm-up, then {given.repetitions} turns each",
            upserts=count,
            upserts_per_second={"dovetail": round(ours), "execute": round(theirs)},
            microseconds_of_cpu_per_upsert=round(busy / count * 1e6, 1),
            raw=raw,
            metrics=writer.metrics.snapshot(),
        )


if __name__ == "__main__":
    main()
