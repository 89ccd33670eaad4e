"""What is declared: the feature groups that both layers compute."""

from dataclasses import dataclass

from common.contracts.core import EPOCH_MS, LONG, STRING, Contract, Field
from common.features.algebra import ALWAYS, Aggregate, count, decayed, latest, total
from common.features.expressions import PREVIOUS_ITEM, Expr, event
from common.features.windows import HOUR_MS, duration_ms

RESERVED = frozenset({"tile_start", "dim", "n", "span", "slice", "late"})


@dataclass(frozen=True, eq=False)
class FeatureGroup:
    """The declared aggregates of one key.

    ``key`` is the event field that keys the group, ``by`` an optional second one (a tile then has one row a value),
    ``tile_ms`` the span of its tiles, ``partition`` is ``"tile"`` where a store should partition by tile and not by
    key (to read all keys of a span at once), and only events that meet ``where`` and have a key are folded in.
    """

    name: str
    version: int
    key: str
    tile_ms: int
    by: str | None
    partition: str | None
    where: Expr
    aggregates: dict[str, Aggregate]

    def __post_init__(self) -> None:
        if HOUR_MS % self.tile_ms:
            # a cut lies on an hour's border, and no tile may lie on both sides of one
            raise ValueError(f"feature group {self.name}: an hour is not a whole number of its tiles")
        if self.partition not in (None, "tile"):
            raise ValueError(f"feature group {self.name}: partition is 'tile' or nothing, not {self.partition!r}")
        taken = RESERVED | {self.key} | ({self.by} if self.by else set())
        for name in self.aggregates:
            if name in taken:
                raise ValueError(f"feature group {self.name}: an aggregate cannot be called {name}")

    # Expressions build conditions when compared, so a group is known by its name and version.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureGroup) and (self.name, self.version) == (other.name, other.version)

    def __hash__(self) -> int:
        return hash((self.name, self.version))

    @property
    def inputs(self) -> frozenset[str]:
        """The fields of an event that it reads."""
        found = {"event_ms", self.key, *([self.by] if self.by else [])} | self.where.columns()
        for aggregate in self.aggregates.values():
            found |= aggregate.of.columns() | aggregate.where.columns()
        return frozenset(found)

    @property
    def sequential(self) -> bool:
        """Whether it reads what an event gets from the events around it (common.features.previous)."""
        return PREVIOUS_ITEM in self.inputs

    @property
    def columns(self) -> tuple[str, ...]:
        """A tile's value columns: ``n``, the events folded in, then the aggregates."""
        return ("n", *self.aggregates)

    @property
    def table(self) -> str:
        """The name of its tile tables, in the lake and in the store."""
        return f"tiles_{self.name}" if self.version == 1 else f"tiles_{self.name}_v{self.version}"

    def contract(self) -> Contract:
        """The contract of its speed tiles: key, tile_start, dim (where it has one), n, the aggregates."""
        dim = (Field("dim", STRING, nullable=False, doc=f"The event's {self.by}"),) if self.by else ()
        return Contract(
            name=self.table,
            version=self.version,
            key=(self.key, "tile_start", *(("dim",) if self.by else ())),
            event_time="tile_start",
            doc=f"Tiles of the feature group {self.name}: one row a key and span of {self.tile_ms} ms.",
            fields=(
                Field(self.key, STRING, nullable=False),
                Field("tile_start", EPOCH_MS, nullable=False),
                *dim,
                Field("n", LONG, nullable=False, doc="Events folded in"),
                *(Field(name, a.kind, nullable=a.nullable) for name, a in self.aggregates.items()),
            ),
        )

    def batch_contract(self) -> Contract:
        """The contract of its batch tiles: as the speed tiles, and the span: ever, day or hour (its own tile)."""
        speed = self.contract()
        return Contract(
            name=f"batch_{speed.name}",
            version=speed.version,
            key=("span", *speed.key),
            event_time="tile_start",
            partition_by=("slice",),
            doc=f"Batch tiles of the feature group {self.name} at a cut: ever, days up to 48 h before it, then hours. "
            "The tile ever starts at the last day folded in, and is relative to that day's end.",
            fields=(
                Field("slice", STRING, nullable=False, doc="ever, hour, or a day tile's UTC day: what a run replaces"),
                Field("span", STRING, nullable=False, doc="ever, day or hour"),
                *speed.fields,
            ),
        )


def feature_group(
    name: str,
    *,
    key: str,
    tile: str,
    by: str | None = None,
    partition: str | None = None,
    where: Expr = ALWAYS,
    version: int = 1,
    **aggregates: Aggregate,
) -> FeatureGroup:
    """Declare a feature group; ``tile`` is a span such as ``"1 hour"``. Raises ValueError on a bad declaration."""
    return FeatureGroup(name, version, key, duration_ms(tile), by, partition, where, dict(aggregates))


activity = feature_group(
    "activity",
    key="visitor_id",
    tile="1 hour",
    views=count(where=event.type == "view"),
    carts=count(where=event.type == "cart"),
    searches=count(where=event.type == "search"),
    orders=count(where=(event.type == "purchase") & (event.line == 1)),
    units=total(event.quantity, where=event.type == "purchase"),
    spend=total(event.price * event.quantity, where=event.type == "purchase"),
    refunds=total(event.price * event.quantity, where=event.type == "refund"),
    last_event=latest(),
    last_purchase=latest(where=event.type == "purchase"),
)

pulse = feature_group(
    "pulse",
    key="visitor_id",
    tile="1 minute",
    views=count(where=event.type == "view"),
    carts=count(where=event.type == "cart"),
    searches=count(where=event.type == "search"),
    orders=count(where=(event.type == "purchase") & (event.line == 1)),
    units=total(event.quantity, where=event.type == "purchase"),
    spend=total(event.price * event.quantity, where=event.type == "purchase"),
)
"""What a visitor does right now: windows of minutes."""

interest = feature_group(
    "interest",
    key="visitor_id",
    by="category",
    tile="1 hour",
    where=event.weight > 0,
    mass=decayed(event.weight, half_life="7 days"),
)

popularity = feature_group(
    "popularity",
    key="item_id",
    tile="1 hour",
    partition="tile",
    where=event.weight > 0,
    mass=decayed(event.weight, half_life="6 hours"),
    purchases=count(where=event.type == "purchase"),
)

item_activity = feature_group(
    "item_activity",
    key="item_id",
    tile="1 hour",
    where=event.weight > 0,
    views=count(where=event.type == "view"),
    carts=count(where=event.type == "cart"),
    purchases=count(where=event.type == "purchase"),
    units=total(event.quantity, where=event.type == "purchase"),
    spend=total(event.price * event.quantity, where=event.type == "purchase"),
    last_event=latest(),
)
"""What happens to one item. Key, tile and condition are those of popularity, so that the stream folds both at once."""

covisits = feature_group(
    "covisits",
    key=PREVIOUS_ITEM,
    by="item_id",
    tile="1 hour",
    where=(event.weight > 0) & (event.previous_item_id != event.item_id),
    mass=decayed(event.weight, half_life="30 days"),
)
"""What is looked at after an item, within a session."""

GROUPS: dict[str, FeatureGroup] = {
    group.name: group for group in (activity, pulse, interest, popularity, item_activity, covisits)
}
