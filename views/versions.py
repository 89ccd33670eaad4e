"""Batch versions and speed generations: claimed once, filled, checked, made live by one flip, dropped when old.

A name is claimed by a conditional insert and stays in ``view_versions`` for ever, so it is never used twice.
The flip is one conditional update on ``view_pointer``: of two publishers one wins, and the other changed nothing.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.query import SimpleStatement

from common.errors import ConcurrentRun, IncompleteInput
from common.features.declared import declared
from common.features.windows import HOUR_MS, horizon_start
from views import pointer as pointers
from views.errors import ViewCheckFailed, ViewMissing
from views.pointer import Pointer, read_pointer
from views.scan import count_rows
from views.schema import Table, View, identifier
from views.tables import BATCH, SPEED, VERSIONS_VIEW, create_base, create_tables, drop_tables, tables_of

KEPT_VERSIONS = 2
"""Versions kept behind the live one: a reader may still be on one, and a rollback needs no load."""

_AHEAD = "ahead"
"""In a pointer's info: the versions that rollbacks came back from, newest first."""

_CLAIM_TRIES = 100


@dataclass(frozen=True)
class Version:
    """A claimed batch version or speed generation."""

    layer: str
    name: str
    created_ms: int
    state: str = "loading"
    cut_ms: int | None = None
    reads_from_ms: int | None = None
    info: dict[str, Any] = field(default_factory=dict)
    """``features``: the declarations it was made by (common.features.declared); ``take_over``: see streaming/run.py."""

    @property
    def tables(self) -> dict[str, Table]:
        """Its tables, by view name."""
        return tables_of((BATCH if self.layer == pointers.BATCH else SPEED).values(), self.name)


def version_prefix(cut_ms: int) -> str:
    """``v20261120`` for a cut on that UTC day."""
    return f"v{datetime.fromtimestamp(cut_ms / 1_000, UTC):%Y%m%d}"


def list_versions(session: Session, layer: str) -> list[Version]:
    """Every version of a layer, by creation."""
    rows = session.execute(
        "SELECT version, state, created_ms, cut_ms, reads_from_ms, info FROM view_versions WHERE layer = %s", (layer,)
    )
    found = [
        Version(
            layer, r.version, r.created_ms, r.state, r.cut_ms, r.reads_from_ms, json.loads(r.info) if r.info else {}
        )
        for r in rows
    ]
    return sorted(found, key=lambda v: (v.created_ms, v.name))


def find_version(session: Session, layer: str, name: str) -> Version:
    """The version of that name; raises ViewMissing where it was never claimed."""
    for version in list_versions(session, layer):
        if version.name == name:
            return version
    raise ViewMissing(f"there is no {layer} version {name}: see view_versions for those there are")


class _Layer:
    layer = ""
    views: Mapping[str, View] = {}

    def __init__(self, session: Session) -> None:
        self.session = session
        create_base(session)

    def live(self) -> Pointer | None:
        """What is live."""
        return read_pointer(self.session, self.layer)

    def _claim(self, prefix: str, info: Mapping[str, Any] | None = None, **facts: Any) -> Version:
        known = {"features": declared(), **(info or {})}
        taken = {version.name for version in list_versions(self.session, self.layer)}
        numbers = [int(n.removeprefix(prefix)) for n in taken if n.startswith(prefix) and n[len(prefix) :].isdigit()]
        serial = max(numbers, default=0)
        for _ in range(_CLAIM_TRIES):
            serial += 1
            name = f"{prefix}{serial}"
            version = Version(self.layer, name, time.time_ns() // 1_000_000, "loading", info=known, **facts)
            row: dict[str, Any] = {
                "layer": self.layer,
                "version": version.name,
                "state": version.state,
                "created_ms": version.created_ms,
                "info": json.dumps(known, sort_keys=True),
                **facts,
            }
            if self._conditional(*_insert(VERSIONS_VIEW, row)):
                create_tables(self.session, version.tables.values())
                return version
        raise ConcurrentRun(f"no free name after {prefix}{serial}: other runs claim versions all the time")

    def _state(self, name: str, state: str, row_count: int | None = None) -> None:
        counted = "" if row_count is None else ", row_count = %s"
        extra = () if row_count is None else (row_count,)
        # Claimed by LWT, so changed by LWT: the two kinds of write have different clocks.
        statement = f"UPDATE view_versions SET state = %s{counted} WHERE layer = %s AND version = %s IF EXISTS"
        if not self._conditional(statement, (state, *extra, self.layer, name)):
            raise ViewMissing(f"the {self.layer} version {name} was never claimed")

    def _conditional(self, cql: str, values: tuple[Any, ...]) -> bool:
        statement = SimpleStatement(cql, serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL)
        return bool(self.session.execute(statement, values, timeout=10.0).was_applied)

    def _flip(self, before: Pointer | None, after: dict[str, Any]) -> Pointer:
        """Make ``after`` live if ``before`` still is; raises ConcurrentRun where another flip came first."""
        row = {
            **after,
            "name": self.layer,
            "updated_ms": time.time_ns() // 1_000_000,
            "serial": before.serial + 1 if before else 1,
        }
        if before is None:
            cql, values = _insert(pointers.POINTER_VIEW, row)
        else:
            sets = [name for name in row if name != "name"]
            assignments = ", ".join(f"{identifier(name)} = %s" for name in sets)
            cql = f"UPDATE view_pointer SET {assignments} WHERE name = %s IF serial = %s"
            values = (*(row[name] for name in sets), self.layer, before.serial)
        if not self._conditional(cql, values):
            now = self.live()
            raise ConcurrentRun(
                f"another run made {now.live if now else 'something'} the live {self.layer} version first; "
                f"{row['live']} was loaded and is not live"
            )
        flipped = self.live()
        if flipped is None:
            raise ViewMissing("view_pointer lost its row while it was flipped")
        return flipped

    def _drop(self, version: Version) -> None:
        drop_tables(self.session, version.name)  # by its name: other code may declare other tables
        self._state(version.name, "dropped")


class BatchVersions(_Layer):
    """The versions of the batch views.

    ``claim`` -> fill ``version.tables`` -> ``check`` -> ``flip`` -> ``drop_old``. A load that fails leaves the
    last good version live; its tables are dropped by the next ``drop_old``.
    """

    layer = pointers.BATCH
    views = BATCH

    def claim(self, cut_ms: int) -> Version:
        """A new version for a cut, its empty tables created."""
        return self._claim(version_prefix(cut_ms) + "_", cut_ms=cut_ms)

    def check(self, version: Version, expected: Mapping[str, int], splits: int = 8) -> dict[str, int]:
        """Count the rows really stored; returns them by view.

        ``expected`` names the rows written per view. Raises ViewCheckFailed where a count differs, where a
        view is not spoken of, or where there is no profile at all; the version is then marked failed.
        """
        if set(expected) != set(BATCH):
            raise ViewCheckFailed(f"{version.name}: expected counts for {sorted(BATCH)}, got {sorted(expected)}")
        counts = {name: count_rows(self.session, table, splits) for name, table in version.tables.items()}
        wrong = [
            f"{name} has {counts[name]} rows and not {wanted}"
            for name, wanted in expected.items()
            if counts[name] != wanted
        ]
        if not wrong and not counts["profile"]:
            wrong = ["profile is empty"]
        if wrong:
            self._state(version.name, "failed")
            raise ViewCheckFailed(f"batch version {version.name} is not what was written: {'; '.join(wrong)}")
        self._state(version.name, "checked", sum(counts.values()))
        return counts

    def flip(
        self,
        version: Version,
        model_version: str | None = None,
        model_uri: str | None = None,
        before: Pointer | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> Pointer:
        """Make a checked version live, if what was live (``before``, by default as of now) still is.

        Raises ViewCheckFailed where it was not checked or is older than what is live (that is what
        :meth:`rollback` is for), ConcurrentRun where another publisher was first.
        """
        current = before or self.live()
        claimed = find_version(self.session, self.layer, version.name)
        if claimed.state != "checked":
            raise ViewCheckFailed(f"batch version {version.name} is {claimed.state}, not checked: it cannot go live")
        if current and current.cut_ms is not None and version.cut_ms is not None and version.cut_ms < current.cut_ms:
            raise ViewCheckFailed(
                f"batch version {version.name} covers less than the live {current.live}: use rollback to go back"
            )
        flipped = self._flip(
            current,
            {
                "live": version.name,
                "previous": _history(current),
                "cut_ms": version.cut_ms,
                "model_version": model_version,
                "model_uri": model_uri,
                "info": json.dumps(
                    {
                        **(info or {}),
                        "models": _models(current, version.name, model_version, model_uri),
                        **_features(claimed),
                    },
                    sort_keys=True,
                ),
            },
        )
        self._state(version.name, "live")
        if current:
            self._state(current.live, "retired")
        return flipped

    def kept(self) -> list[str]:
        """The versions that can be made live, newest first: those that rollbacks came back from, which the next
        publication drops, the live one, and those behind it."""
        current = self.live()
        return [] if current is None else self._kept(current)

    def _kept(self, current: Pointer) -> list[str]:
        there = {version.name for version in list_versions(self.session, self.layer) if version.state != "dropped"}
        line = (*current.info.get(_AHEAD, ()), current.live, *current.previous[:KEPT_VERSIONS])
        return [name for name in line if name in there]

    def rollback(self, to: str | None = None) -> Pointer:
        """Make the version behind the live one, or one of :meth:`kept`, live again: so a rollback can be rolled back.

        Raises ViewMissing where the version is not kept.
        """
        current = self.live()
        kept = [] if current is None else self._kept(current)
        behind = [] if current is None else kept[kept.index(current.live) + 1 :]
        if current is None or to is None and not behind:
            raise ViewMissing("there is no batch version to go back to")
        name = behind[0] if to is None else to
        if name == current.live:
            return current
        if name not in kept:
            others = ", ".join(other for other in kept if other != current.live) or "none"
            raise ViewMissing(f"batch version {name} is not kept any more; there are {others}: publish its cut again")
        target = find_version(self.session, self.layer, name)
        at = kept.index(name)
        model = current.info.get("models", {}).get(target.name, {})
        flipped = self._flip(
            current,
            {
                "live": target.name,
                "previous": kept[at + 1 :],
                "cut_ms": target.cut_ms,
                "model_version": model.get("version"),
                "model_uri": model.get("uri"),
                "info": json.dumps(
                    {
                        **_without_features(current),
                        "rolled_back": current.live,
                        _AHEAD: kept[:at],
                        **_features(target),
                    },
                    sort_keys=True,
                ),
            },
        )
        self._state(target.name, "live")
        self._state(current.live, "retired")
        return flipped

    def drop_old(self) -> list[str]:
        """Drop every version that is neither live nor behind that, unless it is newer and being made; the names."""
        current = self.live()
        if current is None:
            return []
        keep = {current.live, *current.previous[:KEPT_VERSIONS]}
        versions = list_versions(self.session, self.layer)
        live_created = next((v.created_ms for v in versions if v.name == current.live), 0)
        dropped = []
        for version in versions:
            settled = version.state in ("failed", "retired") or version.created_ms < live_created
            if version.name not in keep and version.state != "dropped" and settled:
                self._drop(version)
                dropped.append(version.name)
        return dropped


class Generations(_Layer):
    """The generations of the speed views: each is one lineage of the stream's state, with tables of its own."""

    layer = pointers.SPEED
    views = SPEED

    def create(self, reads_from_ms: int | None = None, take_over: str = "") -> Version:
        """A new generation with empty tables: g1, g2, ...

        ``reads_from_ms`` is the timestamp of the oldest record its stream starts to read from; None where it
        reads the topic from its start. ``take_over`` is the stream's argument of that name, for who resumes it.
        """
        return self._claim("g", {"take_over": take_over} if take_over else None, reads_from_ms=reads_from_ms)

    def make_live(self, name: str, info: Mapping[str, Any] | None = None) -> Pointer:
        """Make a generation live, once it has caught up.

        Raises IncompleteInput where it began to read too late: serving takes the tile of the layer that has
        seen more, which is only right if speed has seen everything since the live cut - 48 h - one tile.
        """
        version = find_version(self.session, self.layer, name)
        if version.state == "dropped":
            raise ViewMissing(f"generation {name} was dropped: start the stream as a new generation")
        batch = read_pointer(self.session, pointers.BATCH)
        if batch and batch.cut_ms is not None and version.reads_from_ms is not None:
            needed = horizon_start(batch.cut_ms) - HOUR_MS
            if version.reads_from_ms > needed:
                raise IncompleteInput(
                    f"generation {name} reads from {version.reads_from_ms}, and the live cut needs it to read from "
                    f"{needed} or before: start it earlier, or publish a later cut first"
                )
        current = self.live()
        if current and current.live == name:
            return current
        flipped = self._flip(
            current,
            {
                "live": name,
                "previous": _history(current),
                "info": json.dumps(
                    {**(info or {}), "created_ms": version.created_ms, **_features(version)}, sort_keys=True
                ),
            },
        )
        self._state(name, "live")
        if current:
            self._state(current.live, "retired")
        return flipped

    def drop(self, name: str) -> None:
        """Drop the tables of a generation that is not live."""
        current = self.live()
        if current and current.live == name:
            raise ConcurrentRun(f"generation {name} is live: make another one live before it is dropped")
        self._drop(find_version(self.session, self.layer, name))


def _insert(view: View, row: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    names = ", ".join(identifier(name) for name in row)
    marks = ", ".join("%s" for _ in row)
    return f"INSERT INTO {view.name} ({names}) VALUES ({marks}) IF NOT EXISTS", tuple(row.values())


def _features(version: Version) -> dict[str, Any]:
    """The declarations that a version was made by, as a part of a pointer's info."""
    return {"features": version.info["features"]} if "features" in version.info else {}


def _without_features(current: Pointer) -> dict[str, Any]:
    return {name: value for name, value in current.info.items() if name != "features"}


def _history(current: Pointer | None) -> list[str]:
    if current is None:
        return []
    return [current.live, *(name for name in current.previous if name != current.live)][:KEPT_VERSIONS]


def _models(current: Pointer | None, name: str, version: str | None, uri: str | None) -> dict[str, Any]:
    """The model of each version that is kept, so that a rollback needs no other source."""
    known = dict(current.info.get("models", {})) if current else {}
    kept = {key: known[key] for key in _history(current) if key in known}
    return {**kept, name: {"version": version, "uri": uri}}
