"""What the stream tells others to act upon."""

from common.contracts.core import EPOCH_MS, STRING, Contract, Field

TRIGGERS = Contract(
    name="triggers",
    version=1,
    key=("trigger_id",),
    event_time="event_ms",
    doc="A timed absence that fired: what was started and not followed by what was awaited. Rules: common/triggers.py.",
    fields=(
        Field("trigger_id", STRING, nullable=False, doc="rule:event_id; a rule fires at most once for an event"),
        Field("rule", STRING, nullable=False, doc="The rule's name"),
        Field("visitor_id", STRING, nullable=False),
        Field("item_id", STRING, doc="Item of the event that started it; empty where it has none"),
        Field("category", STRING, doc="Category of that event"),
        Field("event_id", STRING, nullable=False, doc="The event that started it"),
        Field("event_ms", EPOCH_MS, nullable=False, doc="When that event happened"),
        Field("until_ms", EPOCH_MS, nullable=False, doc="The end of the span in which nothing awaited happened"),
        Field("decided_ms", EPOCH_MS, nullable=False, doc="The Kafka timestamp up to which was waited for it"),
    ),
)
