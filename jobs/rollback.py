"""Rollback: the lake's tables, and the pointer to the live views, as they were after a run.

gold/runs says which versions a run read and wrote. Each table that it made or read goes back to that version by one
more commit, so nothing is lost and a rollback can itself be rolled back; bronze stays, since it is what came in, and
customers go back with an import of theirs alone. The pointer goes to the batch version that the run published, where it
published one and that is still kept: two behind the live one are, and those that rollbacks came back from until
something is published. Whether it is, is looked at before any table goes back.
"""

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as f

from common.errors import ConfigError
from jobs.spark.args import ARGUMENTS, CassandraArgs, LakeArgs, cluster_spec
from jobs.spark.run import alone, run
from jobs.spark.tables import TABLES, Lake
from views.connect import connected
from views.versions import BatchVersions

STAY = ("bronze/", "quarantine/reviews", "gold/runs", "gold/parity")
"""Tables that no rollback touches: what came in, what people decided about it, and what is known about runs."""

BROUGHT_IN = ("silver/customers",)
"""Tables that files bring in beside the chain: no run that merely read one takes back what came since."""


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(LakeArgs, CassandraArgs):
    """Go back to what a run left."""

    run: Annotated[str, Field(pattern=r"^([0-9T]{15}-[0-9a-f]{8})?$")] = ""
    """The run's id, as in gold/runs: of a chain it names all its steps. Empty to be told the last ones."""

    pointer: bool = True
    """Whether the pointer goes back too; false for the lake alone."""


def versions_after(steps: Iterable[Row]) -> dict[str, int]:
    """The version of each table that a run wrote, else read; raises ConfigError where a step of it failed."""
    found: dict[str, int] = {}
    for step in steps:
        if step["outcome"] != "ok":
            raise ConfigError(
                f"--run: {step['job']} of that run ended with {step['outcome']}: choose one that ended well"
            )
        reads = [(table, version) for table, version in step["reads"].items() if table not in BROUGHT_IN]
        for table, version in (*reads, *step["writes"].items()):
            if table in TABLES and not table.startswith(STAY):
                found[table] = max(version, found.get(table, version))
    return found


def published(steps: Iterable[Row]) -> str | None:
    """The batch version of the views that the run published, if any."""
    for step in steps:
        if step["job"] == "publish":
            return str(step["version"])
    return None


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Restore the tables, then the pointer.

    ``live`` in the counts is the batch version that the pointer names at the end, None where it was not looked at;
    ``not_kept`` the one that the run published and that is gone, so that the views stay as they are.
    """
    lake = Lake(spark, args.lake)
    runs = lake.read("gold/runs")
    ours = runs.where(f.col("run_id") == args.run)
    steps = ours.withColumn("version", f.get_json_object("counts", "$.version")).collect()
    if not steps:
        newest = runs.groupBy("run_id").agg(f.max("started_ms").alias("at")).orderBy(f.desc("at")).limit(5).collect()
        last = ", ".join(row["run_id"] for row in newest)
        raise ConfigError(f"--run: {f'there is no run {args.run}' if args.run else 'name a run'}; the last are {last}")
    versions = versions_after(steps)
    if not versions:
        raise ConfigError(f"--run: run {args.run} ({steps[0]['job']}) read and wrote no table that could go back")
    version = published(steps) if args.pointer else None
    jobs = {TABLES[table].made_by for table in versions} | (set() if version is None else {"publish"})
    restored = {}
    with ExitStack() as held:
        for job in sorted(jobs):
            held.enter_context(alone(args.lake, job))
        views = None if version is None else BatchVersions(held.enter_context(connected(cluster_spec(args))))
        kept = [] if views is None else views.kept()
        for table, at in sorted(versions.items()):
            if lake.version(table) != at:
                lake.restore(table, at)
                restored[table] = at
        if views is None or version is None:
            return {"restored": restored, "live": None, "not_kept": None}
        current = views.rollback(version) if version in kept else views.live()
    live = None if current is None else current.live
    if live != version:
        print(
            f"the tables are as run {args.run} left them, the views stay at {live or 'nothing'}: "
            f"batch version {version} is not kept any more; run publish for its cut",
            file=sys.stderr,
            flush=True,
        )
    return {"restored": restored, "live": live, "not_kept": None if live == version else version}


if __name__ == "__main__":
    run(main, Args)
