"""The lake's tables and the views for BI have names, and say what the tables say."""

import pytest
from pyspark.sql import functions as f

from common.errors import ConfigError
from jobs import register
from jobs.spark.bi import VIEWS
from jobs.spark.schema import struct_type
from jobs.spark.tables import TABLES, Lake
from tests.jobs.test_tables import event, frame

pytestmark = pytest.mark.spark


@pytest.fixture
def prefix(spark):
    """A beginning of names that are forgotten afterwards; the data are the lake's."""
    yield "named"
    for layer in (*register.LAYERS, "bi"):
        spark.sql(f"DROP DATABASE IF EXISTS named_{layer} CASCADE")


def test_every_table_and_view_can_be_asked_by_name(spark, built, prefix):
    args = register.Args(lake=built.lake.root, prefix=prefix, lasting=False)
    told = register.main(spark, args)
    made = [table for table in TABLES if built.lake.exists(table)]
    assert told == {
        "tables": len(made),
        "views": [view.name for view in VIEWS if view.name not in ("persons", "segment_sizes")],
        "without_their_tables": ["persons", "segment_sizes"],  # a first night has no earlier segments to look back at
    }
    assert register.main(spark, args) == told
    for table in made:
        name = f"{prefix}_{table.replace('/', '.')}"
        assert spark.table(name).count() == built.lake.read(table).count(), table
    rfm, visitors = built.lake.read("gold/rfm"), spark.table(f"{prefix}_bi.visitors")
    assert visitors.count() == rfm.count() == visitors.where("engagement IS NOT NULL OR recency_days > 29").count()
    sold = spark.table(f"{prefix}_bi.daily_sales").agg(f.sum("gross"), f.sum("net"), f.sum("orders")).first()
    orders = built.lake.read("gold/orders")
    gross, refunded = orders.agg(f.sum("gross"), f.sum("refunded")).first()
    assert tuple(sold) == (gross, gross - refunded, orders.where("lines > 0").count())
    items = spark.table(f"{prefix}_bi.item_sales").agg(f.sum("views"), f.sum("gross")).first()
    bought = f.sum(f.when(f.col("event_type") == "purchase", f.col("price") * f.col("quantity")))
    views = f.count_if((f.col("event_type") == "view") & f.col("item_id").isNotNull())
    assert tuple(items) == tuple(built.lake.read("silver/events").agg(views, bought).first())
    quarantined = spark.table(f"{prefix}_bi.quality").agg(f.sum("rows")).first()[0]
    assert quarantined == built.lake.read("quarantine/events").count() > 0


def test_a_persons_customers_are_summed_together(spark, tmp_path, prefix):
    lake = Lake(spark, str(tmp_path / "lake"))
    rows = [("ann", 1, 2, 3, 10, 1, 9), ("anna", 1, 5, 1, 4, 0, 4), ("bob", 1, 7, 1, 2, 0, 2)]
    names = ["visitor_id", "cut_ms", "recency_days", "frequency", "monetary", "refunded", "net"]
    rfm = spark.createDataFrame(rows, names)
    others = [x for x in struct_type(TABLES["gold/rfm"].contract).fields if x.name not in names]
    rfm = rfm.withColumns({x.name: f.lit(1).cast(x.dataType) for x in others})
    wanted = {x.name: f.col(x.name).cast(x.dataType) for x in struct_type(TABLES["gold/rfm"].contract).fields}
    lake.append("gold/rfm", rfm.withColumns(wanted))
    contract = struct_type(TABLES["gold/person_links"].contract)
    links = spark.createDataFrame([("ann", "p1"), ("anna", "p1"), ("bob", "p2")], ["customer_id", "person_id"])
    more = {x.name: f.lit(None).cast(x.dataType) for x in contract.fields if x.name not in links.columns}
    lake.append("gold/person_links", links.withColumns(more))
    told = register.main(spark, register.Args(lake=lake.root, prefix=prefix, lasting=False))
    assert "persons" in told["views"]
    persons = spark.table(f"{prefix}_bi.persons").orderBy("person_id")
    columns = ["person_id", "customers", "recency_days", "frequency", "monetary", "refunded", "net"]
    assert [tuple(row) for row in persons.select(*columns).collect()] == [
        ("p1", 2, 2, 4, 14, 1, 13),
        ("p2", 1, 7, 1, 2, 0, 2),
    ]


def test_a_name_of_another_lake_and_a_catalog_that_ends_are_refused(spark, tmp_path, prefix):
    for lake in ("one", "other"):
        Lake(spark, str(tmp_path / lake)).append("bronze/events", frame(spark, [event(1)]))
    register.main(spark, register.Args(lake=str(tmp_path / "one"), prefix=prefix, lasting=False))
    with pytest.raises(ConfigError, match=r"named_bronze`\.`events` is a table at .*/one/.* choose another --prefix"):
        register.main(spark, register.Args(lake=str(tmp_path / "other"), prefix=prefix, lasting=False))
    with pytest.raises(ConfigError, match="catalog is in memory and ends with it: give Spark a metastore"):
        register.main(spark, register.Args(lake=str(tmp_path / "one"), prefix=prefix))
