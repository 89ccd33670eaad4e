"""A contract as Spark's ``StructType``, and the check of a frame against it."""

from collections.abc import Callable
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as f
from pyspark.sql import types as t

from common.contracts.core import Contract, Field, Kind
from common.errors import ContractError

_SIMPLE: dict[str, t.DataType] = {
    "string": t.StringType(),
    "int": t.IntegerType(),
    "long": t.LongType(),
    "double": t.DoubleType(),
    "boolean": t.BooleanType(),
    "date": t.DateType(),
    "epoch_ms": t.LongType(),
    "bytes": t.BinaryType(),
}

_NESTED: dict[str, Callable[..., t.DataType]] = {
    "decimal": lambda precision, scale: t.DecimalType(precision, scale),
    "float_vector": lambda n: t.ArrayType(t.FloatType(), containsNull=False),
    "map": lambda value: t.MapType(t.StringType(), data_type(value)),
    "list": lambda element: t.ArrayType(data_type(element)),
    "struct": lambda *fields: t.StructType([_field(x) for x in fields]),
}


def data_type(kind: Kind) -> t.DataType:
    """Spark's type of a contract's kind."""
    if kind.name in _SIMPLE:
        return _SIMPLE[kind.name]
    return _NESTED[kind.name](*kind.args)


def _field(field: Field) -> t.StructField:
    return t.StructField(field.name, data_type(field.kind), field.nullable)


def struct_type(contract: Contract) -> t.StructType:
    """The contract's schema, fields in its order, nullability as declared."""
    return t.StructType([_field(x) for x in contract.fields])


def conform(frame: DataFrame, contract: Contract, where: str, stored: bool = False) -> DataFrame:
    """The frame's columns that the contract declares, in its order.

    ``where`` names the table for the message. Of a ``stored`` table, which may be older than the contract, a column
    that may be null and is not there yet is null. Raises ContractError with the difference where a column is
    missing or has another type; further columns are dropped.
    """
    if stored:
        frame = frame.withColumns({x.name: f.lit(None).cast(x.dataType) for x in lacking(frame.schema, contract)})
    actual = {x.name: x.dataType for x in frame.schema.fields}
    differences = []
    for field in contract.fields:
        expected = data_type(field.kind)
        if field.name not in actual:
            differences.append(f"{field.name} is missing")
        elif not same_type(actual[field.name], expected):
            found = actual[field.name].simpleString()
            differences.append(f"{field.name} is {found}, expected {expected.simpleString()}")
    if differences:
        raise ContractError(
            f"{where} does not match contract {contract.name} v{contract.version}: {'; '.join(differences)}"
        )
    return frame.select(*contract.names)


def lacking(schema: t.StructType, contract: Contract) -> list[t.StructField]:
    """The contract's columns that may be null and are not in the schema: what a table gets without being remade."""
    return [x for x in struct_type(contract).fields if x.nullable and x.name not in schema.names]


def same_type(left: t.DataType, right: t.DataType) -> bool:
    """Whether two Spark types are equal, nullability of nested parts aside."""
    return _bare(left.jsonValue()) == _bare(right.jsonValue())


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        ignored = ("nullable", "containsNull", "valueContainsNull", "metadata")
        return {k: _bare(v) for k, v in value.items() if k not in ignored}
    if isinstance(value, list):
        return [_bare(v) for v in value]
    return value
