"""Reads by key for asyncio: one profile read and one concurrent set of speed reads a visitor.

A driver's future completes in its own thread; it is handed to the event loop, so no thread waits for a read.
Each read has a deadline; what a deadline cuts off is the reader's to answer without.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from cassandra import InvalidRequest, OperationTimedOut
from cassandra.cluster import ResponseFuture, Session
from cassandra.query import PreparedStatement

from views.errors import ViewMissing
from views.schema import Table, identifier

PAGE_ROWS = 5_000


async def awaited(response: ResponseFuture) -> list[Any]:
    """All rows of a driver's response, awaited in the running event loop; raises what the driver raises."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[list[Any]] = loop.create_future()
    read: list[Any] = []

    def settle(error: BaseException | None) -> None:
        if result.done():  # the reader gave up at its deadline
            return
        if error is None:
            result.set_result(read)
        else:
            result.set_exception(error)

    def hand_over(error: BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed while the read was under way
            loop.call_soon_threadsafe(settle, error)

    def page(rows: Any) -> None:  # in the driver's thread, once for each page
        read.extend(rows or ())
        if response.has_more_pages and not result.done():
            response.start_fetching_next_page()
        else:
            hand_over(None)

    response.add_callbacks(page, hand_over)
    return await result


class KeyReader:
    """Prepared reads by key on one session.

    A statement is prepared once per table, off the event loop; a table that is not there raises ViewMissing
    and is forgotten, so that a reader can turn to another version.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._prepared: dict[str, PreparedStatement] = {}

    async def partition(
        self,
        table: Table,
        key: Sequence[Any],
        deadline_s: float,
        since: Any = None,
        limit: int | None = None,
    ) -> list[Any]:
        """The rows of one partition, in clustering order: named tuples of all columns.

        ``since`` leaves out rows whose first clustering column is smaller; ``limit`` bounds their number.
        Raises TimeoutError at the deadline, ViewMissing where the table is not there, the driver's errors else.
        """
        cql = _select(self.session.keyspace, table, since is not None, limit)
        values = (*key, since) if since is not None else tuple(key)
        try:
            async with asyncio.timeout(deadline_s):
                statement = self._prepared.get(cql) or await self._prepare(cql)
                bound = statement.bind(values)
                bound.is_idempotent = True
                bound.fetch_size = PAGE_ROWS
                return await awaited(self.session.execute_async(bound, timeout=deadline_s))
        except OperationTimedOut as error:
            raise TimeoutError(f"{table.name} did not answer within {deadline_s * 1_000:g} ms") from error
        except InvalidRequest as error:
            self._prepared.pop(cql, None)
            raise ViewMissing(f"table {table.name} is not there") from error

    async def row(self, table: Table, key: Sequence[Any], deadline_s: float) -> Any:
        """The one row of a key; None where there is none. Raises as :meth:`partition`."""
        rows = await self.partition(table, key, deadline_s)
        return rows[0] if rows else None

    async def warm(self, tables: Sequence[tuple[Table, bool, int | None]]) -> None:
        """Prepare the reads of tables ahead of the first request: (table, with ``since``, ``limit``) of each."""
        for table, since, limit in tables:
            cql = _select(self.session.keyspace, table, since, limit)
            if cql not in self._prepared:
                try:
                    await self._prepare(cql)
                except InvalidRequest as error:
                    raise ViewMissing(f"table {table.name} is not there") from error

    async def _prepare(self, cql: str) -> PreparedStatement:
        prepared = await asyncio.to_thread(self.session.prepare, cql)
        self._prepared[cql] = prepared
        return prepared


def _select(keyspace: str, table: Table, since: bool, limit: int | None) -> str:
    view = table.view
    columns = ", ".join(identifier(name) for name in view.columns)
    where = " AND ".join(f"{identifier(name)} = ?" for name in view.partition_key)
    lower = f" AND {identifier(view.clustering[0])} >= ?" if since else ""
    bound = f" LIMIT {limit}" if limit else ""
    return f"SELECT {columns} FROM {table.qualified(keyspace)} WHERE {where}{lower}{bound}"
