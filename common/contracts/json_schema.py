"""Contracts as JSON Schema (draft 2020-12): what producers of JSON check their records against."""

from typing import Any

from common.contracts.core import Contract, Field, Kind


def json_schema(contract: Contract) -> dict[str, Any]:
    """The JSON Schema of one row of a contract, as plain dicts ready for ``json.dumps``.

    Decimals travel as strings or numbers, bytes as base64, dates as ISO 8601, instants as epoch milliseconds.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{contract.name} v{contract.version}",
        "description": contract.doc,
        **_object(contract.fields),
    }


def _object(fields: tuple[Field, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {f.name: _property(f) for f in fields},
        "required": [f.name for f in fields if not f.nullable],
    }


def _property(field: Field) -> dict[str, Any]:
    schema = _kind(field.kind)
    if field.nullable:
        types = schema["type"]
        schema["type"] = [*(types if isinstance(types, list) else [types]), "null"]
    return {**schema, "description": field.doc} if field.doc else schema


def _kind(kind: Kind) -> dict[str, Any]:
    match kind.name:
        case "string":
            return {"type": "string"}
        case "int":
            return {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
        case "long" | "epoch_ms":
            return {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
        case "double":
            return {"type": "number"}
        case "boolean":
            return {"type": "boolean"}
        case "decimal":
            precision, scale = kind.args
            fraction = rf"(\.[0-9]{{1,{scale}}})?" if scale else ""
            return {"type": ["string", "number"], "pattern": rf"^-?[0-9]{{1,{precision - scale}}}{fraction}$"}
        case "date":
            return {"type": "string", "format": "date"}
        case "bytes":
            return {"type": "string", "contentEncoding": "base64"}
        case "float_vector":
            return {"type": "array", "items": {"type": "number"}, "minItems": kind.args[0], "maxItems": kind.args[0]}
        case "map":
            return {"type": "object", "additionalProperties": _kind(kind.args[0])}
        case "list":
            return {"type": "array", "items": _kind(kind.args[0])}
        case "struct":
            return _object(kind.args)
    raise ValueError(f"kind {kind} has no JSON Schema")
