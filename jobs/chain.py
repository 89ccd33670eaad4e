"""The nightly chain: every job of a cut in one session, up to the first failure.

Each step is the job's own ``main`` with the job's own defaults, and begins once the steps it needs are done; steps that
do not need each other run at once, since a small job waits for Spark's driver more than it computes. After a failure
no step begins any more, so nothing is published, and the last good version stays live.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass
from pyspark.sql import SparkSession

from common.errors import ConfigError
from jobs import (
    catalogue,
    check,
    cleanse,
    dedup_events,
    features,
    land,
    memberships,
    parity,
    personas,
    publish,
    recommend,
    rfm,
    segment,
    sessionize,
    similar_items,
    train_als,
    visitor_features,
)
from jobs.spark.args import ARGUMENTS, CassandraArgs, JobArgs, Names, build
from jobs.spark.run import Main, Run, alone, job_name, measured, record, run, this_run


@plain_dataclass(frozen=True)
class Step:
    """One job of the chain."""

    main: Main
    args: type[Any]
    after: tuple[str, ...] = ()
    """Steps that must be done before; one that is skipped counts as done."""

    @property
    def name(self) -> str:
        """The job's name."""
        return job_name(self.main)


STEPS: tuple[Step, ...] = (
    Step(land.main, land.Args),
    Step(cleanse.main, cleanse.Args, ("land",)),
    Step(dedup_events.main, dedup_events.Args, ("cleanse",)),
    Step(catalogue.main, catalogue.Args, ("dedup_events",)),
    Step(train_als.main, train_als.Args, ("dedup_events", "catalogue")),
    Step(sessionize.main, sessionize.Args, ("dedup_events",)),
    Step(features.main, features.Args, ("dedup_events",)),
    Step(rfm.main, rfm.Args, ("dedup_events",)),
    Step(visitor_features.main, visitor_features.Args, ("dedup_events",)),
    Step(segment.main, segment.Args, ("rfm",)),
    Step(memberships.main, memberships.Args, ("sessionize", "features")),
    Step(personas.main, personas.Args, ("segment",)),
    Step(similar_items.main, similar_items.Args, ("dedup_events", "catalogue")),
    Step(recommend.main, recommend.Args, ("train_als", "similar_items")),
    Step(parity.main, parity.Args, ("dedup_events",)),
    Step(
        check.main,
        check.Args,
        ("sessionize", "features", "visitor_features", "segment", "memberships", "personas", "recommend"),
    ),
    Step(publish.main, publish.Args, ("sessionize", "features", "rfm", "segment", "recommend", "check", "parity")),
)
"""The chain: an order in which each step stands behind those it needs, the long ones early."""


def _by_step(text: str) -> str:
    try:
        given = json.loads(text or "{}")
    except ValueError as error:
        raise ValueError(f'{str(error).lower()}; write it as {{"train_als": {{"rank": 64}}}}') from None
    if not isinstance(given, dict) or not all(isinstance(own, dict) for own in given.values()):
        raise ValueError('an object of objects is wanted: {"train_als": {"rank": 64}}')
    if unknown := sorted(given.keys() - {step.name for step in STEPS}):
        raise ValueError(f"{', '.join(unknown)} is no step of the chain")
    return text


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs, CassandraArgs):
    """Run the nightly chain for a cut."""

    archive: str = ""
    """Root folder of the stream's archive; empty to land nothing, where history was imported alone."""

    kafka: str = ""
    """HOST:PORT of the broker that is asked whether the cut is complete; empty to land without asking."""

    topic: str = "events"
    """The topic that the stream reads and archives."""

    catalogue: str = ""
    """The shop's own catalogue; empty to use what events tell alone."""

    generation: str = ""
    """The speed generation that parity compares; empty for the live one."""

    tracking_uri: str = ""
    """MLflow's tracking server or database; empty for sqlite in the lake's folder, none to keep no track."""

    parallel: Annotated[int, Field(ge=1, le=16)] = 2
    """Steps at once, of those that do not need each other."""

    steps: Annotated[str, AfterValidator(_by_step)] = ""
    """Arguments of single steps that the chain itself has not, as JSON: {"train_als": {"rank": 64}}."""

    skip: Names = ()
    """Steps to leave out, separated by commas: parity, where no stream runs; check, to publish without a gate."""


def chosen(args: Args) -> list[Step]:
    """The steps to run; raises ConfigError for a step that does not exist."""
    known = {step.name for step in STEPS}
    unknown = sorted(set(args.skip) - known)
    if unknown:
        raise ConfigError(f"--skip: {', '.join(unknown)} is no step of the chain; it has {', '.join(sorted(known))}")
    skipped = {*args.skip, *(() if args.archive else ("land",))}
    return [step for step in STEPS if step.name not in skipped]


def arguments(step: Step, args: Args) -> Any:
    """The step's own arguments: those of the chain that it knows, then those that are given for it, else its defaults.

    Raises ConfigError for one that the step does not have.
    """
    known = {field.name for field in dataclasses.fields(step.args)}
    given = {k: v for k, v in dataclasses.asdict(args).items() if k in known}
    return build(step.args, json.loads(args.steps or "{}").get(step.name, {}) | given, step.name)


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Run the steps; counts and seconds by step."""
    steps = chosen(args)
    runs: list[Run] = []
    with ExitStack() as locks:
        for step in steps:
            locks.enter_context(alone(args.lake, step.name))
        try:
            run_all(spark, args, steps, runs)
        finally:
            # One commit for all rows: each costs as much as a small job.
            record(spark, args.lake, runs)
    return summary(runs)


def run_all(spark: SparkSession, args: Args, steps: Sequence[Step], runs: list[Run]) -> None:
    """Run the steps, each after those it needs; append what each did to ``runs``, raise what the first failure did.

    The steps' rows have the chain's own run id: a rollback to it takes back all of them. Steps that are under way when
    one fails are waited for.
    """
    run_id, waiting, failure = this_run(), list(steps), None
    with ThreadPoolExecutor(args.parallel) as pool:
        busy: dict[Future[tuple[Run, Exception | None]], Step] = {}
        while waiting or busy:
            undone = {step.name for step in (*waiting, *busy.values())}
            for step in [s for s in waiting if not undone.intersection(s.after)][: args.parallel - len(busy)]:
                waiting.remove(step)
                _say(steps, step, "...")
                busy[pool.submit(measured, spark, step.main, arguments(step, args), run_id)] = step
            for done in wait(busy, return_when=FIRST_COMPLETED).done:
                step, (result, error) = busy.pop(done), done.result()
                runs.append(result)
                if error is not None:
                    failure = failure or error
                    waiting.clear()
                _say(steps, step, f"{result.seconds:.1f} s {result.counts}" if error is None else "failed")
    if failure is not None:
        raise failure


def _say(steps: Sequence[Step], step: Step, text: str) -> None:
    print(f"[{steps.index(step) + 1}/{len(steps)}] {step.name} {text}", file=sys.stderr, flush=True)


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """What each step counted, and its seconds."""
    return {r.job: {"seconds": r.seconds, **json.loads(r.counts)} for r in runs}


if __name__ == "__main__":
    run(main, Args)
