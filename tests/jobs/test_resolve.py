"""Customers become persons: found without labels, kept from run to run, each field by its rule, nothing told."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import csv
from pyspark.sql import functions as f

from common.admission import policy_from_env
from common.contracts.customers import CUSTOMERS
from common.errors import ConfigError, ContractError, IncompleteInput
from common.resolution.comparisons import COMPARISONS, SIZES
from jobs import import_customers, resolve_customers
from jobs.resolve_customers import golden, grouped, identified, in_question, letters
from jobs.spark.candidates import Bands, candidate_pairs
from jobs.spark.components import components
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake
from local.simulator.customers import FIELDS, RegisterConfig, register
from tests.jobs.dying import run_killed

pytestmark = pytest.mark.spark

MAPPING = {
    "format": "csv",
    "fields": {"customer_id": "customer", "updated_ms": "updated_ms", **{name: name for name in FIELDS}},
}
OUTPUTS = ("gold/person_links", "gold/persons", "gold/review_queue")


def imported(spark, folder, table):
    """Import the rows of a register as a shop would: from a file, by a mapping."""
    csv.write_csv(table.drop_columns(["person"]), folder / "customers.csv")
    (folder / "map.yaml").write_text(yaml.safe_dump(MAPPING))
    args = import_customers.Args(
        lake=str(folder / "lake"), path=str(folder / "customers.csv"), mapping=str(folder / "map.yaml"), dataset="sim"
    )
    return import_customers.main(spark, args)


def resolved(spark, folder):
    args = resolve_customers.Args(lake=str(folder / "lake"), random_pairs=20_000, lsh_bands=2)
    return resolve_customers.main(spark, args)


def everything(lake, table):
    return (
        sorted(lake.read(table).withColumn("levels", f.lit("")).collect())
        if "queue" in table
        else sorted(lake.read(table).collect(), key=str)
    )


@pytest.fixture(scope="module")
def shop(_spark_session, tmp_path_factory, pseudonym_key):
    """A register of 500 rows, all but the last 100 imported and resolved."""
    folder = tmp_path_factory.mktemp("register")
    table = register(RegisterConfig(rows=500, duplicates=0.3))
    counts = imported(_spark_session, folder, table.slice(0, 400))
    return folder, table, counts, resolved(_spark_session, folder)


def test_duplicates_are_found_and_a_second_run_changes_nothing(spark, shop):
    folder, table, counts, result = shop
    lake = Lake(spark, str(folder / "lake"))
    assert (counts["accepted"], counts["new_customers"]) == (400, 400)
    first = {name: everything(lake, name) for name in OUTPUTS}
    links = {row["customer_id"]: row["person_id"] for row in first["gold/person_links"]}
    assert result["customers"] == len(links) == 400 and result["persons"] == len(set(links.values()))

    resolved(spark, folder)
    assert {name: everything(lake, name) for name in OUTPUTS} == first

    # The rest joins: whoever was there keeps the person's id, unless two persons turn out to be one.
    assert imported(spark, folder, table)["new_customers"] == 100
    resolved(spark, folder)
    after = {row["customer_id"]: row["person_id"] for row in lake.read("gold/person_links").collect()}
    assert len(after) == 500
    moved = [customer for customer, person in links.items() if after[customer] != person]
    assert len(moved) <= 0.02 * len(links)
    precision, recall = precision_and_recall(table, after)
    assert precision > 0.95 and recall > 0.9


def precision_and_recall(table, links):
    """Over pairs of rows; a customer's pseudonym is told by the same gate as at the import."""
    policy = policy_from_env("DOVETAIL_PSEUDONYM_KEY")
    truth = dict(zip(table["customer"].to_pylist(), table["person"].to_pylist(), strict=True))
    rows = [(truth[raw], links[policy.pseudonym("user", raw)]) for raw in truth]
    pairs = [(a[0] == b[0], a[1] == b[1]) for i, a in enumerate(rows) for b in rows[:i]]
    both = sum(same and found for same, found in pairs)
    return both / sum(found for _, found in pairs), both / sum(same for same, _ in pairs)


def test_nothing_personal_is_in_logs_of_tables_or_in_what_is_told(spark, shop):
    folder, table, _, result = shop
    words = {
        word for name in ("given_name", "family_name", "locality", "birth_date") for word in table[name].to_pylist()
    }
    told = json.dumps(result) + "".join(path.read_text() for path in Path(folder, "lake").rglob("_delta_log/*.json"))
    assert not [word for word in words if word and len(word) > 4 and word in told]
    raw = table["customer"].to_pylist()[0]
    assert raw not in told and "k1_" not in told


def test_the_queue_holds_pairs_of_different_persons_with_named_levels(spark, shop):
    lake = Lake(spark, str(shop[0] / "lake"))
    rows = lake.read("gold/review_queue").collect()
    for row in rows:
        assert row["customer_id"] < row["other_id"] and row["person_id"] != row["other_person_id"]
        assert set(row["levels"]) == {each.name for each in COMPARISONS}
        assert row["probability"] + 1e-9 >= 0.1


def test_a_killed_run_done_again_gives_the_same_persons(spark, shop, tmp_path, monkeypatch):
    """Persons are told apart by ids that the killed run may have written already."""
    folder = shop[0]
    whole = Lake(spark, str(folder / "lake"))
    expected = {name: everything(whole, name) for name in OUTPUTS}
    shutil.copytree(whole.root, tmp_path / "lake")
    lake = Lake(spark, str(tmp_path / "lake"))
    for name in OUTPUTS[1:]:
        shutil.rmtree(lake.path(name))
    args = resolve_customers.Args(lake=lake.root, random_pairs=20_000, lsh_bands=2)
    deaths, _ = run_killed(monkeypatch, spark, resolve_customers.main, args)
    assert deaths == len(OUTPUTS)
    assert {name: everything(lake, name) for name in OUTPUTS} == expected


def test_of_customers_who_share_no_block_each_is_a_person(spark, tmp_path):
    lake = Lake(spark, str(tmp_path / "lake"))
    args = resolve_customers.Args(lake=lake.root, random_pairs=1_000)
    lake.replace("silver/customers", spark.createDataFrame([], struct_type(CUSTOMERS)))
    with pytest.raises(IncompleteInput, match="silver/customers has no rows: run import_customers first"):
        resolve_customers.main(spark, args)
    assert not lake.exists("gold/persons")

    people = [("k1_a", "Ann", "Berg", "1980-01-02"), ("k1_b", "Odd", "Vik", "1991-11-30"), ("k1_c", None, None, None)]
    names = ("customer_id", "given_name", "family_name", "birth_date")
    rows = [dict(zip(names, person, strict=True)) | {"source": "shop", "updated_ms": 1} for person in people]
    made = [tuple(row.get(name) for name in CUSTOMERS.names) for row in rows]
    lake.replace("silver/customers", spark.createDataFrame(made, struct_type(CUSTOMERS)))
    counts = resolve_customers.main(spark, args)
    told = {name: counts[name] for name in ("customers", "persons", "pairs", "expected_matches", "review", "weights")}
    assert told == {"customers": 3, "persons": 3, "pairs": 0, "expected_matches": 0, "review": 0, "weights": {}}
    links = {row["customer_id"]: row["person_id"] for row in lake.read("gold/person_links").collect()}
    assert links.keys() == {"k1_a", "k1_b", "k1_c"} and len(set(links.values())) == 3

    # A verdict needs no weights.
    said = {"by": "anna", "when": "2026-11-18", "why": "She told.", "verdict": "same"}
    (tmp_path / "verdicts.yaml").write_text(yaml.safe_dump([{"customer": "k1_a", "other": "k1_c", **said}]))
    resolve_customers.main(spark, dataclasses.replace(args, verdicts=str(tmp_path / "verdicts.yaml")))
    now = {row["customer_id"]: row["person_id"] for row in lake.read("gold/person_links").collect()}
    assert now["k1_a"] == now["k1_c"] != now["k1_b"] == links["k1_b"]


def test_a_verdict_is_honoured_kept_and_told(spark, shop):
    folder = shop[0]
    lake = Lake(spark, str(folder / "lake"))
    links = {row["customer_id"]: row["person_id"] for row in lake.read("gold/person_links").collect()}
    of_person: dict[str, list[str]] = {}
    for customer, person in links.items():
        of_person.setdefault(person, []).append(customer)
    pair = next(sorted(customers) for customers in of_person.values() if len(customers) == 2)
    strangers = sorted(customers[0] for customers in of_person.values() if len(customers) == 1)[:2]
    asked = lake.read("gold/review_queue").count()
    said = {"by": "anna", "when": "2026-11-18", "why": "Rang both."}
    verdicts = [{"customer": pair[1], "other": pair[0], "verdict": "different", **said}]
    verdicts += [{"customer": strangers[0], "other": strangers[1], "verdict": "same", **said}]
    (folder / "verdicts.yaml").write_text(yaml.safe_dump(verdicts))
    args: dict[str, Any] = {"lake": lake.root, "random_pairs": 20_000, "lsh_bands": 2}
    counts = resolve_customers.main(spark, resolve_customers.Args(**args, verdicts=str(folder / "verdicts.yaml")))
    assert (counts["judged_same"], counts["judged_different"], counts["still_together"]) == (1, 1, 0)

    def holds():
        now = {row["customer_id"]: row["person_id"] for row in lake.read("gold/person_links").collect()}
        assert now[pair[0]] != now[pair[1]] and now[strangers[0]] == now[strangers[1]]
        others = set(links) - {*pair, *strangers}
        assert {c: now[c] for c in others} == {c: links[c] for c in others}, "nobody else has moved"
        questions = {(r["customer_id"], r["other_id"]) for r in lake.read("gold/review_queue").collect()}
        assert tuple(pair) not in questions and len(questions) <= asked, "what was judged is not asked again"

    holds()
    rows = lake.read("silver/verdicts").collect()
    assert {(r["customer_id"], r["verdict"], r["judged_by"], r["why"]) for r in rows} == {
        (pair[0], "different", "anna", "Rang both."),
        (strangers[0], "same", "anna", "Rang both."),
    }
    resolved(spark, folder)
    holds()


def test_a_person_that_holds_a_pair_judged_different_is_cut_where_it_is_weakest(spark):
    edges = spark.createDataFrame([(1, 2, 20.0), (2, 3, 5.0), (3, 4, 20.0)], "left long, right long, weight double")
    stars, cut = grouped(edges, 50, 1.0, spark.createDataFrame([(1, 4)], "left long, right long"))
    component = {row["node"]: row["component"] for row in stars.collect()}
    assert cut == 1 and component == {1: 1, 2: 1, 3: 3, 4: 3}


def test_rows_that_cannot_be_read_or_have_no_id_are_kept_with_the_reason_though_the_import_is_killed(
    spark, tmp_path, monkeypatch, pseudonym_key
):
    (tmp_path / "map.yaml").write_text(
        yaml.safe_dump(
            {
                "format": "csv",
                "fields": {
                    "customer_id": "id",
                    "given_name": "name",
                    "email": "mail",
                    "phone": "tel",
                    "country": "land",
                    "birth_date": {"column": "born", "time": ["dd.MM.yyyy", "M/d/yyyy"]},
                    "updated_ms": {"column": "at", "time": "yyyy-MM-dd"},
                },
            }
        )
    )
    lines = [
        "id,name,mail,tel,land,at,born",
        "7,Ann,Ann@Post.example ,+47 22-33,norway,2026-01-01,30.01.1980",
        "7,Anna,ann@post.example,4722 33,NOR,2026-01-02,1/31/1980",
        ",Bob,,,,2026-01-01,",
        "null,Bob,,,,2026-01-01,",
        "8,Bob,,,,soon,",
        "9,Bo",
        "10,Eve,,,,,about 1950",
    ]
    (tmp_path / "c.csv").write_text("\n".join(lines))
    shop = {"path": str(tmp_path / "c.csv"), "mapping": str(tmp_path / "map.yaml"), "dataset": "shop"}
    args = import_customers.Args(lake=str(tmp_path / "lake"), most_rejected=0.6, **shop)
    deaths, counts = run_killed(monkeypatch, spark, import_customers.main, args)
    assert deaths == 2
    assert (counts["rows_in"], counts["accepted"], counts["new_customers"]) == (7, 3, 2)
    assert counts["reasons"] == {"invalid_text": 2, "missing_field": 1, "placeholder_id": 1}
    lake = Lake(spark, args.lake)
    kept = {row["offset"]: bytes(row["raw"]).decode() for row in lake.read("bronze/rejections").collect()}
    assert kept == {at: lines[at] for at in (3, 4, 5, 6)}
    ann = lake.read("silver/customers").where("given_name = 'Anna'").collect()[0]
    eve = lake.read("silver/customers").where("given_name = 'Eve'").collect()[0]
    assert (ann["birth_date"], eve["birth_date"]) == ("1980-01-31", "about 1950")
    assert ann["updated_ms"] == 1_767_312_000_000 and ann["country"] == "NO" and ann["email_hash"].startswith("k1_")
    again = import_customers.main(spark, args)
    assert (again["new_customers"], again["updated_customers"], again["new_rejections"]) == (0, 0, 0)
    said = "4 of 7 rows were rejected, above --most-rejected 0.5: invalid_text 2, missing_field 1, placeholder_id 1; "
    with pytest.raises(ContractError, match=f"{said}they are in bronze/rejections, topic customers:shop:"):
        import_customers.main(spark, dataclasses.replace(args, most_rejected=0.5))
    assert lake.read("bronze/rejections").count() == 4 and lake.read("silver/customers").count() == 2


def test_a_mapping_without_an_id_is_refused(spark, tmp_path, pseudonym_key):
    (tmp_path / "map.yaml").write_text(yaml.safe_dump({"format": "csv", "fields": {"given_name": "name"}}))
    args = import_customers.Args(lake="l", path=str(tmp_path), mapping=str(tmp_path / "map.yaml"), dataset="shop")
    with pytest.raises(ConfigError, match="customer_id is not mapped"):
        import_customers.main(spark, args)


def test_a_grey_zone_above_the_matches_is_refused(spark, tmp_path):
    with pytest.raises(ConfigError, match="grey zone lies below a match"):
        resolve_customers.main(spark, resolve_customers.Args(lake=str(tmp_path), match=0.5, review=0.6))


def test_letters_are_compared_without_case_accents_and_marks(spark):
    row = spark.sql("SELECT 'Zoë-Ångström 3/б' AS a, CAST(NULL AS STRING) AS b").select(
        letters(f.col("a")), letters(f.col("b"))
    )
    assert tuple(row.first()) == ("zoeangstrom3б", "")


# Pairs


def test_each_pair_of_a_block_comes_once_though_blocks_and_passes_overlap_and_go_on_from_batch_to_batch(spark):
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "7")
    blocks = {1: range(0, 20), 2: range(10, 25), 3: (30,)}
    keys = {node: [key for key, nodes in blocks.items() if node in nodes] for node in range(31)}
    rows = [(node, held, node, "") for node, held in keys.items()]
    customers = spark.createDataFrame(rows, "node long, keys array<long>, rank long, text string")
    passes_alone = Bands(bands=0, rows=1, seed=1)
    found = [tuple(row) for row in candidate_pairs(customers, 30, passes_alone).collect()]
    expected = {(a, b) for nodes in blocks.values() for a in nodes for b in nodes if a < b}
    assert len(found) == len(set(found)) and set(found) == expected
    # In a block larger than the window each meets its neighbours only: one customer in all blocks costs no square.
    few = [tuple(row) for row in candidate_pairs(customers, 3, passes_alone).collect()]
    assert set(few) == {(a, b) for a, b in expected if b - a <= 3}


# Components


def naive(edges):
    """Component of each node by union-find."""
    parent: dict[int, int] = {}

    def root(node):
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for left, right in edges:
        a, b = sorted((root(left), root(right)))
        parent[b] = a
    return {node: root(node) for node in parent}


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=60), st.integers(0, 40), st.randoms())
def test_components_are_those_of_a_naive_union_find(_spark_session, edges, chain, random):
    numbers = random.sample(range(1_000), chain + 1)
    # A chain in a random order is what takes the most rounds.
    edges = [e for e in edges if e[0] != e[1]] + [
        (100 + a, 100 + b) for a, b in zip(numbers, numbers[1:], strict=False)
    ]
    found = components(_spark_session.createDataFrame(edges, "left long, right long")).collect()
    assert len(found) == len({row["node"] for row in found})
    assert {row["node"]: row["component"] for row in found} == naive(edges)


def test_a_long_chain_of_weak_matches_is_cut_at_its_weaker_links(spark):
    weak = [(i, i + 1, 5.0) for i in range(0, 9) if i != 4] + [(4, 5, 1.0)]
    strong = [(i, i + 1, 30.0) for i in (0, 1, 6, 7)] + [(20, 21, 1.0)]
    edges = spark.createDataFrame(weak + strong, "left long, right long, weight double")
    nobody = spark.createDataFrame([], "left long, right long")
    stars, chains = grouped(edges, largest=5, threshold=1.0, apart=nobody)
    groups: dict[int, set[int]] = {}
    for row in stars.collect():
        groups.setdefault(row["component"], set()).add(row["node"])
    assert chains == 1 and {frozenset(g) for g in groups.values()} == {
        frozenset({0, 1, 2}),
        frozenset({6, 7, 8}),
        frozenset({20, 21}),
    }


# Persons


def test_a_person_keeps_its_id_through_growth_merges_and_splits(spark):
    former = spark.createDataFrame(
        [("a1", "A"), ("a2", "A"), ("b1", "B"), ("c1", "C"), ("c2", "C"), ("c3", "C"), ("d1", "D"), ("d2", "D")],
        "customer_id string, person_id string",
    )
    now = {1: ["a1", "a2", "b1", "new1"], 2: ["c1"], 3: ["c2", "c3"], 4: ["d1"], 5: ["d2"], 6: ["new2"]}
    members = spark.createDataFrame([(c, k) for k, cs in now.items() for c in cs], "customer_id string, component long")
    rows = identified(members, former, 3).collect()
    ids = {k: {r["person_id"] for r in rows if r["component"] == k} for k in now}
    assert all(len(found) == 1 for found in ids.values()) and len(set.union(*ids.values())) == len(now)
    # Grown and merged: the larger former person goes on, B ends. Split: the larger part, or the smaller id, goes on.
    assert (ids[1], ids[3], ids[4]) == ({"A"}, {"C"}, {"D"})
    made = {person for k in (2, 5, 6) for person in ids[k]}
    assert all(person.startswith("p_") for person in made)
    later = identified(members, former, 4).collect()
    assert not made & {r["person_id"] for r in later if r["component"] in (2, 5, 6)}


def test_a_golden_record_takes_each_field_by_its_rule(spark):
    def customer(number, at, **said):
        row = dict.fromkeys(CUSTOMERS.names) | {"customer_id": f"k{number}", "source": "s", "updated_ms": at} | said
        return (*(row[name] for name in CUSTOMERS.names), *(("P", 3) if number < 9 else ("Q", 1)))

    rows = [
        customer(
            1, 10, given_name="ann", family_name="berg", street_address="1 elm lane", postal_code="11", email_hash="e1"
        ),
        customer(2, 20, given_name="ann", family_name="berg", locality="oslo", phone_hash="t2"),
        customer(3, 30, given_name="anne", family_name="lund", email_hash="e3"),
        customer(9, 5, given_name="eve"),
    ]
    schema = struct_type(CUSTOMERS).add("person_id", "string").add("customers", "integer")
    p, q = sorted(golden(spark.createDataFrame(rows, schema)).collect(), key=lambda r: r["person_id"])
    assert (p["customers"], p["given_name"], p["family_name"], p["updated_ms"]) == (3, "ann", "berg", 30)
    assert (p["email_hash"], p["phone_hash"]) == ("e3", "t2")
    # The newest address whole: no street of one and town of another.
    assert (p["street_address"], p["locality"], p["postal_code"]) == (None, "oslo", None)
    assert (q["customers"], q["given_name"], q["birth_date"]) == (1, "eve", None)


def test_levels_are_named_as_they_were_packed(spark):
    digits = [1, 2, 5, 3, 4, 0, 5, 2, 1]
    pattern, radix = 0, 1
    for digit, size in zip(digits, SIZES, strict=True):
        pattern, radix = pattern + digit * radix, radix * size
    pairs = spark.createDataFrame([(1, 2, pattern, 0.5)], "left long, right long, pattern long, weight double")
    links = spark.createDataFrame([(1, "z", "P"), (2, "a", "Q")], "node long, customer_id string, person_id string")
    row = in_question(pairs, links).collect()[0]
    assert row["levels"] == {c.name: c.levels[d] for c, d in zip(COMPARISONS, digits, strict=True)}
    assert (row["customer_id"], row["person_id"], row["other_id"], row["other_person_id"]) == ("a", "Q", "z", "P")
