"""CQL of the views: golden files, and what a view may not be."""

import os
from pathlib import Path

import pytest

from common.contracts.core import (
    BOOLEAN,
    BYTES,
    DATE,
    DOUBLE,
    EPOCH_MS,
    INT,
    LONG,
    STRING,
    Contract,
    Field,
    decimal,
    float_vector,
    list_of,
    map_of,
    struct,
)
from common.errors import ContractError
from views.schema import View, cql_type, create_keyspace, create_table, identifier, table_of
from views.tables import ALL

GOLDEN = Path(__file__).parents[1] / "golden" / "cql"


@pytest.mark.parametrize("name", sorted(ALL))
def test_each_view_renders_as_its_golden_file(name: str) -> None:
    rendered = create_table(ALL[name]) + ";\n"
    path = GOLDEN / f"{name}.cql"
    if os.environ.get("DOVETAIL_UPDATE_GOLDEN"):
        path.write_text(rendered)
    assert rendered == path.read_text(), f"{path.name} differs: check the change, then set DOVETAIL_UPDATE_GOLDEN=1"


def test_no_golden_file_is_left_of_a_view_that_is_gone() -> None:
    assert {path.stem for path in GOLDEN.glob("*.cql")} == set(ALL)


@pytest.mark.parametrize(
    ("kind", "cql"),
    [
        (STRING, "text"),
        (INT, "int"),
        (LONG, "bigint"),
        (DOUBLE, "double"),
        (BOOLEAN, "boolean"),
        (decimal(18, 4), "decimal"),
        (DATE, "date"),
        (EPOCH_MS, "bigint"),
        (BYTES, "blob"),
        (float_vector(64), "vector<float, 64>"),
        (map_of(LONG), "frozen<map<text, bigint>>"),
        (list_of(STRING), "frozen<list<text>>"),
        (list_of(struct(Field("a", STRING), Field("b", INT))), "frozen<list<frozen<tuple<text, int>>>>"),
    ],
)
def test_every_kind_has_a_cql_type(kind, cql: str) -> None:
    assert cql_type(kind) == cql


THING = Contract("thing", 1, ("a", "b"), (Field("a", STRING), Field("b", LONG), Field("token", INT)))


def test_a_reserved_word_is_quoted_everywhere() -> None:
    view = View("thing", "speed", THING, ("a",), ("b",))
    table = table_of(view, "g1")
    assert '"token" int' in create_table(view)
    assert (
        table.insert("shop") == 'INSERT INTO shop.thing_g1 (a, b, "token") VALUES (?, ?, ?) USING TIMESTAMP ? AND TTL ?'
    )
    assert table.delete_row("shop") == "DELETE FROM shop.thing_g1 USING TIMESTAMP ? WHERE a = ? AND b = ?"
    assert table.delete_range("shop") == "DELETE FROM shop.thing_g1 USING TIMESTAMP ? WHERE a = ? AND b > ? AND b <= ?"


def test_a_view_must_have_the_key_of_its_contract() -> None:
    with pytest.raises(ContractError, match="primary key"):
        View("thing", "speed", THING, ("a",))


def test_a_view_without_clustering_has_no_ranges_to_delete() -> None:
    whole = View("thing", "batch", THING, ("a", "b"))
    with pytest.raises(ContractError, match="no clustering column"):
        _ = table_of(whole, "v1").delete_range("shop")


def test_descending_columns_must_cluster() -> None:
    with pytest.raises(ContractError, match="clustering"):
        View("thing", "speed", THING, ("a",), ("b",), descending=("a",))


@pytest.mark.parametrize("name", ["", "Profile", "a-b", "a;drop", "1a", "x" * 49])
def test_a_name_that_would_need_quoting_is_refused(name: str) -> None:
    with pytest.raises(ContractError):
        identifier(name)


def test_keyspaces_replicate_simply_or_by_datacenter() -> None:
    assert create_keyspace("dovetail").endswith("{'class': 'SimpleStrategy', 'replication_factor': 1}")
    assert create_keyspace("dovetail", 3, "dc1").endswith("{'class': 'NetworkTopologyStrategy', 'dc1': 3}")
    with pytest.raises(ContractError):
        create_keyspace("dovetail", 0)
    with pytest.raises(ContractError):
        create_keyspace("dovetail", 3, "dc'1")
