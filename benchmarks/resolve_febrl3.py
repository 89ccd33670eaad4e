"""Febrl 3 (5,000 rows, 2,000 persons): pairwise F1 of `resolve_customers`, without the social security id or a label.

The file is imported by a mapping and resolved by the job with its own defaults; ``rec_id`` is the customer's id, of
which the job sees a pseudonym only, and the truth is taken from it afterwards. Splink gets the same cleaned fields.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.harness import REPOSITORY, report, say, seconds
from benchmarks.harness.resolving import best, judged, prepared, splink_clusters
from common.admission import policy_from_env
from jobs import import_customers, resolve_customers
from jobs.spark.session import local_session
from jobs.spark.tables import Lake
from local.jars import fetch

MAPPING = """
format: csv
options: {ignoreLeadingWhiteSpace: "true", ignoreTrailingWhiteSpace: "true"}
fields:
  customer_id: rec_id
  given_name: given_name
  family_name: surname
  birth_date: date_of_birth
  street_address: {sql: "concat_ws(' ', street_number, address_1)"}
  extended_address: address_2
  locality: suburb
  postal_code: postcode
  region: state
"""


def main() -> None:
    """Import, resolve, judge."""
    data = Path(os.environ.get("DOVETAIL_DATA", REPOSITORY.parent / "shared" / "data")) / "febrl3.csv"
    if not data.is_file():
        sys.exit(f"error: there is no {data}: set DOVETAIL_DATA to the folder of the real data sets")
    os.environ["DOVETAIL_PSEUDONYM_KEY"] = "a key for a benchmark only"
    policy = policy_from_env("DOVETAIL_PSEUDONYM_KEY")
    ids = pd.read_csv(data, usecols=["rec_id"])["rec_id"]
    persons = [int(re.fullmatch(r"rec-(\d+)-.*", x)[1]) for x in ids]  # type: ignore[index]
    truth = pd.DataFrame({"customer_id": [policy.pseudonym("user", x) for x in ids], "person": persons})
    with tempfile.TemporaryDirectory() as folder:
        mapping, root = Path(folder) / "febrl.yaml", str(Path(folder) / "lake")
        mapping.write_text(MAPPING, encoding="utf-8")
        spark = local_session("benchmark resolve_febrl3", fetch("delta"), memory="2g")
        lake = Lake(spark, root)
        counts = import_customers.main(
            spark, import_customers.Args(lake=root, path=str(data), mapping=str(mapping), dataset="febrl3")
        )
        say(f"imported {counts['accepted']} of {counts['rows_in']} rows")
        told = {}
        took = seconds(lambda: told.update(resolve_customers.main(spark, resolve_customers.Args(lake=root))))
        found = judged(lake.read("gold/person_links").select("customer_id", "person_id").toPandas(), truth)
        say(f"resolved: {found}")
        rows = prepared(lake.read("silver/customers"))
        spark.stop()
    splink_took, clusters = splink_clusters(rows)
    report(
        "resolve_febrl3",
        found["f1"],
        "pairwise F1",
        "higher",
        "Splink (DuckDB), the same fields and blocks, at the best of five cuts",
        "Febrl 3 without soc_sec_id, all defaults of the job, no labels; one run",
        ours=found | {"seconds": round(took, 2), "review": told["review"], "persons": told["persons"]},
        splink=best(clusters, truth) | {"seconds": round(splink_took, 2)},
        weights=told["weights"],
    )


if __name__ == "__main__":
    main()
