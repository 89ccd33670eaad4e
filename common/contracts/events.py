"""Events: what a visitor did, as it stands after admission; and bronze events, with their lineage."""

from common.contracts.core import (
    BOOLEAN,
    BYTES,
    DATE,
    DOUBLE,
    EPOCH_MS,
    INT,
    LONG,
    STRING,
    Contract,
    Field,
    decimal,
    map_of,
)

PRICE = decimal(18, 4)
"""Unit prices: four decimals hold every price seen (some shops price by the thousandth)."""

MONEY = decimal(38, 4)
"""Sums of price times quantity."""

EVENT_WEIGHTS: dict[str, int] = {
    "view": 1,
    "cart": 3,
    "uncart": 0,
    "purchase": 5,
    "refund": 0,
    "search": 0,
    "rate": 2,
    "share": 2,
    "impression": 0,
    "consent": 0,
    "identify": 0,
}
"""How much an event says about taste. The keys are the closed set of event types."""

EVENT_TYPES = frozenset(EVENT_WEIGHTS)

UNKNOWN_CATEGORY = "unknown"

EVENTS = Contract(
    name="events",
    version=1,
    key=("event_id",),
    event_time="event_ms",
    doc="One thing a visitor did. JSON on the wire; unknown fields of the wire are kept in properties.",
    fields=(
        Field("event_id", STRING, nullable=False, doc="Unique id given by the producer; duplicates share it"),
        Field("event_type", STRING, nullable=False, doc="One of the declared event types"),
        Field("visitor_id", STRING, nullable=False, doc="Pseudonym of the known id, else of the anonymous one"),
        Field("user_id", STRING, doc="Pseudonym of the known id"),
        Field("anonymous_id", STRING, doc="Pseudonym of the device's or cookie's id"),
        Field("item_id", STRING, doc="The item acted on"),
        Field("category", STRING, nullable=False, doc="Dotted path; the item's from the catalogue, else unknown"),
        Field("price", PRICE, doc="Unit price in the event's currency"),
        Field("currency", STRING, doc="ISO 4217"),
        Field("quantity", INT, doc="Units, 1 to 1,000,000"),
        Field("order_id", STRING, doc="The order a purchase or a refund belongs to"),
        Field("line", INT, doc="1 for an order's first line"),
        Field("query", STRING, doc="Search text"),
        Field("value", DOUBLE, doc="Dwell seconds, rating or scroll depth, by event type"),
        Field("recommendation_id", STRING, doc="The answer that showed the item"),
        Field("event_ms", EPOCH_MS, nullable=False, doc="When it happened"),
        Field("ingest_ms", EPOCH_MS, nullable=False, doc="The record's Kafka timestamp; an import's event_ms"),
        Field("device", STRING),
        Field("country", STRING, doc="ISO 3166-1 alpha-2"),
        Field("referrer", STRING),
        Field("source", STRING, doc="The collector or importer it came through"),
        Field("properties", map_of(STRING), doc="Everything else the producer sent"),
    ),
)

LINEAGE = (
    Field("topic", STRING, nullable=False, doc="Kafka topic, or import:<data set>"),
    Field("partition", INT, nullable=False, doc="Kafka partition, 0 for an import"),
    Field("offset", LONG, nullable=False, doc="Kafka offset, or the row's number in the imported file"),
    Field(
        "late",
        BOOLEAN,
        nullable=False,
        doc="event_ms < ingest_ms - allowed lateness: a fact of the record, the same in every run",
    ),
    Field("event_date", DATE, nullable=False, doc="UTC day of event_ms"),
)

BRONZE_EVENTS = EVENTS.with_fields(
    "bronze_events",
    *LINEAGE,
    key=("topic", "partition", "offset"),
    partition_by=("event_date",),
    doc="Events as admitted, duplicates included; one row a record.",
)

SILVER_EVENTS = EVENTS.with_fields(
    "silver_events",
    *LINEAGE,
    partition_by=("event_date",),
    doc="Cleansed events, each event_id once: the first by (ingest_ms, topic, partition, offset).",
)

QUARANTINED_EVENTS = BRONZE_EVENTS.with_fields(
    "quarantined_events",
    Field("rule", STRING, nullable=False, doc="The cleansing rule the row broke first"),
    doc="Admitted events that broke a cleansing rule; they can be replayed after a fix.",
)

QUARANTINE_REVIEWS = Contract(
    name="quarantine_reviews",
    version=1,
    key=("topic", "partition", "offset", "run_id"),
    doc="What was decided about quarantined events; of several decisions on one the last holds, and none is deleted.",
    fields=(
        Field("topic", STRING, nullable=False),
        Field("partition", INT, nullable=False),
        Field("offset", LONG, nullable=False),
        Field("rule", STRING, nullable=False, doc="The cleansing rule it was filed under"),
        Field("state", STRING, nullable=False, doc="discarded, open (once more) or replayed"),
        Field("reviewed_by", STRING, doc="Who decided; null where a replay names nobody"),
        Field("why", STRING),
        Field("reviewed_ms", EPOCH_MS, nullable=False, doc="Wall clock of the decision"),
        Field("run_id", STRING, nullable=False, doc="The run that wrote it down"),
    ),
)

REJECTIONS = Contract(
    name="rejections",
    version=1,
    key=("topic", "partition", "offset"),
    doc="Records that admission refused, with their bytes. Holds raw ids: short retention.",
    fields=(
        Field("reason", STRING, nullable=False, doc="A reason code of common.admission"),
        Field("field", STRING, doc="The field at fault"),
        Field("detail", STRING, doc="The value's shape and the remedy; never the value"),
        Field("raw", BYTES, nullable=False, doc="The record's bytes; of an oversize one the first kilobyte"),
        Field("size", LONG, nullable=False, doc="Bytes of the whole record"),
        Field("sha256", STRING, nullable=False, doc="Of the whole record, in hex"),
        Field("topic", STRING, nullable=False),
        Field("partition", INT, nullable=False),
        Field("offset", LONG, nullable=False),
        Field("kafka_ms", EPOCH_MS, nullable=False, doc="The record's Kafka timestamp"),
    ),
)
