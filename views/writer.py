"""The one writer of the views, for Flink's function and Spark's partitions alike.

Fewer statements is the only lever on a writer's rate, so a call is reduced to the last row per primary
key and sent as unlogged batches: a partition key's rows of all tables (one mutation on the server), and a few small
partitions with the same replicas in one request. Statements are built while others are under way. A call
returns when everything is acknowledged. Every batch is idempotent (its timestamps are bound), so what
fails in transit is sent again, with back-off, until a deadline; then the call raises and the job fails.
"""

import random
import struct
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cassandra import (
    CoordinationFailure,
    InvalidRequest,
    OperationTimedOut,
    Timeout,
    Unavailable,
)
from cassandra.cluster import NoHostAvailable, Session
from cassandra.connection import ConnectionException
from cassandra.protocol import IsBootstrappingErrorMessage, OverloadedErrorMessage, ServerError
from cassandra.query import BatchStatement, BatchType, BoundStatement, PreparedStatement

from common.errors import ServerUnavailable
from views.errors import ViewMissing
from views.metrics import WriteMetrics
from views.mutations import Mutation, RangeDelete, RowDelete, Together, Upsert, reduce_mutations
from views.schema import cql_type

TRANSIENT = (
    NoHostAvailable,
    OperationTimedOut,
    Timeout,
    Unavailable,
    CoordinationFailure,
    ConnectionException,
    OverloadedErrorMessage,
    IsBootstrappingErrorMessage,
    ServerError,
)
"""What a server that is away, restarting or too busy gives: the same batch may be sent again."""


@dataclass(frozen=True)
class WriteLimits:
    """Bounds of a writer."""

    in_flight: int = 64
    """Batches awaiting their acknowledgement; more gains nothing."""
    chunk: int = 512
    """Batches sent before the writer stops to look for failures."""
    batch_rows: int = 64
    batch_bytes: int = 32 * 1_024
    """Cassandra refuses batches above 50 KiB unless it is told otherwise; a row that is larger goes alone."""
    together: int = 8
    """Partitions with the same replicas in one batch; Cassandra warns of more than ten."""
    together_bytes: int = 4 * 1_024
    """Their size together; Cassandra warns of batches above 5 KiB. A larger partition's batch is its own."""
    deadline_s: float = 60.0
    """How long a call goes on sending again what failed."""
    backoff_s: float = 0.1
    """The first pause; it doubles up to two seconds."""
    request_timeout_s: float = 5.0


class ViewWriter:
    """Writes mutations through one session; not to be shared between threads."""

    def __init__(
        self, session: Session, limits: WriteLimits | None = None, metrics: WriteMetrics | None = None
    ) -> None:
        self.session = session
        self.limits = limits or WriteLimits()
        self.metrics = metrics or WriteMetrics()
        self._prepared: dict[tuple[str, type], PreparedStatement] = {}

    def write(self, mutations: Iterable[Mutation]) -> None:
        """Write everything and return when it is acknowledged.

        Raises ServerUnavailable where Cassandra did not take it within the deadline (part of it may be
        written: the same call again is harmless) and ViewMissing where a table is not there.
        """
        limits = self.limits
        together = Together(self._place, limits.together, limits.together_bytes)
        reduced = reduce_mutations(mutations, limits.batch_rows, limits.batch_bytes, together)
        self.metrics.superseded += reduced.superseded
        self.metrics.expired += reduced.expired
        deadline = time.monotonic() + self.limits.deadline_s
        for start in range(0, len(reduced.batches), self.limits.chunk):
            self._write_chunk(reduced.batches[start : start + self.limits.chunk], deadline)
        self.metrics.rows += reduced.rows
        self.metrics.batches += len(reduced.batches)

    def _write_chunk(self, chunk: Sequence[list[Mutation]], deadline: float) -> None:
        pending: Sequence[list[Mutation]] = chunk
        pause = self.limits.backoff_s
        while True:
            failures = self._attempt(pending)
            if not failures:
                return
            error = failures[0][1]
            if time.monotonic() + pause > deadline:
                raise ServerUnavailable(
                    f"Cassandra took no write for {self.limits.deadline_s:g} s ({type(error).__name__}; "
                    f"{len(failures)} of {len(chunk)} batches are not acknowledged): see whether it is up and keeps up"
                ) from error
            self.metrics.retries += 1
            time.sleep(pause * random.uniform(0.75, 1.0))
            pause = min(2.0, pause * 2)
            pending = [batch for batch, _ in failures]

    def _attempt(self, chunk: Sequence[list[Mutation]]) -> list[tuple[list[Mutation], BaseException]]:
        """Send each batch once; the ones that failed in transit, with their errors. Other errors are raised."""
        try:
            for mutation in (mutation for batch in chunk for mutation in batch):
                self._prepare(mutation)
        except TRANSIENT as error:  # preparing needs the server, too
            return [(batch, error) for batch in chunk]
        except InvalidRequest as error:
            raise _missing(error, chunk) from error
        gate = threading.Semaphore(self.limits.in_flight)
        outcomes: list[BaseException | None] = [None] * len(chunk)

        def done(index: int, sent: float, error: BaseException | None) -> None:
            outcomes[index] = error
            if error is None:
                self.metrics.observe(time.monotonic() - sent)
            gate.release()

        defect: BaseException | None = None
        for index, batch in enumerate(chunk):
            try:
                statement = self._statement(batch)
            except Exception as error:  # a value that its column does not take: what is under way is awaited first
                defect = error
                break
            gate.acquire()
            sent = time.monotonic()
            future = self.session.execute_async(statement, timeout=self.limits.request_timeout_s)
            future.add_callbacks(
                callback=lambda _rows, index=index, sent=sent: done(index, sent, None),
                errback=lambda error, index=index, sent=sent: done(index, sent, error),
            )
        for _ in range(self.limits.in_flight):
            gate.acquire()
        if defect is not None:
            raise defect
        for outcome in outcomes:
            if isinstance(outcome, InvalidRequest):
                raise _missing(outcome, chunk) from outcome
            if outcome is not None and not isinstance(outcome, TRANSIENT):
                raise outcome
        return [(batch, outcome) for batch, outcome in zip(chunk, outcomes, strict=True) if outcome is not None]

    def _place(self, mutation: Mutation) -> Hashable:
        """The replicas of a mutation's partition; None where the driver does not know them."""
        metadata = self.session.cluster.metadata
        if len(metadata.all_hosts()) == 1:
            return True
        replicas = metadata.get_replicas(self.session.keyspace, routing_key(mutation))
        return frozenset(host.host_id for host in replicas) or None

    def _statement(self, batch: list[Mutation]) -> BatchStatement | BoundStatement:
        if len(batch) == 1:
            return self._bound(batch[0])
        statement = BatchStatement(batch_type=BatchType.UNLOGGED)
        for mutation in batch:
            statement.add(self._bound(mutation))
        statement.is_idempotent = True
        return statement

    def _bound(self, mutation: Mutation) -> BoundStatement:
        values: tuple[Any, ...]
        if isinstance(mutation, Upsert):
            values = (*mutation.values, mutation.timestamp, mutation.ttl)
        elif isinstance(mutation, RowDelete):
            values = (mutation.timestamp, *mutation.key)
        else:
            values = (mutation.timestamp, *mutation.partition, mutation.after, mutation.until)
        bound = self._prepare(mutation).bind(values)
        bound.is_idempotent = True
        return bound

    def _prepare(self, mutation: Mutation) -> PreparedStatement:
        key = (mutation.table.name, type(mutation))
        prepared = self._prepared.get(key)
        if prepared is None:
            render = {
                Upsert: mutation.table.insert,
                RowDelete: mutation.table.delete_row,
                RangeDelete: mutation.table.delete_range,
            }[type(mutation)]
            prepared = self._prepared[key] = self.session.prepare(render(self.session.keyspace))
        return prepared


_PACKED: dict[str, Callable[[Any], bytes]] = {
    "text": lambda value: value.encode(),
    "int": struct.Struct(">i").pack,
    "bigint": struct.Struct(">q").pack,
}


def routing_key(mutation: Mutation) -> bytes:
    """The partition key as Cassandra hashes it."""
    view = mutation.table.view
    if isinstance(mutation, Upsert):
        values: Sequence[Any] = [mutation.values[position] for position in view.key_positions]
    else:
        values = mutation.key if isinstance(mutation, RowDelete) else mutation.partition
    names = view.partition_key
    parts = [
        _PACKED[cql_type(view.contract.field(name).kind)](value) for name, value in zip(names, values, strict=False)
    ]
    if len(parts) == 1:
        return parts[0]
    return b"".join(struct.pack(f">H{len(part)}sB", len(part), part, 0) for part in parts)


def _missing(error: InvalidRequest, chunk: Sequence[list[Mutation]]) -> BaseException:
    """ViewMissing where the server says that a table is not there; any other refusal is a defect and stays itself."""
    text = str(error)
    if "unconfigured table" in text or "does not exist" in text or "unknown" in text.lower() and "table" in text:
        names = sorted({mutation.table.name for batch in chunk for mutation in batch})
        return ViewMissing(f"a table among {', '.join(names)} is not there: create its version or generation first")
    return error
