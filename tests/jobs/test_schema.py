"""Contracts are rendered to Spark schemas by golden file."""

import json
from pathlib import Path

import pytest
from pyspark.sql import types as t

from common.contracts.core import DATE, EPOCH_MS, LONG, STRING, Contract, Field, float_vector, list_of, map_of, struct
from common.contracts.registry import ALL
from jobs.spark.schema import same_type, struct_type

GOLDEN = Path(__file__).parent.parent / "golden" / "spark"


def rendered(contract: Contract) -> str:
    return json.dumps(struct_type(contract).jsonValue(), indent=2) + "\n"


@pytest.mark.parametrize("name", sorted(ALL))
def test_spark_schema_of_each_contract_is_its_golden_file(name):
    assert rendered(ALL[name]) == (GOLDEN / f"{name}.json").read_text()


def test_golden_files_are_those_of_declared_contracts_only():
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(ALL)


def test_nested_kinds_have_a_spark_type():
    fields = (
        Field("vector", float_vector(3)),
        Field("tags", list_of(STRING)),
        Field("counts", map_of(LONG)),
        Field("nested", struct(Field("at", EPOCH_MS, nullable=False), Field("day", DATE))),
    )
    assert struct_type(Contract("sample", 1, (), fields)).simpleString() == (
        "struct<vector:array<float>,tags:array<string>,counts:map<string,bigint>,nested:struct<at:bigint,day:date>>"
    )


def test_types_are_compared_without_the_nullability_of_their_parts():
    assert same_type(t.ArrayType(t.LongType(), True), t.ArrayType(t.LongType(), False))
    assert not same_type(t.ArrayType(t.LongType()), t.ArrayType(t.IntegerType()))
    assert not same_type(t.DecimalType(18, 4), t.DecimalType(18, 2))
