"""The speed layer's view of a visitor's taste: history and folded-in vector."""

from common.contracts.core import BYTES, LONG, STRING, Contract, Field

USER_EMBEDDING = Contract(
    name="user_embedding",
    version=1,
    key=("visitor_id", "model_version"),
    doc="A visitor's last item events and the vector folded in from them.",
    fields=(
        Field("visitor_id", STRING, nullable=False),
        Field("model_version", STRING, nullable=False, doc="Empty while no model is live"),
        Field(
            "vector",
            BYTES,
            doc="The fold-in, float32 little-endian; null while no model is live, and where it is explicit",
        ),
        Field("history", BYTES, nullable=False, doc="At most 50 entries (common.embedding.pack_history)"),
        Field("unknown_items", LONG, nullable=False, doc="History entries whose item the model does not know"),
        Field("updates", LONG, nullable=False, doc="Item events of the visitor in this generation"),
    ),
)
