"""Contract -> CQL: a :class:`View` says how a contract is keyed in Cassandra; its statements are rendered from it."""

import re
from dataclasses import dataclass
from functools import cached_property

from common.contracts.core import Contract, Field, Kind
from common.errors import ContractError

GC_GRACE_S = 86_400
"""How long tombstones are kept. Views can be rebuilt, so a node that was away longer is rebuilt, not repaired."""

_SCALARS = {
    "string": "text",
    "int": "int",
    "long": "bigint",
    "double": "double",
    "boolean": "boolean",
    "decimal": "decimal",
    "date": "date",
    "epoch_ms": "bigint",
    "bytes": "blob",
}

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,47}")

# Words that CQL refuses as bare names.
# fmt: off
_RESERVED = frozenset({
    "add", "allow", "alter", "and", "apply", "asc", "authorize", "batch", "begin", "by", "columnfamily",
    "create", "default", "delete", "desc", "describe", "drop", "entries", "execute", "from", "full", "grant",
    "if", "in", "index", "infinity", "insert", "into", "is", "keyspace", "limit", "materialized", "modify",
    "nan", "norecursive", "not", "null", "of", "on", "or", "order", "primary", "rename", "replace", "revoke",
    "schema", "select", "set", "table", "to", "token", "truncate", "unlogged", "unset", "update", "use",
    "using", "view", "where", "with",
})
# fmt: on


def identifier(name: str) -> str:
    """The name as CQL takes it, quoted where it is a reserved word.

    Raises ContractError where it is not lower-case letters, digits and underscores (at most 48).
    """
    if not _IDENTIFIER.fullmatch(name):
        raise ContractError(f"{name!r} is not a CQL name: use lower-case letters, digits and underscores, at most 48")
    return f'"{name}"' if name in _RESERVED else name


def cql_type(kind: Kind) -> str:
    """The CQL type of a kind.

    Collections are frozen: a row is always written whole, and a frozen one is a single cell, so that the
    later write wins as a whole and no overwrite leaves a tombstone.
    """
    if kind.name in _SCALARS:
        return _SCALARS[kind.name]
    if kind.name == "float_vector":
        return f"vector<float, {kind.args[0]}>"
    if kind.name == "map":
        return f"frozen<map<text, {cql_type(kind.args[0])}>>"
    if kind.name == "list":
        return f"frozen<list<{cql_type(kind.args[0])}>>"
    if kind.name == "struct":
        return f"frozen<tuple<{', '.join(cql_type(field.kind) for field in kind.args)}>>"
    raise ContractError(f"kind {kind} has no CQL type")


@dataclass(frozen=True)
class View:
    """A contract made to be read by key: its partition key, clustering columns and lifetime.

    ``layer`` is "speed", "batch" or "meta"; ``descending`` names clustering columns stored newest first;
    ``ttl_s`` is a row's lifetime counted from its anchor (0: for ever), bound with each write.
    """

    name: str
    layer: str
    contract: Contract
    partition_key: tuple[str, ...]
    clustering: tuple[str, ...] = ()
    descending: tuple[str, ...] = ()
    ttl_s: int = 0

    def __post_init__(self) -> None:
        if self.layer not in ("speed", "batch", "meta"):
            raise ContractError(f"view {self.name}: layer {self.layer!r} is not speed, batch or meta")
        if set(self.primary_key) != set(self.contract.key):
            raise ContractError(
                f"view {self.name}: its primary key {self.primary_key} is not the contract's key {self.contract.key}"
            )
        if set(self.descending) - set(self.clustering):
            raise ContractError(f"view {self.name}: {self.descending} are not all clustering columns")

    @cached_property
    def primary_key(self) -> tuple[str, ...]:
        """Partition key and clustering columns, in order."""
        return self.partition_key + self.clustering

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns, in the contract's order: the order of values in every write."""
        return self.contract.names

    @cached_property
    def key_positions(self) -> tuple[int, ...]:
        """Where the primary key's values stand in a row of :attr:`columns`."""
        return tuple(self.columns.index(name) for name in self.primary_key)


@dataclass(frozen=True)
class Table:
    """A view's table of one version or generation, by its physical name.

    Its statements name the keyspace: a prepared statement must not depend on what a connection was told to use.
    """

    view: View
    name: str

    def insert(self, keyspace: str) -> str:
        """A whole row, with its write timestamp (microseconds) and TTL (seconds, 0 for ever) bound last."""
        columns = ", ".join(identifier(c) for c in self.view.columns)
        marks = ", ".join("?" for _ in self.view.columns)
        into = self.qualified(keyspace)
        return f"INSERT INTO {into} ({columns}) VALUES ({marks}) USING TIMESTAMP ? AND TTL ?"

    def delete_row(self, keyspace: str) -> str:
        """One row by its primary key, the write timestamp bound first."""
        return f"DELETE FROM {self.qualified(keyspace)} USING TIMESTAMP ? WHERE {_equals(self.view.primary_key)}"

    def delete_range(self, keyspace: str) -> str:
        """The rows of a partition whose first clustering column is above one value and at most another."""
        if not self.view.clustering:
            raise ContractError(f"{self.name} has no clustering column: a range of it cannot be deleted")
        first = identifier(self.view.clustering[0])
        where = f"{_equals(self.view.partition_key)} AND {first} > ? AND {first} <= ?"
        return f"DELETE FROM {self.qualified(keyspace)} USING TIMESTAMP ? WHERE {where}"

    def qualified(self, keyspace: str) -> str:
        """``keyspace.table``."""
        return f"{identifier(keyspace)}.{identifier(self.name)}"


def _equals(columns: tuple[str, ...]) -> str:
    return " AND ".join(f"{identifier(c)} = ?" for c in columns)


def table_of(view: View, suffix: str | None = None) -> Table:
    """The view's table in a version or generation: ``profile_v20261120_1``, ``sessions_g1``; without one, its name."""
    name = view.name if suffix is None else f"{view.name}_{suffix}"
    identifier(name)
    return Table(view, name)


def create_table(view: View, name: str | None = None) -> str:
    """The ``CREATE TABLE IF NOT EXISTS`` of a view under a physical name."""
    lines = [f"  {_column(field)}," for field in view.contract.fields]
    partition = ", ".join(identifier(c) for c in view.partition_key)
    clustering = "".join(f", {identifier(c)}" for c in view.clustering)
    options = [f"gc_grace_seconds = {GC_GRACE_S}"]
    if view.clustering:
        order = ", ".join(f"{identifier(c)} {'DESC' if c in view.descending else 'ASC'}" for c in view.clustering)
        options.insert(0, f"CLUSTERING ORDER BY ({order})")
    if view.contract.doc:
        quoted = view.contract.doc.replace("'", "''")
        options.append(f"comment = '{quoted}'")
    return "\n".join(
        [
            f"CREATE TABLE IF NOT EXISTS {identifier(name or view.name)} (",
            *lines,
            f"  PRIMARY KEY (({partition}){clustering})",
            ") WITH " + "\n  AND ".join(options),
        ]
    )


def _column(field: Field) -> str:
    return f"{identifier(field.name)} {cql_type(field.kind)}"


def create_keyspace(keyspace: str, replication_factor: int = 1, datacenter: str | None = None) -> str:
    """The ``CREATE KEYSPACE IF NOT EXISTS``: simple replication, or per datacenter where one is named."""
    if replication_factor < 1:
        raise ContractError(f"a replication factor of {replication_factor} stores nothing: use at least 1")
    if datacenter is None:
        replication = f"{{'class': 'SimpleStrategy', 'replication_factor': {replication_factor}}}"
    else:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", datacenter):
            raise ContractError(f"{datacenter!r} is not the name of a datacenter")
        replication = f"{{'class': 'NetworkTopologyStrategy', '{datacenter}': {replication_factor}}}"
    return f"CREATE KEYSPACE IF NOT EXISTS {identifier(keyspace)} WITH replication = {replication}"
