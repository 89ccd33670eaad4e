"""The chain day by day, each day's tables against a recompute from scratch: 30 simulated days and 20 real ones.

Not a race: the headline is how many tables of how many days differ from the recompute, and must be 0. Beside it stand
the seconds of both. ``--simulated N`` and ``--real N`` shorten it, 0 leaves one out.
"""

import argparse
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from benchmarks.harness import report, say, seconds
from benchmarks.harness.history import day_start, digest, events
from common.features.windows import DAY_MS
from jobs import chain, import_events
from jobs.spark.args import parse_instant
from jobs.spark.session import local_session
from jobs.spark.tables import Lake
from local.jars import fetch
from local.paths import project_root

SKIPPED = ("land", "train_als", "similar_items", "segment", "memberships", "personas", "recommend", "parity", "publish")
"""What follows yesterday's model and segments on purpose, what needs servers, and lists made whole each night."""

MORE = ("silver/cleansed", "quarantine/events", "silver/events", "silver/items")
"""Compared besides the tables that are brought up to a cut by what changed."""

RETAIL_FIRST = "2010-12-01"


def simulated(spark: SparkSession, source: Lake, days: int) -> tuple[list[int], DataFrame]:
    """The ends of the days, and the rows of bronze: some come late, some twice, some break a rule."""
    rows = events(spark, 0, days, 3_000, 1_000, seed=3)
    luck = f.pmod(f.xxhash64("event_id"), f.lit(100))
    late = f.when(luck < 4, luck * 9 * 3_600_000).otherwise(f.lit(0))
    rows = rows.withColumns(
        {
            "ingest_ms": f.col("event_ms") + late,
            "price": f.when(luck == 50, f.lit(0).cast("decimal(18,4)")).otherwise(f.col("price")),
        }
    )
    twice = rows.where(luck == 60).withColumn("offset", f.col("offset") + 1_000_000_000)
    source.append("bronze/events", rows.unionByName(twice))
    return [day_start(day + 1) for day in range(days)], source.read("bronze/events")


def real(spark: SparkSession, source: Lake, days: int) -> tuple[list[int], DataFrame]:
    """The ends of the first days of Online Retail, and its rows."""
    folder = Path(os.environ.get("DOVETAIL_DATA") or project_root().parent / "shared" / "data")
    path = folder / "online_retail.parquet"
    os.environ.setdefault("DOVETAIL_PSEUDONYM_KEY", "a key for benchmarks only, of no value")
    first = parse_instant(RETAIL_FIRST)
    args = import_events.Args(lake=source.root, format="online_retail", path=str(path), until=first + days * DAY_MS)
    import_events.main(spark, args)
    return [first + (day + 1) * DAY_MS for day in range(days)], source.read("bronze/events")


def arrived(rows: DataFrame, since_ms: int, until_ms: int) -> DataFrame:
    """What reached bronze in a span of time."""
    return rows.where((f.col("ingest_ms") >= since_ms) & (f.col("ingest_ms") < until_ms))


def run_chain(spark: SparkSession, root: str, cut_ms: int, *skipped: str) -> None:
    """The nightly chain, as far as it is told without servers and models."""
    chain.main(spark, chain.Args(lake=root, cut=cut_ms, skip=(*SKIPPED, *skipped), tracking_uri="none"))


def compare(spark: SparkSession, folder: Path, cuts: list[int], rows: DataFrame) -> dict[str, Any]:
    """Run each day on the one lake and everything on another; which tables differ, and how long both took."""
    daily = Lake(spark, str(folder / "daily"))
    different, took, before = [], {"daily": list[float](), "scratch": list[float]()}, 0
    for number, cut in enumerate(cuts, 1):
        daily.append("bronze/events", arrived(rows, before, cut))
        took["daily"].append(seconds(partial(run_chain, spark, daily.root, cut)))
        # A folder of its own for each day: Delta remembers what it saw under a path.
        whole = Lake(spark, str(folder / f"whole-{number}"))
        whole.append("bronze/events", daily.read("bronze/events"))
        took["scratch"].append(seconds(partial(run_chain, spark, whole.root, cut, "check")))
        found, expected = (digest(spark, lake.root, more=MORE) for lake in (daily, whole))
        wrong = [f"day {number}: {table}" for table in expected if found[table] != expected[table]]
        different += wrong
        shutil.rmtree(whole.root)
        times = f"{took['daily'][-1]:.1f} s, from scratch {took['scratch'][-1]:.1f} s"
        say(f"day {number} of {len(cuts)}: {times}, {', '.join(wrong) or 'equal'}")
        before = cut
    return {"days": len(cuts), "different": different, "seconds": took}


def main() -> None:
    """Run, compare, report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--simulated", type=int, default=30)
    parser.add_argument("--real", type=int, default=20)
    args = parser.parse_args()
    spark = local_session("daily", fetch("delta"), memory="3g", settings={"spark.driver.extraJavaOptions": ""})
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, days, source in (("simulated", args.simulated, simulated), ("real", args.real, real)):
            if days:
                cuts, rows = source(spark, Lake(spark, f"{folder}/{name}/source"), days)
                found[name] = compare(spark, Path(folder) / name, cuts, rows)
    spark.stop()
    report(
        "daily",
        sum(len(one["different"]) for one in found.values()),
        "tables that differ",
        "lower",
        "every table recomputed from scratch each day",
        f"{args.simulated} simulated days (late, doubled and faulty rows) and {args.real} days of Online Retail; "
        "cleanse, dedup_events, catalogue, sessionize, features, rfm, visitor_features and the gate; equal to the row",
        **found,
    )
    if any(one["different"] for one in found.values()):
        raise SystemExit("error: tables differ from a recompute: see above")


if __name__ == "__main__":
    main()
