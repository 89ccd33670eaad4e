"""Items: the catalogue; and the item view that serving reads."""

from common.contracts.core import BYTES, EPOCH_MS, STRING, Contract, Field
from common.contracts.events import PRICE

ITEMS = Contract(
    name="items",
    version=1,
    key=("item_id",),
    doc="The catalogue, aligned with schema.org Product: sku, name, category, offers.price.",
    fields=(
        Field("item_id", STRING, nullable=False),
        Field("title", STRING, nullable=False, doc="The item's name; its id where the source has none"),
        Field("category", STRING, nullable=False, doc="Dotted path"),
        Field("price", PRICE, doc="Latest unit price"),
        Field("currency", STRING, doc="ISO 4217"),
        Field("updated_ms", EPOCH_MS, nullable=False, doc="Instant of the newest fact in the row"),
    ),
)

ITEM_VIEW = Contract(
    name="item_view",
    version=1,
    key=("item_id",),
    doc="What serving knows of one item.",
    fields=(
        Field("item_id", STRING, nullable=False),
        Field("title", STRING, nullable=False),
        Field("category", STRING, nullable=False),
        Field("price", PRICE),
        Field("similar", BYTES, doc="Packed list of similar items (common.embedding.pack_recommendations)"),
        Field("model_version", STRING, doc="The model whose item indexes the packed list uses"),
    ),
)
