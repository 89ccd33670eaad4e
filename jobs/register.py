"""Register: the lake's tables, and views for BI over them, by name in the session's catalog.

A tool that speaks SQL finds ``dovetail_gold.rfm`` and ``dovetail_bi.daily_sales`` then; the data stay where they are. A
name is made once and goes on showing what its table holds, so this runs again only where tables or views were added.
"""

from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark.sql import SparkSession

from common.errors import ConfigError
from jobs.spark.args import ARGUMENTS, LakeArgs
from jobs.spark.bi import VIEWS
from jobs.spark.run import run
from jobs.spark.tables import TABLES, Lake

LAYERS = tuple(sorted({name.partition("/")[0] for name in TABLES}))


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(LakeArgs):
    """Give the lake's tables names in the catalog."""

    prefix: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")] = "dovetail"
    """What the databases begin with: <prefix>_silver, <prefix>_gold and so on, and <prefix>_bi for the views."""

    lasting: bool = True
    """Whether a catalog that ends with the session is refused; false to try the views in this session alone."""


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Register each table that has been made, then each view whose tables are there.

    Raises ConfigError where the catalog ends with the session, or a name belongs to another lake.
    """
    if args.lasting and spark.conf.get("spark.sql.catalogImplementation") == "in-memory":
        raise ConfigError(
            "the session's catalog is in memory and ends with it: give Spark a metastore "
            "(--conf spark.sql.catalogImplementation=hive and where it is), or say --lasting false"
        )
    lake = Lake(spark, args.lake)
    layers = {layer: f"`{args.prefix}_{layer}`" for layer in (*LAYERS, "bi")}
    for layer, database in layers.items():
        spark.sql(f"CREATE DATABASE IF NOT EXISTS {database} COMMENT 'Dovetail, {layer}'")
    tables = [table for table in TABLES if lake.exists(table)]
    for table in tables:
        layer, _, name = table.partition("/")
        registered(spark, f"{layers[layer]}.`{name}`", lake.path(table))
    ready = [view for view in VIEWS if view.tables.issubset(tables)]
    for view in ready:
        name = f"{layers['bi']}.`{view.name}`"
        spark.sql(f"CREATE OR REPLACE VIEW {name} COMMENT '{view.doc}' AS {view.sql.format_map(layers)}")
    views, waiting = [view.name for view in ready], [view.name for view in VIEWS if view not in ready]
    return {"tables": len(tables), "views": views, "without_their_tables": waiting}


def registered(spark: SparkSession, name: str, path: str) -> None:
    """Give a Delta table its name; raises ConfigError where the name is of a table elsewhere."""
    literal = path.replace("\\", "\\\\").replace("'", "\\'")
    spark.sql(f"CREATE TABLE IF NOT EXISTS {name} USING DELTA LOCATION '{literal}'")
    where = spark.sql(f"DESCRIBE DETAIL {name}").collect()[0]["location"]
    wanted = spark.sql(f"DESCRIBE DETAIL delta.`{path}`").collect()[0]["location"]
    if where != wanted:
        raise ConfigError(f"{name} is a table at {where}, not of this lake: choose another --prefix")


if __name__ == "__main__":
    run(main, Args)
