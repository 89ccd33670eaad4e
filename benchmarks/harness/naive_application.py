"""The comparator of the stream: the same views by the application that most people would write first.

Python process functions on keyed value state, one prepared statement executed for each row that changed. Its rules are
the product's own pure functions, so its views are the same; what differs is the way: every event passes through
pickled Python state, and every row through a round trip of its own.

    flink run -d -m HOST:PORT -C file:///.../flink-sql-connector-kafka.jar -pyfs dist/dovetail.zip \\
        -py benchmarks/harness/naive_application.py --kafka HOST:PORT --topic T --cassandra HOST:PORT \\
        --keyspace K --suffix naive --models DIR --end 0=5000,1=5000
"""

import argparse
from pathlib import Path
from typing import Any

import msgspec
from pyflink.common import Duration, Time, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.common.typeinfo import Types
from pyflink.datastream import (
    DataStream,
    KeyedProcessFunction,
    ProcessFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from pyflink.datastream.connectors.kafka import KafkaOffsetsInitializer, KafkaSource, KafkaTopicPartition
from pyflink.datastream.state import StateTtlConfig, ValueStateDescriptor

from common.admission import Rejection, admit, policy_from_env
from common.embedding import fold_in, history_entry, last_items, load_model, pack_history
from common.features.groups import GROUPS, FeatureGroup
from common.features.previous import TAKES_PART, with_previous
from common.features.tiles import Tile, folds, merge
from common.features.windows import DAY_MS, HORIZON_MS, MINUTE_MS, SECOND_MS
from common.rules import first_broken
from common.sessions import SESSION_GAP_MS, lift, merge_partials
from views.connect import ClusterSpec, worker_session
from views.schema import Table
from views.tables import SPEED, tables_of

LATENESS_MS = 10 * MINUTE_MS
VISITOR = "visitor_id"
STATE_TTL = Time.milliseconds(8 * DAY_MS)


class Admit(ProcessFunction):
    """Text to an event, or nothing where it is refused, too old or breaks a row rule."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.policy = policy_from_env("DOVETAIL_PSEUDONYM_KEY")

    def process_element(self, value: str, ctx: ProcessFunction.Context) -> Any:
        judged = admit(value.encode(), ctx.timestamp(), self.policy)
        if isinstance(judged, Rejection):
            return
        row = msgspec.structs.asdict(judged)
        if row["event_ms"] >= row["ingest_ms"] - HORIZON_MS and first_broken(row) is None:
            yield row


class KeepFirst(KeyedProcessFunction):
    """The first copy of each event."""

    def open(self, runtime_context: RuntimeContext) -> None:
        seen = ValueStateDescriptor("seen", Types.BOOLEAN())
        seen.enable_time_to_live(_lifetime())
        self.seen = runtime_context.get_state(seen)

    def process_element(self, value: dict[str, Any], ctx: KeyedProcessFunction.Context) -> Any:
        if self.seen.value() is None:
            self.seen.update(True)
            yield value


class Store:
    """Writes one row with one statement and waits for it."""

    def __init__(self, spec: ClusterSpec, suffix: str) -> None:
        self.session = worker_session(spec)
        self.tables = tables_of(SPEED.values(), suffix)
        self.inserts = {name: self.session.prepare(_insert(table)) for name, table in self.tables.items()}
        sessions = self.tables["sessions"].name
        self.remove = self.session.prepare(f"DELETE FROM {sessions} WHERE visitor_id = ? AND session_start = ?")

    def put(self, view: str, row: dict[str, Any]) -> None:
        columns = self.tables[view].view.columns
        self.session.execute(self.inserts[view], [row.get(name) for name in columns], timeout=30)

    def delete_session(self, visitor: str, start: int) -> None:
        self.session.execute(self.remove, (visitor, start), timeout=30)


class KeepTiles(KeyedProcessFunction):
    """The tiles of one group with a key of its own."""

    def __init__(self, group: str, spec: ClusterSpec, suffix: str) -> None:
        self.name, self.spec, self.suffix = group, spec, suffix

    def open(self, runtime_context: RuntimeContext) -> None:
        self.store = Store(self.spec, self.suffix)
        self.tiles = _state(runtime_context, "tiles")

    def process_element(self, value: dict[str, Any], ctx: KeyedProcessFunction.Context) -> Any:
        tiles = self.tiles.value() or {}
        self.store.put(GROUPS[self.name].table, _count(GROUPS[self.name], tiles, value))
        self.tiles.update(tiles)


class KeepPrevious(KeyedProcessFunction):
    """Events with the item before them, once the watermark has passed them."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.waiting, self.last = _state(runtime_context, "waiting"), _state(runtime_context, "last")

    def process_element(self, value: dict[str, Any], ctx: KeyedProcessFunction.Context) -> Any:
        if TAKES_PART.evaluate(value) is True and value["event_ms"] >= value["ingest_ms"] - LATENESS_MS:
            self.waiting.update([*(self.waiting.value() or []), value])
            ctx.timer_service().register_event_time_timer(value["event_ms"])

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Any:
        waiting, last = self.waiting.value() or [], self.last.value()
        due = [event for event in waiting if event["event_ms"] <= timestamp]
        found = with_previous([*([last] if last else []), *due])
        yield from found[1 if last else 0 :]
        if found:
            self.last.update(found[-1])
        self.waiting.update([event for event in waiting if event["event_ms"] > timestamp])


class KeepVisitor(KeyedProcessFunction):
    """Everything of one visitor: the tiles of its groups, its sessions, its history and vector."""

    def __init__(self, spec: ClusterSpec, suffix: str, models: str) -> None:
        self.spec, self.suffix, self.models = spec, suffix, models

    def open(self, runtime_context: RuntimeContext) -> None:
        self.store = Store(self.spec, self.suffix)
        self.model = load_model(Path(self.models))
        self.groups = [group for group in GROUPS.values() if group.key == VISITOR]
        self.tiles = {group.name: _state(runtime_context, f"tiles_{group.name}") for group in self.groups}
        self.sessions = _state(runtime_context, "sessions")
        self.history = _state(runtime_context, "history")

    def process_element(self, value: dict[str, Any], ctx: KeyedProcessFunction.Context) -> Any:
        for group in self.groups:
            if folds(group, value):
                tiles = self.tiles[group.name].value() or {}
                self.store.put(group.table, _count(group, tiles, value))
                self.tiles[group.name].update(tiles)
        if value["event_ms"] >= value["ingest_ms"] - LATENESS_MS:
            self._session(value, ctx)
        self._history(value)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Any:
        keep = []
        for part in self.sessions.value() or []:
            if part.last[0] + SESSION_GAP_MS <= timestamp:
                self.store.put("sessions", msgspec.structs.asdict(part.row(closed=True)))
            else:
                keep.append(part)
        self.sessions.update(keep)
        return ()

    def _session(self, value: dict[str, Any], ctx: KeyedProcessFunction.Context) -> None:
        before = self.sessions.value() or []
        after = merge_partials(before, [lift(value)])
        starts = {part.first[0] for part in after}
        for part in before:
            if part.first[0] not in starts:
                self.store.delete_session(part.visitor_id, part.first[0])
        for part in after:
            if part.first[0] <= value["event_ms"] <= part.last[0]:
                self.store.put("sessions", msgspec.structs.asdict(part.row(closed=False)))
                ctx.timer_service().register_event_time_timer(part.last[0] + SESSION_GAP_MS)
        self.sessions.update(after)

    def _history(self, value: dict[str, Any]) -> None:
        entry = history_entry(value)
        if entry is None:
            return
        updates, kept = self.history.value() or (0, ())
        updates, kept = updates + 1, last_items((*kept, entry))
        self.history.update((updates, kept))
        row = {
            VISITOR: value[VISITOR],
            "model_version": self.model.model_version,
            "vector": fold_in(self.model, kept).astype("<f4").tobytes(),
            "history": pack_history(kept),
            "unknown_items": sum(entry.item_id not in self.model.index for entry in kept),
            "updates": updates,
        }
        self.store.put("user_embedding", row)


def _count(group: FeatureGroup, tiles: dict[tuple[int, str], Tile], event: dict[str, Any]) -> dict[str, Any]:
    """Fold one event into the tiles of its key; the row of the tile that changed."""
    start = event["event_ms"] // group.tile_ms * group.tile_ms
    dim = event[group.by] if group.by else ""
    one = Tile(start, dim, 1, tuple(a.lift(event, start + group.tile_ms) for a in group.aggregates.values()))
    have = tiles.get((start, dim))
    tile = tiles[start, dim] = one if have is None else merge(group, have, one)
    values = dict(zip(group.columns, (tile.n, *tile.values), strict=True))
    return {group.key: event[group.key], "tile_start": start, **({"dim": dim} if group.by else {}), **values}


def _state(context: RuntimeContext, name: str) -> Any:
    described = ValueStateDescriptor(name, Types.PICKLED_BYTE_ARRAY())
    described.enable_time_to_live(_lifetime())
    return context.get_state(described)


def _lifetime() -> StateTtlConfig:
    return StateTtlConfig.new_builder(STATE_TTL).build()


def _insert(table: Table) -> str:
    columns = table.view.columns
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' for _ in columns)})"


def build(env: StreamExecutionEnvironment, given: argparse.Namespace) -> None:
    """Topic to views; nothing is executed."""
    offsets = dict(pair.split("=") for pair in given.end.split(","))
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(given.kafka)
        .set_topics(given.topic)
        .set_group_id("naive")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_bounded(
            KafkaOffsetsInitializer.offsets(
                {KafkaTopicPartition(given.topic, int(number)): int(end) for number, end in offsets.items()}
            )
        )
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    watermarks = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_millis(LATENESS_MS + SECOND_MS))
    spec = ClusterSpec.parse(given.cassandra, given.keyspace)
    records = env.from_source(source, watermarks, "events", type_info=Types.STRING())
    row = Types.PICKLED_BYTE_ARRAY()
    events: DataStream = records.process(Admit(), row).key_by(_event).process(KeepFirst(), row)
    visitors = KeepVisitor(spec, given.suffix, given.models)
    events.key_by(_visitor).process(visitors, Types.INT()).print()
    for group in (group for group in GROUPS.values() if group.key != VISITOR):
        read = events.key_by(_visitor).process(KeepPrevious(), row) if group.sequential else events
        keyed = read.filter(lambda row, name=group.name: folds(GROUPS[name], row)).key_by(
            lambda row, key=group.key: row[key]
        )
        keyed.process(KeepTiles(group.name, spec, given.suffix), Types.INT()).print()


def _event(row: dict[str, Any]) -> str:
    return row["event_id"]


def _visitor(row: dict[str, Any]) -> str:
    return row[VISITOR]


def main() -> None:
    """Compose and submit."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("kafka", "topic", "cassandra", "keyspace", "suffix", "models", "end"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--parallelism", type=int, default=2)
    given = parser.parse_args()
    env = StreamExecutionEnvironment.get_execution_environment()
    env.set_parallelism(given.parallelism)
    build(env, given)
    env.execute("naive")


if __name__ == "__main__":
    main()
