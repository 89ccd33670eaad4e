"""Sessions: the open one with every event, provisional; the closed one once the watermark has passed it, exact.

Late events (a fact of the record: ``event_ms < ingest_ms - lateness``) take part in neither: batch heals them.
"""

from collections.abc import Mapping
from typing import Any

from pyflink.table import StreamTableEnvironment, Table

from common.contracts.events import MONEY
from common.features.expressions import event
from common.features.windows import DAY_MS
from common.sessions import intent
from streaming.features import VISITOR
from streaming.flink.ddl import flink_type, interval, quote
from streaming.flink.steps import names, running, select_list

SEPARATOR = "\0"
"""Admission refuses NUL in every text, and nothing sorts before it."""

SEPARATOR_SQL = "U&'\\0000'"

OPEN_PREFIX = "session_"
"""Prefix of the columns that :func:`add_open_sessions` adds."""

AGGREGATES = ("end", "events", "pages", "items", "categories", "spend", "weight", "first", "last")
"""What is aggregated; ``first`` and ``last`` hold the first and last event by (event_ms, event_id) as text."""

EVENT_COLUMNS = (
    "event_id",
    "event_type",
    "visitor_id",
    "item_id",
    "category",
    "price",
    "quantity",
    "event_ms",
    "device",
)
"""The event fields that sessions read."""


def add_open_sessions(t_env: StreamTableEnvironment, events: Table, gap_ms: int) -> Table:
    """The events with the visitor's open session as of each of them: ``session_start`` and the aggregates.

    An event opens a session where it lies more than the gap after the one that arrived before it. Arrival order is
    not event order (deduplication shuffles), so the session is provisional. A late event's columns mean nothing.
    """
    present = select_list(names(events))
    start = quote(f"{OPEN_PREFIX}start")
    late_apart = f"{quote(VISITOR)}, `late`"
    before = t_env.sql_query(
        f"SELECT {present}, LAG(`event_ms`) OVER (PARTITION BY {late_apart} ORDER BY `arrival`) AS `before_ms` "
        f"FROM {events}"
    )
    opened = t_env.sql_query(
        f"SELECT {present}, COALESCE(MAX(CASE WHEN `before_ms` IS NULL OR `event_ms` - `before_ms` > {gap_ms} "
        f"THEN `event_ms` END) OVER w, `event_ms`) AS {start} FROM {before} WINDOW {running('w', late_apart)}"
    )
    aggregates = ", ".join(
        f"{sql} OVER w AS {quote(OPEN_PREFIX + name)}" for name, sql in zip(AGGREGATES, _aggregates(), strict=True)
    )
    return t_env.sql_query(
        f"SELECT {present}, {start}, {aggregates} FROM {opened} WINDOW {running('w', f'{late_apart}, {start}')}"
    )


def closed_sessions(t_env: StreamTableEnvironment, events: Table, gap_ms: int) -> Table:
    """One row for each session that the watermark has passed: visitor_id, start and the aggregates.

    Exact: an event that is not late is never behind the watermark, so the window holds all of them.
    """
    on_time = t_env.sql_query(f"SELECT {select_list([*EVENT_COLUMNS, 'settled'])} FROM {events} WHERE NOT `late`")
    aggregates = ", ".join(f"{sql} AS {quote(name)}" for name, sql in zip(AGGREGATES, _aggregates(), strict=True))
    return t_env.sql_query(
        f"SELECT {quote(VISITOR)}, MIN(`event_ms`) AS `start`, {aggregates} "
        f"FROM SESSION(TABLE {on_time} PARTITION BY {quote(VISITOR)}, DESCRIPTOR(`settled`), {interval(gap_ms)}) "
        f"GROUP BY {quote(VISITOR)}, window_start, window_end"
    )


def _aggregates() -> list[str]:
    money = flink_type(MONEY)
    amount, bought = (event.price * event.quantity).flink(), (event.type == "purchase").flink()
    return [
        "MAX(`event_ms`)",
        "COUNT(*)",
        f"SUM(CASE WHEN {(event.type == 'view').flink()} THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END)",
        "COUNT(DISTINCT `item_id`)",
        "COUNT(DISTINCT `category`)",
        f"SUM(CASE WHEN {bought} THEN COALESCE({amount}, CAST(0 AS {money})) ELSE CAST(0 AS {money}) END)",
        f"SUM({event.weight.flink()})",
        f"MIN({_moment()})",
        f"MAX({_moment()})",
    ]


def _moment() -> str:
    """An event as text that sorts by (event_ms, event_id) and carries its item and device."""
    parts = (
        "LPAD(CAST(`event_ms` AS STRING), 15, '0')",
        "`event_id`",
        "COALESCE(`item_id`, '')",
        "COALESCE(`device`, '')",
    )
    return f" || {SEPARATOR_SQL} || ".join(parts)


def read_moment(text: str) -> tuple[str | None, str | None]:
    """Item and device of an event that was carried as text; None where it has none."""
    _, _, item, device = text.split(SEPARATOR)
    return item or None, device or None


def session_row(values: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the contract ``sessions`` from ``visitor_id``, ``start`` and the aggregates."""
    start, end, weight = values["start"], values["end"], values["weight"]
    entry, device = read_moment(values["first"])
    last_item, _ = read_moment(values["last"])
    return {
        "visitor_id": values["visitor_id"],
        "session_start": start,
        "session_end": end,
        "events": values["events"],
        "pages": values["pages"],
        "items": values["items"],
        "categories": values["categories"],
        "spend": values["spend"],
        "weight": weight,
        "intent": intent(weight),
        "entry": entry,
        "exit": last_item,
        "device": device,
        "suspected_bot": end - start > DAY_MS,
    }
