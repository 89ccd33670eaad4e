"""History: which events a visitor's history takes, and what it becomes.

The history itself is no state of the stream: the last entries of a visitor stand in the view, and merging more into
them is commutative and idempotent (common.embedding.last_items). So the writer reads a visitor's row when it has not
met the visitor lately, and a row that is read again after a restore is merged into itself.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args
from pyflink.table import StreamTableEnvironment, Table

from common.embedding import HistoryEntry, last_items, pack_history, unpack_history
from common.features.expressions import event
from streaming.features import VISITOR
from streaming.flink.ddl import quote
from streaming.flink.patience import patiently
from streaming.flink.steps import names, running, select_list
from views.schema import Table as View
from views.schema import identifier

EVENT_COLUMNS = ("event_id", "event_type", "visitor_id", "item_id", "event_ms")
"""The event fields that the history reads."""

COLUMNS = ("tastes", "updates", "weight", "item_id", "event_ms", "event_id")
"""What the writer reads of an event that has passed :func:`add_history`."""

REMEMBERED = 20_000
"""Visitors whose history a writer keeps in mind: about 2 KB each."""

READS_AT_ONCE = 64

Reader = Callable[[Sequence[str]], Mapping[str, Sequence[bytes]]]
"""The packed histories of visitors, of each all that are stored; a visitor without one may be left out."""


def add_history(t_env: StreamTableEnvironment, events: Table) -> Table:
    """The events with ``tastes`` (it has an item and a weight), ``weight``, and ``updates``, the visitor's count of
    such events as of each of them.

    Where ``tastes`` is false the others mean nothing: such events are a partition of their own.
    """
    present, weight = select_list(names(events)), event.weight.flink()
    marked = t_env.sql_query(
        f"SELECT {present}, {weight} AS `weight`, (`item_id` IS NOT NULL AND {weight} > 0) AS `tastes` FROM {events}"
    )
    return t_env.sql_query(
        f"SELECT {present}, `weight`, `tastes`, COUNT(*) OVER w AS `updates` FROM {marked} "
        f"WINDOW {running('w', f'{quote(VISITOR)}, `tastes`')}"
    )


class Histories:
    """The histories of the visitors one writer meets: the last item events by (event_ms, event_id).

    ``read`` is asked for visitors that are not remembered. What is remembered is what was written, since a writer
    that fails takes its memory with it.
    """

    def __init__(self, read: Reader, remembered: int = REMEMBERED) -> None:
        self._read = read
        self._remembered = remembered
        self._known: OrderedDict[str, bytes] = OrderedDict()  # packed: a quarter of the memory

    def add(self, entries: Mapping[str, Iterable[HistoryEntry]]) -> list[tuple[HistoryEntry, ...]]:
        """The histories of these visitors, in their order, with the entries merged in."""
        while len(self._known) > self._remembered:  # before and not after: these are not written yet
            self._known.popitem(last=False)
        missing = [visitor for visitor in entries if visitor not in self._known]
        stored = self._read(missing) if missing else {}
        found = []
        for visitor, new in entries.items():
            packed = [self._known[visitor]] if visitor in self._known else stored.get(visitor, ())
            merged = last_items(chain(new, *map(unpack_history, packed)))
            self._known[visitor] = pack_history(merged)
            self._known.move_to_end(visitor)
            found.append(merged)
        return found


def stored_histories(session: Session, table: View, deadline_s: float) -> Reader:
    """A reader of the view; it asks again for ``deadline_s`` while the store is away."""
    cql = f"SELECT history FROM {table.qualified(session.keyspace)} WHERE {identifier(VISITOR)} = ?"
    prepared = patiently(lambda: session.prepare(cql), deadline_s)

    def read(visitors: Sequence[str]) -> dict[str, list[bytes]]:
        results = execute_concurrent_with_args(
            session,
            prepared,
            [(visitor,) for visitor in visitors],
            concurrency=READS_AT_ONCE,
        )
        return {
            visitor: [row.history for row in result.result_or_exc if row.history is not None]
            for visitor, result in zip(visitors, results, strict=True)
        }

    return lambda visitors: patiently(lambda: read(visitors), deadline_s)
