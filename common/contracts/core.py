"""A data set is declared once, as a :class:`Contract`; every engine's schema is rendered from it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from common.errors import ContractError

KINDS = (
    "string",
    "int",
    "long",
    "double",
    "boolean",
    "decimal",
    "date",
    "epoch_ms",
    "bytes",
    "float_vector",
    "map",
    "list",
    "struct",
)


@dataclass(frozen=True)
class Kind:
    """The type of a field, from a closed set, with its parameters.

    ``args`` holds (precision, scale) of a decimal, (n,) of a float_vector, the value's Kind of a map
    (keys are strings), the element's Kind of a list, and the Fields of a struct.
    """

    name: str
    args: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise ContractError(f"kind {self.name!r} is not one of {', '.join(KINDS)}")

    def __str__(self) -> str:
        return self.name if not self.args else f"{self.name}({', '.join(str(a) for a in self.args)})"


@dataclass(frozen=True)
class Field:
    """One named column of a contract."""

    name: str
    kind: Kind
    nullable: bool = True
    doc: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.kind}"


STRING = Kind("string")
INT = Kind("int")  # 32 bits, signed
LONG = Kind("long")  # 64 bits, signed
DOUBLE = Kind("double")
BOOLEAN = Kind("boolean")
DATE = Kind("date")
EPOCH_MS = Kind("epoch_ms")  # milliseconds since 1970-01-01 UTC, 64 bits
BYTES = Kind("bytes")


def decimal(precision: int, scale: int) -> Kind:
    """An exact decimal number; precision is at most 38, since no engine holds more."""
    if not 0 <= scale <= precision <= 38:
        raise ContractError(f"decimal({precision}, {scale}) is out of bounds: 0 <= scale <= precision <= 38")
    return Kind("decimal", (precision, scale))


def float_vector(n: int) -> Kind:
    """``n`` single-precision floats."""
    return Kind("float_vector", (n,))


def map_of(value: Kind) -> Kind:
    """A map from string to ``value``."""
    return Kind("map", (value,))


def list_of(element: Kind) -> Kind:
    """An ordered list of ``element``."""
    return Kind("list", (element,))


def struct(*fields: Field) -> Kind:
    """A nested row."""
    return Kind("struct", tuple(fields))


@dataclass(frozen=True)
class Contract:
    """A data set: its name, its key, its fields and what time and partitions mean in it.

    ``key`` names the fields that identify a row; ``event_time`` the field that says when; ``partition_by``
    the fields a lake table is partitioned by. A breaking change is a new version beside the old.
    """

    name: str
    version: int
    key: tuple[str, ...]
    fields: tuple[Field, ...]
    event_time: str | None = None
    partition_by: tuple[str, ...] = ()
    doc: str = ""

    def __post_init__(self) -> None:
        names = [f.name for f in self.fields]
        if len(set(names)) != len(names):
            raise ContractError(f"contract {self.name}: a field is declared twice")
        refs: Iterable[str] = (*self.key, *self.partition_by, *((self.event_time,) if self.event_time else ()))
        for ref in refs:
            if ref not in names:
                raise ContractError(f"contract {self.name}: {ref} is not one of its fields")

    @property
    def names(self) -> tuple[str, ...]:
        """The fields' names, in order."""
        return tuple(f.name for f in self.fields)

    def field(self, name: str) -> Field:
        """The field of that name; raises ContractError where there is none."""
        for f in self.fields:
            if f.name == name:
                return f
        raise ContractError(f"contract {self.name} has no field {name}; it has {', '.join(self.names)}")

    def with_fields(self, name: str, *extra: Field, key: tuple[str, ...] | None = None, **changes: Any) -> "Contract":
        """A contract with further fields: lineage columns of a table, for example."""
        return Contract(
            name=name,
            version=self.version,
            key=self.key if key is None else key,
            fields=self.fields + extra,
            event_time=changes.get("event_time", self.event_time),
            partition_by=changes.get("partition_by", self.partition_by),
            doc=changes.get("doc", self.doc),
        )
