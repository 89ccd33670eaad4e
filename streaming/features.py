"""Tiles: every declared aggregate as a running value beside the event that changed it.

An OVER aggregate by key and span gives each event the tile as it stands with it, so the stream stays append-only,
a late event lands in its tile, and the writer at the end of the chain stores the whole tile. The last row of a tile
is the fold of its events, whatever order they came in: every aggregate is a commutative monoid.
"""

from collections.abc import Iterable

from pyflink.table import StreamTableEnvironment, Table

from common.features.groups import FeatureGroup
from streaming.flink.ddl import quote
from streaming.flink.steps import names, running, select_list

VISITOR = "visitor_id"


def visitor_groups(groups: Iterable[FeatureGroup]) -> list[FeatureGroup]:
    """The groups that share the visitor's chain and the visitor's batch of writes."""
    return [group for group in groups if group.key == VISITOR and group.partition is None]


def other_groups(groups: Iterable[FeatureGroup]) -> list[FeatureGroup]:
    """The groups with a key or partition of their own: each is its own chain with its own writer."""
    return [group for group in groups if not (group.key == VISITOR and group.partition is None)]


def event_columns(groups: Iterable[FeatureGroup]) -> list[str]:
    """The event fields that the groups read."""
    found: set[str] = {"event_ms"}
    for group in groups:
        found |= {group.key, *([group.by] if group.by else [])} | group.where.columns()
        for aggregate in group.aggregates.values():
            found |= aggregate.of.columns() | aggregate.where.columns()
    return sorted(found)


def column(group: FeatureGroup, name: str) -> str:
    """The column of the event's row that carries ``takes`` (whether the group folds this event in), ``tile_start``,
    ``n`` or an aggregate of the group."""
    return f"{group.name}_{name}"


def tile_columns(group: FeatureGroup) -> list[str]:
    """All columns that :func:`add_tiles` adds."""
    return [column(group, name) for name in ("takes", "tile_start", *group.columns)]


def add_tiles(t_env: StreamTableEnvironment, events: Table, group: FeatureGroup) -> Table:
    """The events with the group's tile as of each of them, in the columns of :func:`tile_columns`.

    Events that the group does not take keep their rows: ``takes`` is part of the partition, so they do not count.
    """
    present = select_list(names(events))
    takes, start = quote(column(group, "takes")), quote(column(group, "tile_start"))
    keyed = [quote(key) for key in (group.key, *([group.by] if group.by else []))]
    end = f"({start} + CAST({group.tile_ms} AS BIGINT))"
    aggregates = ", ".join(
        [
            f"COUNT(*) OVER w AS {quote(column(group, 'n'))}",
            *(f"{a.flink(end, over='w')} AS {quote(column(group, name))}" for name, a in group.aggregates.items()),
        ]
    )
    return t_env.sql_query(
        f"SELECT {present}, {takes}, {start}, {aggregates} FROM ("
        f"SELECT {present}, ({_condition(group)}) AS {takes}, "
        f"`event_ms` / CAST({group.tile_ms} AS BIGINT) * CAST({group.tile_ms} AS BIGINT) AS {start} FROM {events}) "
        f"WINDOW {running('w', ', '.join([*keyed, start, takes]))}"
    )


def tiles(t_env: StreamTableEnvironment, events: Table, group: FeatureGroup) -> Table:
    """The group's tiles alone, one row for each event that changed one; columns as in the group's contract."""
    taken = t_env.sql_query(f"SELECT * FROM {events} WHERE {_condition(group)}")
    wide = add_tiles(t_env, taken, group)
    dim = f", {quote(group.by)} AS `dim`" if group.by else ""
    values = ", ".join(f"{quote(column(group, name))} AS {quote(name)}" for name in group.columns)
    return t_env.sql_query(
        f"SELECT {quote(group.key)}, {quote(column(group, 'tile_start'))} AS `tile_start`{dim}, {values} FROM {wide}"
    )


def _condition(group: FeatureGroup) -> str:
    keys = (group.key, *([group.by] if group.by else []))
    return " AND ".join([f"COALESCE({group.where.flink()}, FALSE)", *(f"{quote(key)} IS NOT NULL" for key in keys)])
