"""The end of each chain: a vectorised function that hands a batch of rows to the views' writer.

The function writes synchronously and returns: what it has not written when it fails is written again after the
restore, with the same timestamps, so the views end the same. A batch is reduced to the newest state of each row
before anything is built for it, and all rows of a visitor travel as one unlogged batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyflink.metrics import Counter
from pyflink.table import StreamTableEnvironment, Table
from pyflink.table.udf import FunctionContext, ScalarFunction, udf

from common.contracts.core import DOUBLE, LONG
from common.embedding import HistoryEntry
from common.features.groups import FeatureGroup
from common.sessions import SESSION_GAP_MS
from streaming.features import VISITOR, column, tile_columns
from streaming.flink.ddl import quote
from streaming.flink.faults import Fault, InjectedFault
from streaming.flink.metrics import report_writer
from streaming.flink.patience import patiently
from streaming.foldin import Embedder
from streaming.history import COLUMNS as HISTORY_COLUMNS
from streaming.history import Histories, Reader, stored_histories
from streaming.sessions import AGGREGATES, OPEN_PREFIX, session_row
from views.connect import ClusterSpec, worker_session
from views.mutations import Mutation
from views.speed import SpeedRows
from views.writer import ViewWriter, WriteLimits

Columns = Mapping[str, Sequence[Any]]
"""A batch of rows by column."""


@dataclass(frozen=True)
class Target:
    """Where the views are, and which generation is written."""

    spec: ClusterSpec
    generation: str
    created_ms: int
    ttl_s: int | None = None
    gap_ms: int = SESSION_GAP_MS
    models: str = ""
    """Folder of the model artefacts; empty: the URI in the pointer."""
    deadline_s: float = 60.0
    fault: Fault | None = None


class WriteRows(ScalarFunction):
    """Writes a batch of rows into the views; its result is one 1 a row, for a sink that drops it."""

    def __init__(self, target: Target, columns: Sequence[str]) -> None:
        self.target = target
        self.columns = tuple(columns)
        self._writer: ViewWriter | None = None

    def open(self, function_context: FunctionContext) -> None:
        """Connect, once per worker process."""
        target = self.target
        session = patiently(lambda: worker_session(target.spec), target.deadline_s)
        self._writer = ViewWriter(session, WriteLimits(deadline_s=target.deadline_s))
        report_writer(function_context, self._writer.metrics)
        self.rows = SpeedRows(target.generation, target.created_ms, target.ttl_s)
        self.connected(session)

    def connected(self, session: Any) -> None:
        """What a writer further needs of the session."""

    def eval(self, *series: pd.Series) -> pd.Series:
        """Write the batch; returns when Cassandra has acknowledged all of it."""
        batch = {name: values.tolist() for name, values in zip(self.columns, series, strict=True)}
        mutations = self.mutations(batch)
        assert self._writer is not None, "open was not called"
        fault = self.target.fault
        cut = fault.cut(len(mutations)) if fault else None
        if cut is not None:
            self._writer.write(mutations[:cut])
            raise InjectedFault(f"raised on request after {cut} of {len(mutations)} writes")
        self._writer.write(mutations)
        return pd.Series(np.ones(len(series[0]), dtype=np.int64))

    def mutations(self, batch: Columns) -> list[Mutation]:
        """The batch as mutations, the newest state of each row."""
        raise NotImplementedError

    def argument(self, name: str) -> str:
        """The column as SQL hands it over."""
        return quote(name)


class WriteTiles(WriteRows):
    """Tiles of groups that share a key."""

    def __init__(self, target: Target, groups: Sequence[FeatureGroup], more: Sequence[str] = ()) -> None:
        self.groups = tuple(groups)
        super().__init__(target, (*chain_columns(groups), *more))

    def mutations(self, batch: Columns) -> list[Mutation]:
        """The newest state of each tile."""
        return [mutation for group in self.groups for mutation in self.tiles(group, batch)]

    def tiles(self, group: FeatureGroup, batch: Columns) -> list[Mutation]:
        """The newest state of each tile of one group."""
        starts, counts = batch[column(group, "tile_start")], batch[column(group, "n")]
        dims = batch[group.by] if group.by else [""] * len(starts)
        keys = list(zip(batch[group.key], starts, dims, strict=True))
        found: list[Mutation] = []
        for i in newest(keys, counts, batch[column(group, "takes")]):
            row = {name: batch[column(group, name)][i] for name in ("tile_start", *group.columns)}
            row[group.key] = batch[group.key][i]
            if group.by:
                row["dim"] = dims[i]
            found.append(self.rows.tile(group, exact(group, row)))
        return found

    def argument(self, name: str) -> str:
        """Nullable numbers as text."""
        for group in self.groups:
            for aggregate in group.aggregates:
                if name == column(group, aggregate):
                    return _argument(group, aggregate, name)
        return quote(name)


class WriteClosedSessions(WriteRows):
    """Sessions that the watermark closed."""

    def __init__(self, target: Target) -> None:
        super().__init__(target, (VISITOR, "start", *AGGREGATES))

    def mutations(self, batch: Columns) -> list[Mutation]:
        """Each session, and the delete of the provisional rows that it swallowed."""
        found: list[Mutation] = []
        for values in zip(*(batch[name] for name in self.columns), strict=True):
            found += self.rows.closed_session(session_row(dict(zip(self.columns, values, strict=True))))
        return found


class WriteVisitors(WriteTiles):
    """Everything of a visitor: the tiles of its groups, the open session, history and folded-in vector."""

    _unknown: Counter | None = None
    """Entries of histories that the live model does not know, counted at each folding in."""

    def __init__(self, target: Target, groups: Sequence[FeatureGroup]) -> None:
        session = [OPEN_PREFIX + name for name in ("start", *AGGREGATES)]
        super().__init__(target, groups, ("late", *session, *HISTORY_COLUMNS))

    def open(self, function_context: FunctionContext) -> None:
        """Connect, and count what the fold-in skips as a metric."""
        super().open(function_context)
        self._unknown = function_context.get_metric_group().counter("unknown_items")

    def connected(self, session: Any) -> None:
        """Follow the live model."""
        models = Path(self.target.models) if self.target.models else None
        self.embedder = Embedder(session, models, self.target.deadline_s)
        self.histories = Histories(self.reader(session))

    def reader(self, session: Any) -> Reader:
        """Where the histories of visitors that this worker has not met stand."""
        return stored_histories(session, self.rows.tables["user_embedding"], self.target.deadline_s)

    def mutations(self, batch: Columns) -> list[Mutation]:
        """The newest tiles, open session and embedding of each visitor."""
        return [*super().mutations(batch), *self._sessions(batch), *self._embeddings(batch)]

    def _sessions(self, batch: Columns) -> list[Mutation]:
        starts = batch[f"{OPEN_PREFIX}start"]
        keys = list(zip(batch[VISITOR], starts, strict=True))
        on_time = [not late for late in batch["late"]]
        found: list[Mutation] = []
        for i in newest(keys, batch[f"{OPEN_PREFIX}events"], on_time):
            values = {name: batch[OPEN_PREFIX + name][i] for name in ("start", *AGGREGATES)}
            found.append(self.rows.open_session(session_row({VISITOR: batch[VISITOR][i], **values})))
        return found

    def _embeddings(self, batch: Columns) -> list[Mutation]:
        entries: dict[str, list[HistoryEntry]] = {}
        updates: dict[str, int] = {}
        for tastes, count, weight, item, event_ms, event_id, visitor in zip(
            *(batch[name] for name in HISTORY_COLUMNS), batch[VISITOR], strict=True
        ):
            if tastes:
                entries.setdefault(visitor, []).append(HistoryEntry(item, weight, event_ms, event_id))
                updates[visitor] = max(count, updates.get(visitor, 0))
        rows = self.embedder.rows(self.histories.add(entries))
        if self._unknown is not None:
            self._unknown.inc(sum(row["unknown_items"] for row in rows))
        return [
            self.rows.embedding({VISITOR: visitor, "updates": updates[visitor], **row})
            for visitor, row in zip(entries, rows, strict=True)
        ]


def newest(keys: Sequence[Any], versions: Sequence[int], take: Sequence[bool] | None = None) -> list[int]:
    """The positions of the greatest version of each key, among those to take.

    Rows of one key can come out of order: another step's shuffle may lie between.
    """
    best: dict[Any, int] = {}
    for i, key in enumerate(keys):
        if take is not None and not take[i]:
            continue
        have = best.get(key)
        if have is None or versions[i] > versions[have]:
            best[key] = i
    return list(best.values())


def _argument(group: FeatureGroup, aggregate: str, name: str) -> str:
    """A nullable long goes to Python as text: pandas would make doubles of a column with a null in it."""
    declared = group.aggregates.get(aggregate)
    as_text = declared is not None and declared.nullable and declared.kind == LONG
    return f"CAST({quote(name)} AS STRING)" if as_text else quote(name)


def exact(group: FeatureGroup, row: dict[str, Any]) -> dict[str, Any]:
    """The row of a tile with its nullable numbers as they were before pandas."""
    for name, aggregate in group.aggregates.items():
        if not aggregate.nullable:
            continue
        if aggregate.kind == LONG and row[name] is not None:
            row[name] = int(row[name])
        elif aggregate.kind == DOUBLE and row[name] != row[name]:
            row[name] = None
    return row


def chain_columns(groups: Sequence[FeatureGroup]) -> list[str]:
    """The columns of a chain of groups that share a key which the groups' rows are made of."""
    dims = sorted({group.by for group in groups if group.by})
    return [groups[0].key, *dims, *(name for group in groups for name in tile_columns(group))]


def insert_visitors(t_env: StreamTableEnvironment, rows: Table, groups: Sequence[FeatureGroup], target: Target) -> str:
    """The insert that writes everything of the visitors."""
    return _insert(t_env, "visitors", rows, WriteVisitors(target, groups))


def insert_tiles(t_env: StreamTableEnvironment, rows: Table, groups: Sequence[FeatureGroup], target: Target) -> str:
    """The insert that writes the tiles of the groups of one key."""
    return _insert(t_env, f"tiles_by_{groups[0].key}", rows, WriteTiles(target, groups))


def insert_closed_sessions(t_env: StreamTableEnvironment, rows: Table, target: Target) -> str:
    """The insert that writes closed sessions."""
    return _insert(t_env, "closed_sessions", rows, WriteClosedSessions(target))


def _insert(t_env: StreamTableEnvironment, name: str, rows: Table, function: WriteRows) -> str:
    write, sink = f"write_{name}", f"written_{name}"
    t_env.create_temporary_function(write, udf(function, result_type="BIGINT", func_type="pandas"))
    t_env.execute_sql(f"CREATE TEMPORARY TABLE {quote(sink)} (`written` BIGINT) WITH ('connector' = 'blackhole')")
    arguments = ", ".join(function.argument(name) for name in function.columns)
    return f"INSERT INTO {quote(sink)} SELECT {write}({arguments}) FROM {rows}"
