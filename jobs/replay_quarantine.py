"""Replay of the quarantine: after a rule or its data was mended, quarantined events come before the rules again.

An event that meets every rule now goes to silver/cleansed under its own topic, partition and offset; one that breaks
another rule than before is filed under that; the rest stays. Every row is in one of the two tables before and after:
what was tried is what moved, what was filed anew and what stays. What a review has discarded is not tried.
"""

from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession

from common.errors import ConfigError
from common.rules import RULES
from jobs.cleanse import good, judged, quarantined
from jobs.spark.args import ARGUMENTS, LakeArgs, Names
from jobs.spark.reviews import OPEN, chosen, replayed, reviewed
from jobs.spark.run import alone, run, this_run
from jobs.spark.tables import Lake


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(LakeArgs):
    """Judge quarantined events again."""

    rules: Names = ()
    """Only what broke these rules, separated by commas; empty for all."""

    topic: str = ""
    """Only records of this topic, such as events or import:shop; empty for all."""

    by: Annotated[str, Field(max_length=80)] = ""
    """Who wants it, for the book of reviews; may be left empty."""

    why: Annotated[str, Field(max_length=600)] = ""
    """What was mended, for those who come later. No personal data: it is kept. May be left empty."""


def again(rows: DataFrame) -> DataFrame:
    """The rows judged once more: ``rule`` as of now, ``was`` as it was filed."""
    return judged(rows.withColumnRenamed("rule", "was"))


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Judge again and move what passes; every row tried is moved, filed anew or stays."""
    lake = Lake(spark, args.lake)
    with alone(args.lake, "cleanse"):
        filed = {row["rule"] for row in lake.read("quarantine/events").select("rule").distinct().collect()}
        unknown = sorted(set(args.rules) - filed - {rule.name for rule in RULES})
        if unknown:
            raise ConfigError(
                f"--rules: {', '.join(unknown)} is no rule; there are {', '.join(sorted(filed))} to replay"
            )
        tried = again(chosen(reviewed(lake), OPEN, args.rules, args.topic).drop("state"))
        tried.persist(StorageLevel.MEMORY_AND_DISK)
        try:
            passed, other = good(tried), quarantined(tried).where("rule != was").drop("was")
            counts = {"tried": tried.count(), "passed": passed.count(), "filed_anew": other.count()}
            moved = 0
            if counts["passed"]:
                # First in, then out: a run that fails between the two leaves a copy, and the next run removes it.
                moved = lake.insert_new("silver/cleansed", passed).inserted
                replayed(lake, passed.withColumnRenamed("was", "rule"), this_run(), args.by, args.why)
                lake.remove("quarantine/events", passed)
            if counts["filed_anew"]:
                lake.upsert("quarantine/events", other)
            stays = counts["tried"] - counts["passed"] - counts["filed_anew"]
            return counts | {"moved": moved, "stays": stays}
        finally:
            tried.unpersist()


if __name__ == "__main__":
    run(main, Args)
