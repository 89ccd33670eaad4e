"""Contracts rendered for Flink SQL: columns, ``ROW`` types and ``CREATE TABLE``."""

from collections.abc import Iterable, Mapping

from common.contracts.core import Contract, Field, Kind
from common.errors import ContractError

_SCALARS = {
    "string": "STRING",
    "int": "INT",
    "long": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    # PyFlink hands a TIMESTAMP to Python as naive local time, so event time travels as a number
    "epoch_ms": "BIGINT",
    "bytes": "BYTES",
}


def quote(name: str) -> str:
    """An identifier in backticks; many plain words (value, offset, partition) are reserved in Flink SQL."""
    if "`" in name or not name:
        raise ContractError(f"{name!r} is not a column name")
    return f"`{name}`"


def literal(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("'", "''") + "'"


def flink_type(kind: Kind) -> str:
    """The Flink SQL type of a kind."""
    if kind.name in _SCALARS:
        return _SCALARS[kind.name]
    if kind.name == "decimal":
        return f"DECIMAL({kind.args[0]}, {kind.args[1]})"
    if kind.name == "float_vector":
        return "ARRAY<FLOAT>"
    if kind.name == "map":
        return f"MAP<STRING, {flink_type(kind.args[0])}>"
    if kind.name == "list":
        return f"ARRAY<{flink_type(kind.args[0])}>"
    if kind.name == "struct":
        return row_of(kind.args)
    raise ContractError(f"kind {kind} has no Flink type")


def row_of(fields: Iterable[Field]) -> str:
    """A ``ROW<...>`` of the fields, all nullable: a function's result is null where a record was refused."""
    return f"ROW<{', '.join(f'{quote(field.name)} {flink_type(field.kind)}' for field in fields)}>"


def row_type(contract: Contract) -> str:
    """The contract as a ``ROW<...>``."""
    return row_of(contract.fields)


def columns(contract: Contract) -> list[str]:
    """The contract's column definitions, in its order."""
    return [_column(field) for field in contract.fields]


def create_table(
    contract: Contract,
    name: str | None = None,
    options: Mapping[str, str] | None = None,
    extra: Iterable[str] = (),
    partitioned_by: Iterable[str] = (),
) -> str:
    """The ``CREATE TEMPORARY TABLE`` of a contract.

    ``extra`` holds further column definitions as SQL; ``partitioned_by`` names columns of either kind. Without
    ``options`` there is no WITH clause.
    """
    body = ",\n  ".join([*columns(contract), *extra])
    text = f"CREATE TEMPORARY TABLE {quote(name or contract.name)} (\n  {body}\n)"
    parts = ", ".join(quote(column) for column in partitioned_by)
    if parts:
        text += f" PARTITIONED BY ({parts})"
    if options:
        text += f" WITH (\n  {options_text(options)}\n)"
    return text


def options_text(options: Mapping[str, str]) -> str:
    """The inside of a WITH clause."""
    return ",\n  ".join(f"{literal(key)} = {literal(value)}" for key, value in options.items())


def interval(ms: int) -> str:
    """A day-time interval literal of so many milliseconds."""
    if not 0 <= ms < 100 * 86_400_000:
        raise ContractError(f"an interval of {ms} ms is out of bounds: from 0 to 99 days")
    seconds, millis = divmod(ms, 1_000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"INTERVAL '{days} {hour:02d}:{minute:02d}:{second:02d}.{millis:03d}' DAY TO SECOND(3)"


def _column(field: Field) -> str:
    return f"{quote(field.name)} {flink_type(field.kind)}{'' if field.nullable else ' NOT NULL'}"
