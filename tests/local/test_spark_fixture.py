"""The shared Spark session: Delta works in it, and what a test changes is undone after it."""

import pytest

pytestmark = pytest.mark.spark


def test_delta_tables_are_written_and_read(spark, tmp_path):
    path = str(tmp_path / "numbers")
    spark.range(10).write.format("delta").save(path)
    assert spark.read.format("delta").load(path).count() == 10
    spark.conf.set("spark.sql.shuffle.partitions", "7")
    spark.conf.set("dovetail.test.setting", "set")
    spark.range(1).createOrReplaceTempView("left_over")


def test_the_next_test_starts_clean(spark):
    assert spark.conf.get("spark.sql.shuffle.partitions") == "2"
    assert spark.conf.get("dovetail.test.setting", "") == ""
    assert spark.catalog.listTables() == []
