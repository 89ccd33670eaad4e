"""The catalogue: silver/items from a shop's own file, or else from what the events tell of their items."""

from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from common.contracts.catalogue import ITEMS
from common.contracts.events import UNKNOWN_CATEGORY
from common.errors import ContractError, MissingRequirement
from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.before import events_before
from jobs.spark.readers import lacks_columns, require_members
from jobs.spark.run import run
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Make the catalogue."""

    catalogue: str = ""
    """Parquet or JSON lines with item_id, title, category, price, currency; empty to use what events tell alone."""


def from_events(events: DataFrame, cut_ms: int) -> DataFrame:
    """What events before the cut tell of each item: its newest title, category and price, each where given."""
    told = events.where(f.col("item_id").isNotNull() & (f.col("event_ms") < cut_ms))
    order = f.struct("event_ms", "event_id")
    title = f.col("properties")["title"]
    category = f.when(f.col("category") != UNKNOWN_CATEGORY, f.col("category"))
    return told.groupBy("item_id").agg(
        f.coalesce(f.max_by(title, f.when(title.isNotNull(), order)), f.col("item_id")).alias("title"),
        f.coalesce(f.max_by(category, f.when(category.isNotNull(), order)), f.lit(UNKNOWN_CATEGORY)).alias("category"),
        f.max_by("price", f.when(f.col("price").isNotNull(), order)).alias("price"),
        f.max_by("currency", f.when(f.col("currency").isNotNull(), order)).alias("currency"),
        f.max("event_ms").alias("updated_ms"),
    )


def from_file(spark: SparkSession, path: str, cut_ms: int) -> DataFrame:
    """The catalogue's file; raises ContractError where it lacks a column, a line is no item or an item comes twice."""
    if "://" not in path and not Path(path).exists():
        raise MissingRequirement(f"there is no catalogue {path}: correct --catalogue")
    given = [x for x in struct_type(ITEMS) if x.name != "updated_ms"]
    if path.endswith(".parquet"):
        table = spark.read.parquet(path)
        missing = [x.name for x in given if x.name not in table.columns]
        if missing:
            raise lacks_columns(f"catalogue {path}", missing, table.columns)
        items = table.select(*(f.col(x.name).cast(x.dataType).alias(x.name) for x in given))
    else:
        require_members(spark.read.text(path), f"catalogue {path}", [x.name for x in given])
        schema = ", ".join(f"{x.name} {x.dataType.simpleString()}" for x in given)
        items = spark.read.json(path, schema=schema, mode="PERMISSIVE")
    items = items.withColumns(
        {
            "title": f.coalesce("title", "item_id"),
            "category": f.coalesce("category", f.lit(UNKNOWN_CATEGORY)),
            "updated_ms": f.lit(cut_ms).cast("long"),
        }
    )
    bad = items.agg(
        f.count_if(f.col("item_id").isNull()).alias("nameless"),
        (f.count("item_id") - f.count_distinct("item_id")).alias("twice"),
    ).first()
    assert bad is not None
    if bad["nameless"] or bad["twice"]:
        raise ContractError(
            f"catalogue {path}: {bad['nameless']} rows without an item_id and {bad['twice']} with one given before: "
            "name each item once"
        )
    return items


def combined(own: DataFrame, told: DataFrame) -> DataFrame:
    """The shop's own rows, and events' word for items that it does not list."""
    return own.unionByName(told.join(own.select("item_id"), "item_id", how="left_anti"))


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Make the catalogue anew."""
    lake = Lake(spark, args.lake)
    items = from_events(events_before(lake, args.cut), args.cut)
    if args.catalogue:
        items = combined(from_file(spark, args.catalogue, args.cut).select(*ITEMS.names), items.select(*ITEMS.names))
    return {"items": lake.replace("silver/items", items.coalesce(1)).inserted}


if __name__ == "__main__":
    run(main, Args)
