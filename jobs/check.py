"""Check: the gate before publication. Great Expectations judges each table; what fails stops the chain.

The suites stand in jobs/spark/expectations.py: made from contracts and row rules, and written by hand. A checkpoint
runs each on the table's Spark frame, its metrics in one pass; of tables with a partition of days it looks at
the newest. The results are written as Data Docs: they hold counts and the names of broken conditions, never a value.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark.sql import DataFrame, SparkSession

from common.errors import ConfigError, QualityGateFailed
from common.features.windows import DAY_MS, utc_day
from jobs.spark.args import ARGUMENTS, JobArgs, Names, Share
from jobs.spark.reviews import by_rule, open_by_day
from jobs.spark.run import run
from jobs.spark.tables import Lake

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuite, ExpectationSuiteValidationResult
    from great_expectations.data_context import AbstractDataContext

    from jobs.spark.expectations import Declared

SOURCE = "lake"
LEAST_EVENTS = 100
"""Of fewer events no share is told: two of three may be an hour's chance."""

CONDITIONS_TOLD = 100
"""Broken conditions that a result names at most: all there are."""


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Judge the tables of a cut before they are published."""

    tables: Names = ()
    """Tables to judge, separated by commas; empty for all that have a suite and have been made."""

    days: Annotated[int, Field(ge=1, le=3650)] = 2
    """Days before the cut that are looked at in tables that grow by the day."""

    most_quarantined: Share = 0.3
    """Largest share of these days' events that may wait in quarantine; of fewer than a hundred events none is told."""

    docs: str = ""
    """Folder of the Data Docs; empty for quality/ in the lake's folder, none to write none."""


@plain_dataclass(frozen=True)
class Judged:
    """What the suite of one table found."""

    table: str
    expectations: int
    failures: tuple[str, ...]


def declared_tables(names: Iterable[str], lake: Lake) -> "list[Declared]":
    """The declarations of these tables, or of all that have been made; raises ConfigError for one without a suite."""
    from jobs.spark.expectations import DECLARED

    known = {d.table: d for d in DECLARED}
    unknown = sorted(set(names) - known.keys())
    if unknown:
        raise ConfigError(f"--tables: {', '.join(unknown)} has no suite; there are {', '.join(known)}")
    return [known[name] for name in names] or [d for d in DECLARED if lake.exists(d.table)]


def docs_folder(args: Args) -> Path | None:
    """Where the Data Docs go; None where they are not wanted, or the lake is on no local file system."""
    if args.docs == "none" or (not args.docs and "://" in args.lake):
        return None
    return Path(args.docs or f"{args.lake}/quality")


def new_context(docs: Path | None) -> "AbstractDataContext":
    """A context of Great Expectations in memory, without telemetry and progress bars, with a site for Data Docs."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    # It tells each metric it computes.
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    # A frame is not kept: what its expectations need is computed together, in few passes.
    context.data_sources.add_spark(SOURCE, persist=False)
    for name in list(context.list_data_docs_sites()):
        context.delete_data_docs_site(name)
    if docs is not None:
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)}
        index = {"class_name": "DefaultSiteIndexBuilder"}
        site = {"class_name": "SiteBuilder", "store_backend": store, "site_index_builder": index}
        context.add_data_docs_site("docs", site_config=site)
    return context


def judge(context: "AbstractDataContext", name: str, suite: "ExpectationSuite", rows: DataFrame) -> Judged:
    """Run the checkpoint of a suite on the rows of what has this name."""
    import great_expectations as gx

    asset = context.data_sources.get(SOURCE).add_dataframe_asset(name.replace("/", "_"))
    batch = asset.add_batch_definition_whole_dataframe("whole")
    made = context.suites.add(suite)
    validation = context.validation_definitions.add(gx.ValidationDefinition(name=made.name, data=batch, suite=made))

    def checked(most: int) -> "ExpectationSuiteValidationResult":
        # Values of the column fault are names of conditions; of other columns no value is asked for.
        told = {"result_format": "BASIC", "partial_unexpected_count": most}
        name = f"{made.name}_{most}"
        checkpoint = gx.Checkpoint(name=name, validation_definitions=[validation], result_format=told)
        result = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": rows})
        return next(iter(result.run_results.values()))

    # Names are a pass of their own over the rows, for which those that fail alone are asked.
    found = checked(0)
    if not found.success:
        found = checked(CONDITIONS_TOLD)
    return Judged(name, len(found.results), tuple(failures(found)))


def judge_table(context: "AbstractDataContext", declared: "Declared", rows: DataFrame) -> Judged:
    """Judge rows of one table by its suite."""
    from jobs.spark.expectations import judged, suite

    empty = declared.may_be_empty and bool(declared.also) and rows.isEmpty()
    return judge(context, declared.table, suite(declared, empty), judged(rows, declared))


def judge_share(
    context: "AbstractDataContext", lake: Lake, args: Args, waiting: Mapping[tuple[str, date], int]
) -> Judged | None:
    """Judge the share of the newest days' events that wait in quarantine; None where they are too few for one."""
    from jobs.spark.expectations import recent, share_suite

    rules = by_rule(waiting, since=utc_day(args.cut - args.days * DAY_MS))
    quarantined = sum(rules.values())
    cleansed = recent("event_date")(lake.read_or_empty("silver/cleansed"), args.cut, args.days).count()
    total = cleansed + quarantined
    if total < LEAST_EVENTS:
        return None
    columns = "cleansed long, quarantined long, quarantined_share double"
    rows = lake.spark.createDataFrame([(cleansed, quarantined, quarantined / total)], columns)
    found = judge(context, "quarantine/share", share_suite(args.most_quarantined), rows)
    named = ", ".join(f"{rule} {count}" for rule, count in Counter(rules).most_common(3))
    told = tuple(f"{text} of {total} events ({named}), above --most-quarantined" for text in found.failures)
    return replace(found, failures=told)


def failures(result: "ExpectationSuiteValidationResult") -> list[str]:
    """What failed, each in a few words without any value of a row."""
    from jobs.spark.expectations import FAULT

    told = []
    for one in result.results:
        if one.success:
            continue
        config = one.expectation_config
        name = config.type.removeprefix("expect_").replace("_", " ")
        column, seen = config.kwargs.get("column"), one.result
        if column == FAULT:
            names = Counter(seen.get("partial_unexpected_list", []))
            broken = ", ".join(name for name, _ in names.most_common(3))
            told.append(f"{seen.get('unexpected_count', 'some')} of {seen.get('element_count')} rows break {broken}")
        elif "observed_value" in seen and config.type != "expect_table_columns_to_match_set":
            told.append(f"{name}{f' ({column})' if column else ''}: found {seen['observed_value']}")
        else:
            told.append(f"{name}{f' ({column})' if column else ''}")
    return told


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Judge the tables, write the Data Docs; raises QualityGateFailed where a table fails."""
    lake = Lake(spark, args.lake)
    docs = docs_folder(args)
    context = new_context(docs)
    waiting = open_by_day(lake)
    tables = declared_tables(args.tables, lake)
    found = [judge_table(context, d, d.scope(lake.read(d.table), args.cut, args.days)) for d in tables]
    if "quarantine/events" in {declared.table for declared in tables}:
        share = judge_share(context, lake, args, waiting)
        found += [share] if share is not None else []
    if docs is not None:
        context.build_data_docs()
    failed = [one for one in found if one.failures]
    if failed:
        lines = "; ".join(f"{one.table}: {', '.join(one.failures)}" for one in failed)
        where = f"; see {docs}/index.html" if docs is not None else ""
        raise QualityGateFailed(f"the gate stands closed, nothing was published: {lines}{where}")
    told = {"tables": len(found), "expectations": sum(one.expectations for one in found)}
    return told | {"quarantine_open": by_rule(waiting)}


if __name__ == "__main__":
    run(main, Args)
