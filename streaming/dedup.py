"""Deduplication: each event once, within the horizon."""

from collections.abc import Iterable

from pyflink.table import StreamTableEnvironment, Table

from common.features.windows import HORIZON_MS
from streaming.flink.steps import select_list


def deduplicate(t_env: StreamTableEnvironment, events: Table, columns: Iterable[str]) -> Table:
    """The first arrival of each event_id among events no older than the horizon that meet the row rules (``sound``).

    An event is older where its Kafka timestamp lies more than the horizon after it: then a first copy could already
    be forgotten, so it stays in the archive alone and batch counts it. Keeping the first arrival leaves the stream
    append-only, which every OVER after it needs. The state's lifetime must exceed the horizon.
    """
    kept = select_list([*columns, "settled", "arrival"])
    return t_env.sql_query(
        f"SELECT {kept} FROM ("
        f"SELECT {kept}, ROW_NUMBER() OVER (PARTITION BY `event_id` ORDER BY `arrival` ASC) AS `copy` "
        f"FROM {events} WHERE `event_ms` >= `ingest_ms` - {HORIZON_MS} AND `sound`) WHERE `copy` = 1"
    )
