"""200,000 simulated customers, a tenth of them further rows of a person: `resolve_customers` against Splink on DuckDB.

Ours reads the customers from the lake and writes its three tables; it cleans the fields in its own time. Splink gets
the cleaned fields, sounds included, in memory and ends with its clusters as a data frame. Both have two cores.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from benchmarks.harness import median, report, say, side_by_side
from benchmarks.harness.resolving import CUTS, best, judged, prepared, splink_clusters
from common.contracts.customers import CUSTOMERS
from jobs import resolve_customers
from jobs.spark.schema import struct_type
from jobs.spark.session import local_session
from jobs.spark.tables import Lake
from local.jars import fetch
from local.simulator.customers import RegisterConfig, register

WARM_UP = 10_000
OUTPUTS = ("person_links", "persons", "review_queue")


def customers(spark: SparkSession, path: Path, rows: int) -> tuple[DataFrame, DataFrame]:
    """A register as silver/customers, ids and contacts hashed, and its truth (customer_id, person)."""
    pq.write_table(register(RegisterConfig(rows=rows)), path)
    table = spark.read.parquet(str(path)).withColumnRenamed("customer", "customer_id")
    for name, cell in (("customer_id", "customer_id"), ("email_hash", "email"), ("phone_hash", "phone")):
        table = table.withColumn(name, f.concat(f.lit("k1_"), f.left(f.sha2(cell, 256), f.lit(32))))
    given = [f.col(x.name) if x.name in table.columns else f.lit(None) for x in struct_type(CUSTOMERS)]
    typed = [c.cast(x.dataType).alias(x.name) for c, x in zip(given, struct_type(CUSTOMERS), strict=True)]
    named = table.select(*typed).withColumn("source", f.lit("simulated"))
    return named, table.select("customer_id", "person")


def main() -> None:
    """Simulate, run both, judge both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # A plain JVM, as a submitted job has: the sessions of tests save on compiling.
        spark = local_session(
            "benchmark resolve_scale", fetch("delta"), memory="4g", settings={"spark.driver.extraJavaOptions": ""}
        )
        told: dict[str, Any] = {}
        clusters: dict[float, Any] = {}

        def ours(root: str) -> None:
            for name in OUTPUTS:
                shutil.rmtree(Path(root) / "gold" / name, ignore_errors=True)
            told.update(resolve_customers.main(spark, resolve_customers.Args(lake=root)))

        lakes, rows, truths = {}, {}, {}
        for count in {WARM_UP, given.rows}:
            frame, truth = customers(spark, Path(folder) / f"{count}.parquet", count)
            lakes[count] = str(Path(folder) / f"lake{count}")
            Lake(spark, lakes[count]).replace("silver/customers", frame)
            rows[count], truths[count] = prepared(frame), truth.toPandas()
        say(f"simulated {given.rows} customers")
        ours(lakes[WARM_UP])
        splink_clusters(rows[WARM_UP], CUTS[:1])
        raw = side_by_side(
            {
                "dovetail": lambda: ours(lakes[given.rows]),
                "splink": lambda: clusters.update(splink_clusters(rows[given.rows], CUTS[1:2])[1]),
            },
            repetitions=given.repetitions,
            warm_up=False,
        )
        links = Lake(spark, lakes[given.rows]).read("gold/person_links").select("customer_id", "person_id").toPandas()
        spark.stop()
    clusters = splink_clusters(rows[given.rows])[1]
    report(
        "resolve_scale",
        round(median(raw["dovetail"]) / median(raw["splink"]), 3),
        "ratio of seconds",
        "lower",
        "Splink (DuckDB), the same fields and blocks; its F1 at the best of five cuts",
        f"{given.rows} simulated customers, 10 % duplicates; median of {given.repetitions}, warmed up on {WARM_UP}",
        seconds=raw,
        ours=judged(links, truths[given.rows]) | {x: told[x] for x in ("persons", "pairs", "review")},
        splink=best(clusters, truths[given.rows]),
    )


if __name__ == "__main__":
    main()
