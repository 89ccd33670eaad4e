"""Online Retail through import, cleansing, deduplication and RFM: are all answers known beforehand exact?"""

import os
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from benchmarks.harness import report, say
from common.errors import MissingRequirement
from jobs import cleanse, dedup_events, import_events, rfm
from jobs.spark.args import parse_instant
from jobs.spark.session import local_session
from jobs.spark.tables import Lake
from local.jars import fetch
from local.paths import project_root

CUT = "2011-12-10"
KNOWN: dict[str, Any] = {
    "exact duplicate rows": 5_268,
    "rows without a customer": 135_080,
    "sales": 397_884,
    "sales' customers": 4_338,
    "sales' revenue": Decimal("8911407.90"),
    "sales, each once": 392_692,
    "invoices": 18_532,
    "items": 3_665,
    "revenue, each once": Decimal("8887208.89"),
    "recency, median": 50,
    "recency, mean": Decimal("92.06"),
    "frequency, median": 2,
    "frequency, mean": Decimal("4.27"),
    "frequency, most": 209,
    "monetary, median": Decimal("668.57"),
    "monetary, mean": Decimal("2048.69"),
    "monetary, most": Decimal("280206.02"),
}
"""Computed independently of this project, with a snapshot at the cut."""


def answers(spark: SparkSession, root: str, path: str) -> dict[str, Any]:
    """The same figures by the jobs."""
    lake, cut = Lake(spark, root), parse_instant(CUT)
    imported = import_events.main(spark, import_events.Args(lake=root, format="online_retail", path=path))
    cleanse.main(spark, cleanse.Args(lake=root, cut=cut))
    dedup_events.main(spark, dedup_events.Args(lake=root, cut=cut))
    rfm.main(spark, rfm.Args(lake=root, cut=cut))
    revenue = f.sum(f.col("price") * f.col("quantity"))
    sales, once = (
        lake.read(table)
        .where("event_type = 'purchase'")
        .agg(
            f.count("*").alias("rows"),
            f.count_distinct("visitor_id").alias("customers"),
            f.count_distinct("order_id").alias("invoices"),
            f.count_distinct("item_id").alias("items"),
            revenue.alias("revenue"),
        )
        .collect()[0]
        for table in ("silver/cleansed", "silver/events")
    )
    # A row that lacks more than its customer is rejected for what the gate saw first; its bytes are kept.
    raw = f.col("raw").cast("string")
    nameless = lake.read("bronze/rejections").where(f.get_json_object(raw, "$.user_id").isNull()).count()
    scores = lake.read("gold/rfm")
    names = ("recency_days", "frequency", "monetary")
    middle = [f.percentile(f.col(name).cast("double"), f.lit(0.5)) for name in names]
    row = scores.agg(*middle, *(f.avg(name) for name in names), *(f.max(name) for name in names)).collect()[0]
    return {
        "exact duplicate rows": imported["exact_duplicate_rows"],
        "rows without a customer": nameless,
        "sales": sales["rows"],
        "sales' customers": sales["customers"],
        "sales' revenue": sales["revenue"],
        "sales, each once": once["rows"],
        "invoices": once["invoices"],
        "items": once["items"],
        "revenue, each once": once["revenue"],
        "recency, median": row[0],
        "recency, mean": row[3],
        "frequency, median": row[1],
        "frequency, mean": row[4],
        "frequency, most": row[7],
        "monetary, median": row[2],
        "monetary, mean": row[5],
        "monetary, most": row[8],
    }


def is_exact(found: Any, known: Any) -> bool:
    """Whether a figure is the known one, to as many decimals as are known."""
    return round(Decimal(str(found)), max(0, -int(Decimal(known).as_tuple().exponent))) == known


def main() -> None:
    """Compute, compare, report."""
    folder = Path(os.environ.get("DOVETAIL_DATA") or project_root().parent / "shared" / "data")
    path = folder / "online_retail.parquet"
    if not path.is_file():
        raise MissingRequirement(f"there is no {path}: set DOVETAIL_DATA to the folder that has it")
    os.environ.setdefault("DOVETAIL_PSEUDONYM_KEY", "a key for benchmarks only, of no value")
    spark = local_session("rfm_known", fetch("delta"), memory="3g")
    with tempfile.TemporaryDirectory() as lake:
        found = answers(spark, lake, str(path))
    spark.stop()
    wrong = {name: str(found[name]) for name, known in KNOWN.items() if not is_exact(found[name], known)}
    for name, value in wrong.items():
        say(f"{name}: {value} and not {KNOWN[name]}")
    report(
        "rfm_known",
        int(not wrong),
        "1 when all are exact",
        "higher",
        "answers computed independently",
        f"Online Retail through import_events, cleanse, dedup_events, rfm at {CUT}; {len(KNOWN)} figures",
        answers={name: str(value) for name, value in found.items()},
        wrong=wrong,
    )


if __name__ == "__main__":
    main()
