"""Online Retail through the real chain gives the answers that were computed independently of it."""

from decimal import Decimal

import pytest
from pyspark.sql import functions as f

from jobs import cleanse, dedup_events, import_events, rfm
from jobs.spark.args import parse_instant
from jobs.spark.tables import Lake

pytestmark = [pytest.mark.spark, pytest.mark.timeout(900)]

CUT_MS = parse_instant("2011-12-10")


@pytest.fixture(scope="module")
def lake(_spark_session, data_dir, tmp_path_factory):
    lake = Lake(_spark_session, str(tmp_path_factory.mktemp("online-retail")))
    path = str(data_dir / "online_retail.parquet")
    imported = import_events.main(_spark_session, import_events.Args(lake=lake.root, format="online_retail", path=path))
    assert (imported["rows_in"], imported["rejected"]) == (541_909, 135_080)
    assert imported["exact_duplicate_rows"] == 5_268
    cleansed = cleanse.main(_spark_session, cleanse.Args(lake=lake.root, cut=CUT_MS))
    assert cleansed["rows_in"] == imported["accepted"] == cleansed["good"] + cleansed["quarantined"]
    assert cleansed["rules"] == {"sale_price_is_positive": 40}
    merged = dedup_events.main(_spark_session, dedup_events.Args(lake=lake.root, cut=CUT_MS))
    assert merged["rows_in"] == cleansed["good"] == merged["inserted"] + merged["duplicates"]
    rfm.main(_spark_session, rfm.Args(lake=lake.root, cut=CUT_MS))
    return lake


def test_purchases_are_the_known_ones(lake):
    found = (
        lake.read("silver/events")
        .where(f.col("event_type") == "purchase")
        .agg(
            f.count("*").alias("rows"),
            f.count_distinct("order_id").alias("invoices"),
            f.count_distinct("item_id").alias("items"),
            f.count_distinct("visitor_id").alias("customers"),
            f.sum(f.col("price") * f.col("quantity")).alias("revenue"),
            f.count_if(f.col("line") == 1).alias("first_lines"),
        )
        .first()
    )
    assert (found["rows"], found["invoices"], found["items"], found["customers"]) == (392_692, 18_532, 3_665, 4_338)
    assert found["revenue"].quantize(Decimal("0.01")) == Decimal("8887208.89")
    assert found["first_lines"] == found["invoices"], "the feature orders counts first lines"


def test_rfm_figures_are_the_known_ones(lake):
    row = (
        lake.read("gold/rfm")
        .agg(
            f.percentile("recency_days", f.lit(0.5)).alias("r_median"),
            f.avg("recency_days").alias("r_mean"),
            f.percentile("frequency", f.lit(0.5)).alias("f_median"),
            f.avg("frequency").alias("f_mean"),
            f.max("frequency").alias("f_max"),
            f.percentile(f.col("monetary").cast("double"), f.lit(0.5)).alias("m_median"),
            f.avg("monetary").alias("m_mean"),
            f.max("monetary").alias("m_max"),
        )
        .first()
    )
    assert (row["r_median"], round(row["r_mean"], 2)) == (50, 92.06)
    assert (row["f_median"], round(row["f_mean"], 2), row["f_max"]) == (2, 4.27, 209)
    assert (round(row["m_median"], 2), round(row["m_mean"], 2)) == (668.57, Decimal("2048.69"))
    assert row["m_max"] == Decimal("280206.02")
