"""History: the visitor's last item events beside each event, the input of the fold-in."""

from pyflink.table import StreamTableEnvironment, Table

from common.features.expressions import event
from streaming.features import VISITOR
from streaming.flink.ddl import quote
from streaming.flink.steps import names, running, select_list
from streaming.sessions import SEPARATOR, SEPARATOR_SQL

DEPTH = 64
"""Entries kept by arrival: more than the 50 that count, so that the order of arrival seldom decides which do."""

EVENT_COLUMNS = ("event_id", "event_type", "visitor_id", "item_id", "event_ms")
"""The event fields that the history reads."""

COLUMNS = ("tastes", "updates", "history")
"""What :func:`add_history` adds."""

Entry = tuple[str, int, int, str]
"""item_id, weight, event_ms, event_id: the fields of common.contracts.embedding.HISTORY_ENTRY."""


def add_history(t_env: StreamTableEnvironment, events: Table, depth: int = DEPTH) -> Table:
    """The events with ``tastes`` (it has an item and a weight), ``updates`` (the visitor's count of such events) and
    ``history`` (the last ``depth`` of them as text, read by :func:`read_history`), as of each event.

    ``updates`` is counted right before the history is gathered, by the same key, so that the two grow together.
    Where ``tastes`` is false the others mean nothing: such events are a partition of their own and push nothing out.
    """
    present = select_list(names(events))
    weight = event.weight.flink()
    key = f"{quote(VISITOR)}, `tastes`"
    entry = f" || {SEPARATOR_SQL} || ".join(
        ("`item_id`", f"CAST({weight} AS STRING)", "CAST(`event_ms` AS STRING)", "`event_id`")
    )
    marked = t_env.sql_query(
        f"SELECT {present}, (`item_id` IS NOT NULL AND {weight} > 0) AS `tastes`, {entry} AS `entry` FROM {events}"
    )
    counted = t_env.sql_query(
        f"SELECT {present}, `tastes`, CASE WHEN `tastes` THEN `entry` ELSE '' END AS `entry`, "
        f"COUNT(*) OVER w AS `updates` FROM {marked} WINDOW {running('w', key)}"
    )
    gathered = t_env.sql_query(
        f"SELECT {present}, `tastes`, `updates`, ARRAY_AGG(`entry`) OVER (PARTITION BY {key} ORDER BY `arrival` "
        f"ROWS BETWEEN {depth - 1} PRECEDING AND CURRENT ROW) AS `entries` FROM {counted}"
    )
    # one text and not an array: Python reads only the last one of each visitor in a batch
    return t_env.sql_query(
        f"SELECT {present}, `tastes`, `updates`, ARRAY_JOIN(`entries`, {SEPARATOR_SQL}) AS `history` FROM {gathered}"
    )


def read_history(text: str) -> list[Entry]:
    """The entries of a history's text, in order of arrival."""
    parts = text.split(SEPARATOR)
    return [(parts[i], int(parts[i + 1]), int(parts[i + 2]), parts[i + 3]) for i in range(0, len(parts), 4)]
