"""Sessions: a visitor's events while the gaps are at most thirty minutes."""

from common.contracts.core import BOOLEAN, DATE, EPOCH_MS, INT, LONG, STRING, Contract, Field
from common.contracts.events import MONEY

SESSIONS = Contract(
    name="sessions",
    version=1,
    key=("visitor_id", "session_start"),
    event_time="session_start",
    doc="One session. The rule and the oracle stand in common/sessions.py.",
    fields=(
        Field("visitor_id", STRING, nullable=False),
        Field("session_start", EPOCH_MS, nullable=False, doc="event_ms of its first event"),
        Field("session_end", EPOCH_MS, nullable=False, doc="event_ms of its last event"),
        Field("events", LONG, nullable=False),
        Field("pages", LONG, nullable=False, doc="View events"),
        Field("items", LONG, nullable=False, doc="Distinct items"),
        Field("categories", LONG, nullable=False, doc="Distinct categories"),
        Field("spend", MONEY, nullable=False, doc="Sum of price times quantity of its purchases"),
        Field("weight", LONG, nullable=False, doc="Sum of event weights"),
        Field("intent", INT, nullable=False, doc="0 to 1000: floor(1000 * (1 - 0.5 ** (weight / 10)) + 0.5)"),
        Field("entry", STRING, doc="item_id of the first event by (event_ms, event_id); empty where it has none"),
        Field("exit", STRING, doc="item_id of the last event by (event_ms, event_id); empty where it has none"),
        Field("device", STRING, doc="Device of the first event; empty where it has none"),
        Field("suspected_bot", BOOLEAN, nullable=False, doc="Longer than a day"),
        Field("closed", BOOLEAN, nullable=False, doc="False while provisional in the speed layer"),
    ),
)

BATCH_SESSIONS = SESSIONS.with_fields(
    "batch_sessions",
    Field("session_date", DATE, nullable=False, doc="UTC day of session_start"),
    partition_by=("session_date",),
    doc="Sessions before a cut, exactly.",
)
