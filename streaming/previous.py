"""The item before each event, for groups about what follows what (common/features/previous.py)."""

from collections.abc import Iterable

from pyflink.table import StreamTableEnvironment, Table

from common.features.expressions import PREVIOUS_ITEM
from common.features.previous import TAKES_PART
from common.features.windows import DAY_MS
from streaming.features import VISITOR
from streaming.flink.ddl import interval, quote
from streaming.flink.steps import select_list


def with_previous(t_env: StreamTableEnvironment, events: Table, columns: Iterable[str], gap_ms: int) -> Table:
    """The events that have a previous item, with it and ``arrival``, once the watermark has passed them.

    Late events take no part: of the others none comes behind the watermark, so pairs are exact and final. Pattern
    matching sorts by time and event_id, which OVER cannot, and forgets an event when the gap is over.
    """
    own = sorted({*columns, VISITOR, "event_ms", "event_id"} - {PREVIOUS_ITEM})
    taken = t_env.sql_query(
        f"SELECT {select_list([*own, 'settled'])} FROM {events} WHERE NOT `late` AND {TAKES_PART.flink()}"
    )
    measures = ", ".join(f"B.{quote(name)} AS {quote(name)}" for name in own if name != VISITOR)
    return t_env.sql_query(
        f"SELECT {select_list([*own, PREVIOUS_ITEM])}, PROCTIME() AS `arrival` FROM {taken} MATCH_RECOGNIZE ("
        f"PARTITION BY {quote(VISITOR)} ORDER BY `settled`, `event_id` "
        f"MEASURES A.`item_id` AS {quote(PREVIOUS_ITEM)}, {measures} "
        f"ONE ROW PER MATCH AFTER MATCH SKIP TO LAST B PATTERN (A B) WITHIN {interval(gap_ms + 1)} "
        f"DEFINE B AS B.`event_ms` - A.`event_ms` <= {gap_ms} AND B.`event_ms` / {DAY_MS} = A.`event_ms` / {DAY_MS})"
    )
