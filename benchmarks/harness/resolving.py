"""Resolvers side by side: this project's job and Splink, given the same rows, judged by the same truth."""

import time
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from common.resolution.blocking import PASSES
from common.resolution.comparisons import FIELDS
from jobs.resolve_customers import derived, standardised

CORES = 2
"""Of both: the session is local[2]."""

CUTS = (0.5, 0.8, 0.9, 0.95, 0.99)
"""Probabilities at which Splink's pairs are clustered; the best of them by F1 is what it is compared with."""


_SAME_CODE = "damerau_levenshtein(postal_l, postal_r) <= 1"
_SAME_TOWN = "jaro_winkler_similarity(locality_l, locality_r) >= 0.85"
_SAME_STREET = "jaro_winkler_similarity(street_l, street_r) >= 0.9"
_ADDRESS = [
    {
        "sql_condition": "(street_l IS NULL OR street_r IS NULL) AND (postal_l IS NULL OR postal_r IS NULL)",
        "label_for_charts": "missing",
        "is_null_level": True,
    },
    {
        "sql_condition": "street_l = street_r AND house_l = house_r AND postal_l = postal_r",
        "label_for_charts": "equal",
    },
    {
        "sql_condition": f"{_SAME_STREET} AND house_l = house_r AND ({_SAME_CODE} OR {_SAME_TOWN})",
        "label_for_charts": "close",
    },
    {"sql_condition": f"{_SAME_STREET} AND ({_SAME_CODE} OR {_SAME_TOWN})", "label_for_charts": "street"},
    {"sql_condition": f"{_SAME_CODE} OR {_SAME_TOWN}", "label_for_charts": "town"},
    {"sql_condition": "ELSE", "label_for_charts": "differs"},
]
"""The address as one comparison, as its parts follow from each other: apart, every household would be a match."""


def prepared(customers: DataFrame) -> pd.DataFrame:
    """The rows as Splink gets them: customer_id, the fields as this project cleans them, sounds; empty is null."""
    frame = standardised(customers).withColumns(derived())
    names = [*FIELDS, *derived()]
    cells = [f.nullif(f.col(x), f.lit("")).alias(x) for x in names]
    return frame.select("customer_id", *cells).toPandas()


def splink_linker(rows: pd.DataFrame) -> Any:
    """Splink on DuckDB, declared as its manual would: the same fields, the same blocks but for MinHash."""
    import duckdb
    import splink.comparison_library as cl
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    known = [name for name in FIELDS if rows[name].notna().any()]
    comparisons = {
        "given": cl.ForenameSurnameComparison("given", "family"),
        "birth": cl.DamerauLevenshteinAtThresholds("birth", [1, 2]),
        "street": cl.CustomComparison(_ADDRESS, output_column_name="address"),
        "extended": cl.JaroWinklerAtThresholds("extended", [0.9, 0.8]),
        "email": cl.ExactMatch("email"),
        "phone": cl.ExactMatch("phone"),
    }
    settings = SettingsCreator(
        link_type="dedupe_only",
        unique_id_column_name="customer_id",
        comparisons=[each for name, each in comparisons.items() if name in known],
        blocking_rules_to_generate_predictions=[
            block_on(*each.columns) for each in PASSES if set(each.columns) & set(FIELDS) <= set(known)
        ],
        retain_intermediate_calculation_columns=False,
    )
    return Linker(rows, settings, DuckDBAPI(duckdb.connect(config={"threads": CORES})))


def splink_clusters(rows: pd.DataFrame, cuts: tuple[float, ...] = CUTS) -> tuple[float, dict[float, pd.DataFrame]]:
    """Seconds up to the clusters of the first cut, and (customer_id, cluster) at each; trained without labels."""
    from splink import block_on

    begun = time.perf_counter()
    linker = splink_linker(rows)
    linker.training.estimate_probability_two_random_records_match(
        [block_on("given", "family", "birth"), block_on("birth", "postal", "street")], recall=0.6
    )
    linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
    for rule in (
        block_on("given", "family", "birth"),
        block_on("birth", "postal"),
        block_on("street", "house", "given"),
    ):
        linker.training.estimate_parameters_using_expectation_maximisation(rule)
    scored = linker.inference.predict(threshold_match_probability=min(cuts))
    found, took = {}, 0.0
    for cut in cuts:
        clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(scored, cut)
        # As ours does, the result leaves the engine.
        found[cut] = clusters.as_pandas_dataframe()[["customer_id", "cluster_id"]]
        took = took or time.perf_counter() - begun
    return took, found


def judged(found: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    """Precision, recall and F1 over pairs: of (customer_id, a cluster) against (customer_id, person)."""
    cluster = next(x for x in found.columns if x != "customer_id")
    both = truth.merge(found, on="customer_id", validate="one_to_one")
    assert len(both) == len(truth), "every customer has a cluster"

    def pairs(*names: str) -> int:
        sizes = both.groupby(list(names)).size()
        return int((sizes * (sizes - 1) // 2).sum())

    right, said, true = pairs(cluster, "person"), pairs(cluster), pairs("person")
    return {
        "precision": round(right / max(said, 1), 5),
        "recall": round(right / true, 5),
        "f1": round(2 * right / (said + true), 5),
    }


def best(found: dict[float, pd.DataFrame], truth: pd.DataFrame) -> dict[str, float]:
    """The best F1 over the cuts, chosen with the truth: a favour that only the comparator gets."""
    scores = [{"cut": cut, **judged(clusters, truth)} for cut, clusters in found.items()]
    return max(scores, key=lambda x: x["f1"])
