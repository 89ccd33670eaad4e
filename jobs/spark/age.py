"""Bands of age in Spark: common.age.age_band as an expression, and the band of each customer."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f

from common.age import BANDS, DATE, OLDEST
from common.features.windows import utc_day
from jobs.spark.tables import Lake


def age_band(birth_date: Column, at_ms: int) -> Column:
    """As common.age.age_band."""
    born = f.when(birth_date.rlike(rf"\A{DATE}\z"), birth_date.try_cast("date"))
    at = utc_day(at_ms)
    to_come = f.month(born) * 100 + f.day(born) > at.month * 100 + at.day
    years = f.lit(at.year) - f.year(born) - to_come.cast("int")
    ends = [start for start, _ in BANDS[1:]] + [OLDEST + 1]
    band = f.when(years < 0, f.lit(None))
    for (_, name), end in zip(BANDS, ends, strict=True):
        band = band.when(years < end, name)
    return band


def age_bands(lake: Lake, cut_ms: int) -> DataFrame:
    """visitor_id and age_band, at the cut, of each customer whose age is known; none where no customers are there."""
    customers = lake.read_or_empty("silver/customers")
    bands = customers.select(
        f.col("customer_id").alias("visitor_id"), age_band(f.col("birth_date"), cut_ms).alias("age_band")
    )
    return bands.where(f.col("age_band").isNotNull())
