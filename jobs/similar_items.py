"""Items alike: by the visitors who took up both, and by what the catalogue says of them.

They are further candidates for visitors' lists, and for an item's own; the second kind needs no event, so it knows new
items too.
"""

from functools import reduce
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from jobs.spark.args import ARGUMENTS, JobArgs
from jobs.spark.before import events_before
from jobs.spark.interactions import item_events, pairs
from jobs.spark.neighbours import CONTENT, COOCCURRENCE, NEAREST, content, cooccurrence
from jobs.spark.run import run
from jobs.spark.tables import Lake


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Find the items most like each, from the events before the cut and the catalogue."""

    nearest: Annotated[int, Field(ge=1, le=1000)] = NEAREST
    """Neighbours kept of an item, for each source."""


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Find them by each source; rows of each."""
    lake = Lake(spark, args.lake)
    weighed = item_events(events_before(lake, args.cut), args.cut)
    sources = {
        COOCCURRENCE: cooccurrence(pairs(weighed), args.nearest),
        CONTENT: content(lake.read("silver/items"), args.nearest),
    }
    rows = reduce(DataFrame.unionByName, (found.withColumn("source", f.lit(name)) for name, found in sources.items()))
    lake.replace("gold/similar_items", rows.withColumn("cut_ms", f.lit(args.cut).cast("long")))
    counted = lake.read("gold/similar_items").groupBy("source").agg(f.count("*").alias("n")).collect()
    return {name: 0 for name in sources} | {row["source"]: row["n"] for row in counted}


if __name__ == "__main__":
    run(main, Args)
