"""What the views must hold, computed by the engine-free modules, and what they do hold."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from cassandra.cluster import Session

from common.embedding import history_entry, last_items, pack_history
from common.features.groups import GROUPS, FeatureGroup
from common.features.previous import with_previous
from common.features.tiles import fold
from common.sessions import sessions
from tests.streaming.traffic import on_time
from views.mutations import Mutation, RangeDelete, Upsert
from views.scan import scan
from views.schema import Table

Rows = dict[tuple[Any, ...], tuple[Any, ...]]
"""Rows by primary key, in the order of the contract's fields."""


def tile_rows(group: FeatureGroup, events: Iterable[Mapping[str, Any]]) -> Rows:
    """The tiles of the events."""
    rows: Rows = {}
    for key, tiles in fold(group, events).items():
        for tile in tiles.values():
            dim = (tile.dim,) if group.by else ()
            rows[(key, tile.start, *dim)] = (key, tile.start, *dim, tile.n, *tile.values)
    return rows


def session_rows(events: Iterable[Mapping[str, Any]]) -> Rows:
    """The closed sessions of the events."""
    return {(s.visitor_id, s.session_start): msgspec.structs.astuple(s) for s in sessions(events)}


def embedding_rows(events: Sequence[Mapping[str, Any]]) -> Rows:
    """The histories while no model is live; exact in whatever order events come."""
    entries: dict[str, list[Any]] = {}
    for row in events:
        entry = history_entry(row)
        if entry is not None:
            entries.setdefault(row["visitor_id"], []).append(entry)
    return {
        (visitor, ""): (visitor, "", None, pack_history(last_items(all_of)), 0, len(all_of))
        for visitor, all_of in entries.items()
    }


def stored(session: Session, table: Table) -> Rows:
    """Every row of a table."""
    contract = table.view.contract
    at = [contract.names.index(name) for name in contract.key]
    return {tuple(row[i] for i in at): row for row in scan(session, table, contract.names)}


def differences(have: Rows, want: Rows) -> list[str]:
    """What differs, by key: at most ten lines of each kind, and the counts."""
    missing = sorted(map(str, want.keys() - have.keys()))
    extra = sorted(map(str, have.keys() - want.keys()))
    other = [key for key in have.keys() & want.keys() if have[key] != want[key]]
    lines = [f"missing {key}" for key in missing[:10]] + [f"extra {key}" for key in extra[:10]]
    lines += [f"have {have[key]}\nwant {want[key]}" for key in other[:10]]
    if lines:
        counts = f"{len(missing)} missing, {len(extra)} extra, {len(other)} other"
        lines.append(f"{len(have)} rows, wanted {len(want)}: {counts}")
    return lines


def expected_views(once: Sequence[Mapping[str, Any]], lateness_ms: int) -> dict[str, Rows]:
    """The rows of all speed views while no model is live, by view.

    ``once`` are the distinct events within the horizon; those that are not late make the sessions.
    """
    in_time = on_time(once, lateness_ms)
    paired = with_previous(in_time)
    want = {group.table: tile_rows(group, paired if group.sequential else once) for group in GROUPS.values()}
    want["sessions"] = session_rows(in_time)
    want["user_embedding"] = embedding_rows(once)
    return want


def view_differences(
    session: Session,
    tables: Mapping[str, Table],
    once: Sequence[Mapping[str, Any]],
    lateness_ms: int,
    open_from_ms: int | None = None,
) -> dict[str, list[str]]:
    """The differences of all speed views to the oracle, by view.

    Sessions that start at ``open_from_ms`` or after are left out: no watermark has passed them yet.
    """
    found = {}
    for name, want in expected_views(once, lateness_ms).items():
        have = stored(session, tables[name])
        if name == "sessions" and open_from_ms is not None:
            have, want = ({k: v for k, v in rows.items() if k[1] < open_from_ms} for rows in (have, want))
        found[name] = differences(have, want)
    return {name: lines for name, lines in found.items() if lines}


class MemoryViews:
    """Tables in memory with Cassandra's rule: the greatest timestamp wins, a delete shadows what is not newer."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[tuple[Any, ...], tuple[int, tuple[Any, ...]]]] = {}
        self._deletes: dict[str, list[RangeDelete]] = {}

    def apply(self, mutations: Iterable[Mutation]) -> None:
        """Apply mutations in any order; each row is written whole."""
        for mutation in mutations:
            name = mutation.table.name
            if isinstance(mutation, Upsert):
                columns = mutation.table.view.columns
                key = tuple(mutation.values[columns.index(part)] for part in mutation.table.view.contract.key)
                rows = self._rows.setdefault(name, {})
                if key not in rows or rows[key][0] <= mutation.timestamp:
                    rows[key] = (mutation.timestamp, mutation.values)
            elif isinstance(mutation, RangeDelete):
                self._deletes.setdefault(name, []).append(mutation)
            else:
                raise TypeError("the stream deletes ranges only")

    def rows(self, table: Table) -> Rows:
        """What a reader of the table sees."""
        deletes: dict[tuple[Any, ...], list[RangeDelete]] = {}
        for delete in self._deletes.get(table.name, []):
            deletes.setdefault(delete.partition, []).append(delete)
        return {
            key: values
            for key, (timestamp, values) in self._rows.get(table.name, {}).items()
            if not any(d.after < key[1] <= d.until and d.timestamp >= timestamp for d in deletes.get(key[:1], []))
        }
