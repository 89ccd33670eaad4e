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


def chains(groups: Iterable[FeatureGroup]) -> dict[str, list[FeatureGroup]]:
    """The groups by their key: those of one key share a chain and a writer."""
    found: dict[str, list[FeatureGroup]] = {}
    for group in groups:
        found.setdefault(group.key, []).append(group)
    return found


def event_columns(groups: Iterable[FeatureGroup]) -> list[str]:
    """The event fields that the groups read."""
    return sorted(set().union(*(group.inputs for group in groups)))


def column(group: FeatureGroup, name: str) -> str:
    """The column of the event's row that carries ``takes`` (whether the group folds this event in), ``tile_start``,
    ``n`` or an aggregate of the group."""
    return f"{group.name}_{name}"


def tile_columns(group: FeatureGroup) -> list[str]:
    """All columns that :func:`add_tiles` adds."""
    return [column(group, name) for name in ("takes", "tile_start", *group.columns)]


def add_tiles(t_env: StreamTableEnvironment, events: Table, groups: Iterable[FeatureGroup]) -> Table:
    """The events with each group's tile as of each of them, in the columns of :func:`tile_columns`.

    Groups with the same keys, tile and condition share one OVER. Events that a group does not take keep their rows:
    ``takes`` is part of the partition, so they do not count.
    """
    alike: dict[tuple[object, ...], list[FeatureGroup]] = {}
    for group in groups:
        alike.setdefault((group.key, group.by, group.tile_ms, _condition(group)), []).append(group)
    for found in alike.values():
        events = _add_alike(t_env, events, found)
    return events


def _add_alike(t_env: StreamTableEnvironment, events: Table, groups: list[FeatureGroup]) -> Table:
    present, one = select_list(names(events)), groups[0]
    keyed = [quote(key) for key in (one.key, *([one.by] if one.by else []))]
    end = f"(`tile_at` + CAST({one.tile_ms} AS BIGINT))"
    added = []
    for group in groups:
        added += [
            f"`tile_takes` AS {quote(column(group, 'takes'))}",
            f"`tile_at` AS {quote(column(group, 'tile_start'))}",
            f"COUNT(*) OVER w AS {quote(column(group, 'n'))}",
            *(f"{a.flink(end, over='w')} AS {quote(column(group, name))}" for name, a in group.aggregates.items()),
        ]
    return t_env.sql_query(
        f"SELECT {present}, {', '.join(added)} FROM (SELECT {present}, ({_condition(one)}) AS `tile_takes`, "
        f"`event_ms` / CAST({one.tile_ms} AS BIGINT) * CAST({one.tile_ms} AS BIGINT) AS `tile_at` FROM {events}) "
        f"WINDOW {running('w', ', '.join([*keyed, '`tile_at`', '`tile_takes`']))}"
    )


def tiles(t_env: StreamTableEnvironment, events: Table, groups: list[FeatureGroup]) -> Table:
    """The events that any of the groups, which share a key, takes, with the groups' tiles as of each of them."""
    taken = " OR ".join(f"({condition})" for condition in dict.fromkeys(map(_condition, groups)))
    needed = select_list([*event_columns(groups), "arrival"])
    return add_tiles(t_env, t_env.sql_query(f"SELECT {needed} FROM {events} WHERE {taken}"), groups)


def _condition(group: FeatureGroup) -> str:
    keys = (group.key, *([group.by] if group.by else []))
    return " AND ".join([f"COALESCE({group.where.flink()}, FALSE)", *(f"{quote(key)} IS NOT NULL" for key in keys)])
