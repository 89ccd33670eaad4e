"""The declared views, and how their tables are created."""

from collections.abc import Iterable

from cassandra import AlreadyExists
from cassandra.cluster import Session

from common.contracts.catalogue import ITEM_VIEW
from common.contracts.core import EPOCH_MS, LONG, STRING, Contract, Field
from common.contracts.embedding import USER_EMBEDDING
from common.contracts.operations import POINTER
from common.contracts.profiles import PROFILE, SEGMENT_VIEW
from common.contracts.sessions import SESSIONS
from common.features.groups import GROUPS, FeatureGroup
from views.schema import Table, View, create_table, identifier, table_of

SPEED_TTL_S = 7 * 86_400
"""Lifetime of a speed row from its anchor: covers two days of horizon and five nights without a batch run.

It must stay below the state's lifetime in the stream, so that a count never restarts under a living row.
"""

DDL_TIMEOUT_S = 30.0


def tile_view(group: FeatureGroup) -> View:
    """The speed view of a feature group's tiles: by key, or by span where the group is partitioned by tile."""
    by = (group.by and ("dim",)) or ()
    if group.partition == "tile":
        partition, clustering = ("tile_start",), (group.key, *by)
    else:
        partition, clustering = (group.key,), ("tile_start", *by)
    return View(group.table, "speed", group.contract(), partition, clustering, ttl_s=SPEED_TTL_S)


SESSIONS_VIEW = View(
    "sessions",
    "speed",
    SESSIONS,
    partition_key=("visitor_id",),
    clustering=("session_start",),
    descending=("session_start",),
    ttl_s=SPEED_TTL_S,
)
EMBEDDING_VIEW = View(
    "user_embedding",
    "speed",
    USER_EMBEDDING,
    partition_key=("visitor_id",),
    clustering=("model_version",),
    ttl_s=SPEED_TTL_S,
)
TILE_VIEWS: dict[str, View] = {name: tile_view(group) for name, group in GROUPS.items()}

SPEED: dict[str, View] = {
    view.name: view for view in (SESSIONS_VIEW, EMBEDDING_VIEW, *(TILE_VIEWS[name] for name in sorted(TILE_VIEWS)))
}
"""Speed views by name; a generation has a table of each."""

PROFILE_VIEW = View("profile", "batch", PROFILE, partition_key=("visitor_id",))
ITEMS_VIEW = View("items", "batch", ITEM_VIEW, partition_key=("item_id",))
SEGMENTS_VIEW = View("segments", "batch", SEGMENT_VIEW, partition_key=("segment_id",))
POPULARITY_VIEW = View(
    # Batch tiles of the group popularity: hour tiles since cut - 48 h, and one at EVER for all before.
    "popularity",
    "batch",
    GROUPS["popularity"].contract(),
    partition_key=("tile_start",),
    clustering=("item_id",),
)

COVISITS_VIEW = View(
    # Batch tiles of the group covisits, as those of popularity; of all before, what most often came next.
    "covisits",
    "batch",
    GROUPS["covisits"].contract(),
    partition_key=("previous_item_id",),
    clustering=("tile_start", "dim"),
)

BATCH: dict[str, View] = {
    view.name: view for view in (PROFILE_VIEW, ITEMS_VIEW, POPULARITY_VIEW, COVISITS_VIEW, SEGMENTS_VIEW)
}
"""Batch views by name; a version has a table of each."""

VERSIONS = Contract(
    name="view_versions",
    version=1,
    key=("layer", "version"),
    doc="Every batch version and speed generation there ever was, so that no name is used twice.",
    fields=(
        Field("layer", STRING, nullable=False, doc="batch or speed"),
        Field("version", STRING, nullable=False),
        Field("state", STRING, nullable=False, doc="loading, checked, live, retired, failed or dropped"),
        Field("created_ms", EPOCH_MS, nullable=False, doc="Wall clock of its claim; a generation's embedding anchor"),
        Field("cut_ms", EPOCH_MS, doc="Of a batch version"),
        Field("reads_from_ms", EPOCH_MS, doc="Of a generation: the oldest record it read; null: the topic's start"),
        Field("row_count", LONG, doc="Rows of a checked batch version"),
        Field("info", STRING, doc="JSON"),
    ),
)

POINTER_VIEW = View("view_pointer", "meta", POINTER, partition_key=("name",))
VERSIONS_VIEW = View("view_versions", "meta", VERSIONS, partition_key=("layer",), clustering=("version",))

META: dict[str, View] = {view.name: view for view in (POINTER_VIEW, VERSIONS_VIEW)}
"""Views that say which of the others are live; one table each, never versioned."""

ALL: dict[str, View] = {**SPEED, **BATCH, **META}


def tables_of(views: Iterable[View], suffix: str) -> dict[str, Table]:
    """The tables of a version or generation, by view name."""
    return {view.name: table_of(view, suffix) for view in views}


def create_tables(session: Session, tables: Iterable[Table]) -> None:
    """Create the tables that are not there and wait until every node agrees on them."""
    for table in tables:
        try:
            session.execute(create_table(table.view, table.name), timeout=DDL_TIMEOUT_S)
        except AlreadyExists:  # two creators at once: the other one made it
            continue


def drop_tables(session: Session, suffix: str) -> list[str]:
    """Drop every table of a version or generation, whatever code declared it; their names."""
    rows = session.execute(
        "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s",
        (session.keyspace,),
        timeout=DDL_TIMEOUT_S,
    )
    names = sorted(row.table_name for row in rows if row.table_name.endswith(f"_{suffix}"))
    for name in names:
        session.execute(f"DROP TABLE IF EXISTS {identifier(name)}", timeout=DDL_TIMEOUT_S)
    return names


def create_base(session: Session) -> None:
    """Create the pointer and the register of versions."""
    create_tables(session, (table_of(view) for view in META.values()))
