"""The nightly chain: every job of a cut in one session, in order, up to the first failure.

Each step is the job's own ``main`` with the job's own defaults; what a step raises ends the chain, so nothing is
published after a failure, and the last good version stays live.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass as plain_dataclass
from typing import Any

from pydantic.dataclasses import dataclass
from pyspark.sql import SparkSession

from common.errors import ConfigError
from jobs import (
    catalogue,
    cleanse,
    dedup_events,
    features,
    land,
    parity,
    publish,
    recommend,
    rfm,
    segment,
    sessionize,
    train_als,
)
from jobs.spark.args import ARGUMENTS, CassandraArgs, JobArgs, Names, build
from jobs.spark.run import Main, Run, alone, job_name, measured, new_run_id, record, run


@plain_dataclass(frozen=True)
class Step:
    """One job of the chain."""

    main: Main
    args: type[Any]

    @property
    def name(self) -> str:
        """The job's name."""
        return job_name(self.main)


STEPS: tuple[Step, ...] = (
    Step(land.main, land.Args),
    Step(cleanse.main, cleanse.Args),
    Step(dedup_events.main, dedup_events.Args),
    Step(catalogue.main, catalogue.Args),
    Step(sessionize.main, sessionize.Args),
    Step(features.main, features.Args),
    Step(parity.main, parity.Args),
    Step(rfm.main, rfm.Args),
    Step(segment.main, segment.Args),
    Step(train_als.main, train_als.Args),
    Step(recommend.main, recommend.Args),
    Step(publish.main, publish.Args),
)
"""The chain in its order; parity stands before what it could spoil."""


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

    skip: Names = ()
    """Steps to leave out, separated by commas: parity, where no stream runs."""


def chosen(args: Args) -> list[Step]:
    """The steps to run; raises ConfigError for a step that does not exist."""
    known = {step.name for step in STEPS}
    unknown = sorted(set(args.skip) - known)
    if unknown:
        raise ConfigError(f"--skip: {', '.join(unknown)} is no step of the chain; it has {', '.join(sorted(known))}")
    skipped = {*args.skip, *(() if args.archive else ("land",))}
    return [step for step in STEPS if step.name not in skipped]


def arguments(step: Step, args: Args) -> Any:
    """The step's own arguments: those of the chain that it knows, its defaults else."""
    known = {field.name for field in dataclasses.fields(step.args)}
    given = {k: v for k, v in dataclasses.asdict(args).items() if k in known}
    return build(step.args, given, step.name)


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Run the steps; counts and seconds by step."""
    steps = chosen(args)
    run_id, runs = new_run_id(), list[Run]()
    with ExitStack() as locks:
        for step in steps:
            locks.enter_context(alone(args.lake, step.name))
        try:
            for number, step in enumerate(steps, 1):
                print(f"[{number}/{len(steps)}] {step.name} ...", file=sys.stderr, flush=True)
                result, error = measured(spark, step.main, arguments(step, args), run_id)
                runs.append(result)
                if error is not None:
                    print(f"[{number}/{len(steps)}] {step.name} failed", file=sys.stderr, flush=True)
                    raise error
                print(f"[{number}/{len(steps)}] {step.name} {result.seconds:.1f} s {result.counts}", file=sys.stderr)
        finally:
            # One commit for all rows: each costs as much as a small job.
            record(spark, args.lake, runs)
    return summary(runs)


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """What each step counted, and its seconds."""
    return {r.job: {"seconds": r.seconds, **json.loads(r.counts)} for r in runs}


if __name__ == "__main__":
    run(main, Args)
