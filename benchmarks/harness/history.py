"""A shop's silver events of many days, made by Spark from a seed, and the gold jobs that follow them."""

import shutil
from pathlib import Path
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

from common.contracts.events import SILVER_EVENTS
from common.features.groups import GROUPS
from common.features.windows import DAY_MS
from jobs import features, rfm, sessionize, visitor_features
from jobs.spark.schema import data_type
from jobs.spark.tables import Lake

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: the first day of every history."""

ITEMS, CATEGORIES, TASTES = 5_000, 40, 4
TABLES = (
    "gold/sessions",
    "gold/orders",
    "gold/rfm",
    "gold/visitor_features",
    *(f"gold/{group.table}" for group in GROUPS.values()),
)
"""What the jobs make."""

JOBS: tuple[tuple[Any, Any], ...] = (
    (features.main, features.Args),
    (sessionize.main, sessionize.Args),
    (rfm.main, rfm.Args),
    (visitor_features.main, visitor_features.Args),
)


def day_start(day: int) -> int:
    """The instant at which a day of the history begins, counted from 0."""
    return START_MS + day * DAY_MS


def _draw(seed: int, below: int) -> Column:
    return f.pmod(f.xxhash64("id", f.lit(seed)), f.lit(below))


def events(
    spark: SparkSession,
    first_day: int,
    days: int,
    each_day: int,
    visitors: int,
    seed: int,
    active: int | None = None,
) -> DataFrame:
    """Rows of silver/events: ``each_day`` events on each day, of visitors drawn from so many; ``active`` of them a day.

    A visitor comes at a few times of a day, so that events make sessions, and keeps to a few categories; a day's
    purchases of one are one order.
    """
    drawn = spark.range(days * each_day).select(
        "id",
        (f.col("id") % days + first_day).cast("long").alias("day"),
        _draw(seed, active or visitors).alias("visitor"),
        _draw(seed + 1, ITEMS // CATEGORIES).alias("of_category"),
        _draw(seed + 5, TASTES).alias("taste"),
        _draw(seed + 2, 100).alias("kind"),
        _draw(seed + 3, 1_200_000).alias("within"),
        _draw(seed + 4, 3).alias("quantity"),
    )
    if active is not None:
        drawn = drawn.withColumn("visitor", f.pmod(f.xxhash64("day", "visitor"), f.lit(visitors)))
    kind = f.expr(
        "CASE WHEN kind < 70 THEN 'view' WHEN kind < 85 THEN 'cart' WHEN kind < 92 THEN 'search'"
        " WHEN kind < 99 THEN 'purchase' ELSE 'refund' END"
    )
    # An item's category is its number modulo the categories; a visitor's tastes follow from the visitor alone.
    category = f.pmod(f.xxhash64("visitor", "taste"), f.lit(CATEGORIES))
    # The hour of a visitor's session on a day follows from both; the events lie within twenty minutes of it.
    hour = f.pmod(f.xxhash64("visitor", "day"), f.lit(24)) * 3_600_000
    made = drawn.withColumns(
        {
            "event_type": kind,
            "item": (f.col("of_category") * CATEGORIES + category).cast("long"),
            "event_ms": f.lit(START_MS) + f.col("day") * DAY_MS + hour + f.col("within"),
            "sold": kind.isin("purchase", "refund"),
        }
    )
    at = f.col("event_ms")
    known = {
        "event_id": f.concat(f.lit(f"e{seed}-"), "id"),
        "event_type": f.col("event_type"),
        "visitor_id": f.concat(f.lit("k1_visitor_"), "visitor"),
        "item_id": f.concat(f.lit("item_"), "item"),
        "category": f.concat(f.lit("c"), f.pmod("item", f.lit(CATEGORIES))),
        "price": (f.col("item") % 200 + 1).cast("decimal(18,4)"),
        "quantity": f.when(f.col("sold"), (f.col("quantity") + 1).cast("int")),
        "order_id": f.when(f.col("sold"), f.concat_ws("-", "visitor", "day")),
        "line": f.when(f.col("sold"), f.lit(1)),
        "event_ms": at,
        "ingest_ms": at,
        "topic": f.lit("events"),
        "partition": f.lit(0),
        "offset": f.col("id") + f.lit(seed * 1_000_000_000),
        "late": f.lit(False),
        "event_date": f.to_date(f.timestamp_millis(at)),
    }
    nothing = f.lit(None)
    return made.select(
        *(known.get(x.name, nothing).cast(data_type(x.kind)).alias(x.name) for x in SILVER_EVENTS.fields)
    ).hint("rebalance", f.col("event_date"))


def bring(spark: SparkSession, root: str, cut_ms: int) -> dict[str, Any]:
    """Run the gold jobs for a cut, one after the other; what each counted."""
    return {main.__module__: main(spark, args(lake=root, cut=cut_ms)) for main, args in JOBS}


def copied(source: Path, target: Path) -> str:
    """A folder under another name, so that a day can be taken again from the same state."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return str(target)


def digest(spark: SparkSession, root: str, more: tuple[str, ...] = ()) -> dict[str, tuple[Any, ...]]:
    """Of each gold table, and further ones, the number of rows, and two sums over the hash of each whole row."""
    lake, found = Lake(spark, root), {}
    for table in (*TABLES, *more):
        rows = lake.read(table)
        # A map has no hash of its own: its entries have, in the order of the keys.
        maps = {x.name for x in rows.schema.fields if x.dataType.typeName() == "map"}
        whole = [f.array_sort(f.map_entries(n)) if n in maps else f.col(n) for n in sorted(rows.columns)]
        hashed = f.xxhash64(*whole)
        row = rows.agg(f.count("*"), f.sum(hashed.cast("decimal(38,0)")), f.bit_xor(hashed)).first()
        assert row is not None
        found[table] = tuple(row)
    return found
