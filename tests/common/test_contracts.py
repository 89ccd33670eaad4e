"""Contracts are checked where they are declared, and rendered to JSON Schema by golden file."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from common.contracts.core import LONG, STRING, Contract, Field, Kind, decimal, float_vector, list_of, map_of, struct
from common.contracts.json_schema import json_schema
from common.contracts.page import page
from common.contracts.registry import ALL
from common.errors import ContractError
from common.features.algebra import count, total
from common.features.expressions import Constant, event
from common.features.groups import feature_group

GOLDEN = Path(__file__).parent.parent / "golden" / "json"


@pytest.mark.parametrize("name", sorted(ALL))
def test_json_schema_of_each_contract_is_its_golden_file(name):
    rendered = json.dumps(json_schema(ALL[name]), indent=2) + "\n"
    assert rendered == (GOLDEN / f"{name}.json").read_text()


def test_golden_files_are_those_of_declared_contracts_only():
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(ALL)


def test_every_kind_has_a_json_schema():
    fields = (
        Field("vector", float_vector(3)),
        Field("tags", list_of(STRING)),
        Field("counts", map_of(LONG), nullable=False),
        Field("nested", struct(Field("price", decimal(5, 2), nullable=False))),
    )
    schema = json_schema(Contract("sample", 1, (), fields))
    assert schema["properties"]["vector"]["minItems"] == 3
    assert schema["properties"]["nested"]["properties"]["price"]["pattern"] == r"^-?[0-9]{1,3}(\.[0-9]{1,2})?$"
    assert schema["required"] == ["counts"]


def test_a_kind_outside_the_closed_set_is_refused():
    with pytest.raises(ContractError, match="kind 'text'"):
        Kind("text")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": ("missing",)}, "missing is not one of its fields"),
        ({"event_time": "at"}, "at is not one of its fields"),
        ({"fields": (Field("id", STRING), Field("id", LONG))}, "declared twice"),
    ],
)
def test_a_contract_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ContractError, match=message):
        Contract(**({"name": "t", "version": 1, "key": ("id",), "fields": (Field("id", STRING),)} | changes))


def test_decimals_are_bounded():
    with pytest.raises(ContractError):
        decimal(39, 2)


def test_a_group_refuses_reserved_names_and_tiles_that_do_not_fill_an_hour():
    with pytest.raises(ValueError, match="cannot be called n"):
        feature_group("g", key="visitor_id", tile="1 hour", n=count())
    for tile in ("7 minutes", "1 day"):
        with pytest.raises(ValueError, match="whole number of its tiles"):
            feature_group("g", key="visitor_id", tile=tile, views=count())


def test_expressions_refuse_what_engines_would_treat_differently():
    with pytest.raises(TypeError, match="order of events"):
        total(event.value)
    with pytest.raises(TypeError, match="more than 4 decimals"):
        event.price * event.price  # noqa: B018
    with pytest.raises(TypeError, match="cannot be compared"):
        event.type == 3  # noqa: B015
    with pytest.raises(TypeError, match="no truth value"):
        bool(event.type == "view")
    with pytest.raises(ValueError, match="backslash"):
        (event.type == "a\\b").sql()
    assert Constant(Decimal("0.05")).sql() == "CAST(0.05 AS DECIMAL(3, 2))"


def test_the_documentation_page_is_what_is_declared():
    declared = Path(__file__).parents[2] / "docs" / "contracts.md"
    assert page(ALL.values()) == declared.read_text(), "run: python -m common.contracts.page > docs/contracts.md"
