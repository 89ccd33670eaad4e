"""The batch layer's view of one visitor: everything serving needs in one read."""

from common.contracts.core import BYTES, DATE, DOUBLE, EPOCH_MS, INT, LONG, STRING, Contract, Field, map_of
from common.contracts.events import MONEY

RFM = Contract(
    name="rfm",
    version=1,
    key=("visitor_id",),
    doc="Recency, frequency, monetary at the cut, of visitors with at least one purchase.",
    fields=(
        Field("visitor_id", STRING, nullable=False),
        Field("cut_ms", EPOCH_MS, nullable=False),
        Field("recency_days", INT, nullable=False, doc="Whole days that passed between the last purchase and the cut"),
        Field("frequency", LONG, nullable=False, doc="Distinct orders"),
        Field("monetary", MONEY, nullable=False, doc="Sum of price times quantity of purchases"),
        Field("refunded", MONEY, nullable=False, doc="Sum of price times quantity of refunds"),
        Field("net", MONEY, nullable=False, doc="monetary less refunded"),
        Field("last_purchase", EPOCH_MS, nullable=False),
        Field("r_score", INT, nullable=False, doc="1 to 5, 5 the most recent fifth"),
        Field("f_score", INT, nullable=False, doc="1 to 5, 5 the most frequent fifth"),
        Field("m_score", INT, nullable=False, doc="1 to 5, 5 the fifth that spends most"),
    ),
)

ORDERS = Contract(
    name="orders",
    version=1,
    key=("visitor_id", "order_id", "order_date"),
    partition_by=("order_month",),
    doc="What a visitor bought and gave back under one order on one UTC day.",
    fields=(
        Field("visitor_id", STRING, nullable=False),
        Field("order_id", STRING, nullable=False),
        Field("order_date", DATE, nullable=False, doc="UTC day of the events"),
        Field("order_month", STRING, nullable=False, doc="Its month, as 2026-11"),
        Field("lines", LONG, nullable=False, doc="Purchase events"),
        Field("units", LONG, nullable=False, doc="Units bought"),
        Field("gross", MONEY, nullable=False, doc="Sum of price times quantity of purchases"),
        Field("refunded", MONEY, nullable=False, doc="Sum of price times quantity of refunds"),
        Field("last_purchase", EPOCH_MS, doc="Empty where the day has refunds alone"),
    ),
)

VISITOR_FEATURES = Contract(
    name="visitor_features",
    version=2,
    key=("visitor_id",),
    doc="What a visitor did in the thirty days before the cut, of visitors with an event in them.",
    fields=(
        Field("visitor_id", STRING, nullable=False),
        Field("cut_ms", EPOCH_MS, nullable=False),
        Field("active_days", LONG, nullable=False, doc="UTC days with an event"),
        Field("views", LONG, nullable=False),
        Field("carts", LONG, nullable=False),
        Field("searches", LONG, nullable=False),
        Field("orders", LONG, nullable=False, doc="Distinct orders with a purchase"),
        Field("spend", MONEY, nullable=False, doc="Sum of price times quantity of purchases"),
        Field("refunded", MONEY, nullable=False, doc="Sum of price times quantity of refunds"),
        Field("net", MONEY, nullable=False, doc="spend less refunded"),
        Field("basket_value", MONEY, doc="spend by order; empty without one"),
        Field("basket_units", DOUBLE, doc="Units by order; empty without one"),
        Field("sessions", LONG, nullable=False, doc="Sessions with an event in the window"),
        Field("session_ms", LONG, nullable=False, doc="Time from each event to the next of its session"),
        Field("category_ms", map_of(LONG), nullable=False, doc="The same by the category of the earlier event"),
        Field(
            "category_session_ms",
            map_of(DOUBLE),
            nullable=False,
            doc="Its mean by session: category_ms / sessions of the window with an event of the category",
        ),
        Field("weight", LONG, nullable=False, doc="Sum of event weights"),
        Field("engagement", INT, nullable=False, doc="0 to 1000: floor(1000 * (1 - 0.5 ** (weight / 50)) + 0.5)"),
    ),
)

SEGMENTS = Contract(
    name="segments",
    version=1,
    key=("visitor_id",),
    doc="The segment of each visitor: nearest KMeans centroid on standardised log1p(R, F, M).",
    fields=(
        Field("visitor_id", STRING, nullable=False),
        Field("cut_ms", EPOCH_MS, nullable=False),
        Field("segment_id", INT, nullable=False),
        Field("segment", STRING, nullable=False, doc="The segment's name"),
        Field("distance", DOUBLE, nullable=False, doc="To the centroid, in standard deviations"),
    ),
)

SEGMENT_HISTORY = Contract(
    name="segment_history",
    version=1,
    key=("cut_ms", "segment_id"),
    doc="The segments of every cut: what the next cut's segments are matched to.",
    fields=(
        Field("cut_ms", EPOCH_MS, nullable=False),
        Field("segment_id", INT, nullable=False, doc="Stays with a segment from cut to cut"),
        Field("segment", STRING, nullable=False),
        Field("size", LONG, nullable=False, doc="Visitors"),
        Field("recency_days", DOUBLE, nullable=False, doc="At the centroid"),
        Field("frequency", DOUBLE, nullable=False, doc="At the centroid"),
        Field("monetary", DOUBLE, nullable=False, doc="At the centroid"),
        Field("before", STRING, doc="Its name at the cut before; empty for a new segment"),
    ),
)

SEGMENT_MOVES = Contract(
    name="segment_moves",
    version=1,
    key=("visitor_id", "cut_ms"),
    partition_by=("cut_ms",),
    doc="Who entered, changed or left a segment at a cut; the newest row of a visitor says where it is.",
    fields=(
        Field("visitor_id", STRING, nullable=False),
        Field("cut_ms", EPOCH_MS, nullable=False),
        Field("from_id", INT, doc="Empty for who was in none"),
        Field("from_segment", STRING),
        Field("to_id", INT, doc="Empty for who is in none any more"),
        Field("to_segment", STRING),
    ),
)

SEGMENT_LIFT = Contract(
    name="segment_lift",
    version=1,
    key=("cut_ms", "segment_id"),
    partition_by=("cut_ms",),
    doc="What the members of each segment of the cut before have done since: whether a segment tells anything.",
    fields=(
        Field("cut_ms", EPOCH_MS, nullable=False),
        Field("since_ms", EPOCH_MS, nullable=False, doc="The cut before"),
        Field("segment_id", INT, nullable=False),
        Field("segment", STRING, nullable=False),
        Field("members", LONG, nullable=False, doc="At the cut before"),
        Field("active", LONG, nullable=False, doc="Members with an event since"),
        Field("buyers", LONG, nullable=False, doc="Members with a purchase since"),
        Field("spend", MONEY, nullable=False),
        Field("activity_lift", DOUBLE, doc="Share of active members by that of all segments; empty where nobody was"),
        Field("order_lift", DOUBLE, doc="The same of buyers"),
    ),
)

MEMBERSHIPS = Contract(
    name="memberships",
    version=1,
    key=("visitor_id", "rule_segment"),
    doc="The members of each rule segment (common/segments.py) at the cut.",
    fields=(
        Field("visitor_id", STRING, nullable=False),
        Field("cut_ms", EPOCH_MS, nullable=False),
        Field("rule_segment", STRING, nullable=False, doc="The rule's name"),
    ),
)

PERSONAS = Contract(
    name="personas",
    version=1,
    key=("segment_id",),
    doc="The persona of each segment.",
    fields=(
        Field("segment_id", INT, nullable=False),
        Field("cut_ms", EPOCH_MS, nullable=False),
        Field("segment", STRING, nullable=False),
        Field("size", LONG, nullable=False, doc="Visitors"),
        Field("card", STRING, nullable=False, doc="JSON: common.personas.Persona"),
    ),
)

SEGMENT_VIEW = Contract(
    name="segment_view",
    version=1,
    key=("segment_id",),
    doc="One segment: its centroid, size and its own top list, the fallback for visitors without history.",
    fields=(
        Field("segment_id", INT, nullable=False),
        Field("segment", STRING, nullable=False),
        Field("size", LONG, nullable=False, doc="Visitors"),
        Field(
            "centroid", STRING, nullable=False, doc="JSON: recency_days, frequency, monetary of the centre; deviation"
        ),
        Field("recommendations", BYTES, doc="Packed list (common.embedding.pack_recommendations)"),
        Field("model_version", STRING),
    ),
)

PROFILE = Contract(
    name="profile",
    version=1,
    key=("visitor_id",),
    doc="The batch view of a visitor.",
    fields=(
        Field("visitor_id", STRING, nullable=False),
        Field("cut_ms", EPOCH_MS, nullable=False, doc="The instant the run covers up to, exclusive"),
        Field(
            "features", BYTES, nullable=False, doc="Batch tiles of the visitor's groups (common.features.tiles.pack)"
        ),
        Field("recency_days", INT),
        Field("frequency", LONG),
        Field("monetary", MONEY),
        Field("rfm", STRING, doc="The three scores as text, as in 545"),
        Field("segment_id", INT),
        Field("segment", STRING),
        Field("age_band", STRING, doc="Of the customer's age at the cut, in whole years (common.age)"),
        Field("sessions", LONG, nullable=False, doc="Sessions before the cut"),
        Field("last_items", BYTES, doc="Last 50 item events (common.embedding.pack_history)"),
        Field("purchased", BYTES, doc="Item indexes already bought, packed like recommendations"),
        Field("recommendations", BYTES, doc="Top 100 (common.embedding.pack_recommendations)"),
        Field("model_version", STRING, doc="The model of recommendations and of the fold-in"),
    ),
)

RECOMMENDATIONS = Contract(
    name="recommendations",
    version=1,
    key=("visitor_id",),
    doc="Top items of each visitor by the batch model.",
    fields=(
        Field("visitor_id", STRING, nullable=False),
        Field("cut_ms", EPOCH_MS, nullable=False),
        Field("model_version", STRING, nullable=False),
        Field("recommendations", BYTES, nullable=False, doc="Packed list (common.embedding.pack_recommendations)"),
    ),
)
