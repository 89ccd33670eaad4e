"""How a job file ends: arguments, session, one run at a time, a row in gold/runs, one JSON line, an exit code."""

import fcntl
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlparse

from pyspark.sql import SparkSession
from pyspark.sql.types import Row

from common.contracts.registry import ALL
from common.errors import ConcurrentRun, run_main
from jobs.spark.args import parse
from jobs.spark.schema import struct_type
from jobs.spark.session import create_session
from jobs.spark.tables import Lake, recording, under_way, wall_clock_ms

Counts = Mapping[str, Any]
Main = Callable[[SparkSession, Any], Counts]


@dataclass(frozen=True)
class Run:
    """What one run of one job did: the row of gold/runs."""

    run_id: str
    job: str
    arguments: str
    reads: dict[str, int]
    writes: dict[str, int]
    counts: str
    started_ms: int
    seconds: float
    outcome: str


def run(main: Main, args_class: type[Any], argv: Sequence[str] | None = None) -> NoReturn:
    """Run a job as a program and exit: 0, or 2 with one line on stderr for an error the user can act on.

    The last line on stdout is the run as JSON.
    """
    job = job_name(main)

    def program() -> int:
        args = parse(args_class, sys.argv[1:] if argv is None else argv, job)
        spark = create_session(f"dovetail {job}")
        try:
            result = execute(spark, main, args)
        finally:
            spark.stop()
        print(json.dumps(asdict(result) | {"counts": json.loads(result.counts)}, sort_keys=True), flush=True)
        return 0

    sys.exit(run_main(program))


def job_name(main: Main) -> str:
    """The job's name: its file's."""
    path = getattr(sys.modules.get(main.__module__), "__file__", None)
    return Path(path).stem if main.__module__ == "__main__" and path else main.__module__.rpartition(".")[2]


def new_run_id() -> str:
    """A name for a run, sortable by its start."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}"


def this_run() -> str:
    """The id of the run that is under way, for a job that runs others as its steps; a new one outside any run."""
    ledger = under_way()
    return new_run_id() if ledger is None else ledger.run_id


def execute(spark: SparkSession, main: Main, args: Any, run_id: str | None = None) -> Run:
    """Run a job in a session, alone among runs of the same job on the lake, and keep the row of gold/runs.

    Raises ConcurrentRun where another run of the job holds the lake; what ``main`` raises is recorded and raised.
    """
    with alone(args.lake, job_name(main)):
        result, error = measured(spark, main, args, run_id or new_run_id())
        with recording(result.run_id, result.job):
            record(spark, args.lake, [result])
    if error is not None:
        raise error
    return result


def measured(spark: SparkSession, main: Main, args: Any, run_id: str) -> tuple[Run, Exception | None]:
    """Run a job; the row about it, and what it raised. The caller records the one and raises the other."""
    started_ms, started = wall_clock_ms(), time.monotonic()
    counts: dict[str, Any] = {}
    failure: Exception | None = None
    with recording(run_id, job_name(main)) as ledger:
        try:
            counts = dict(main(spark, args))
        except Exception as error:
            failure = error
    result = Run(
        run_id=run_id,
        job=ledger.job,
        arguments=json.dumps(asdict(args), sort_keys=True, default=str),
        reads=dict(ledger.reads),
        writes=dict(ledger.writes),
        counts=json.dumps(counts, sort_keys=True, default=str),
        started_ms=started_ms,
        seconds=round(time.monotonic() - started, 3),
        outcome="ok" if failure is None else type(failure).__name__,
    )
    return result, failure


def record(spark: SparkSession, lake: str, runs: Sequence[Run]) -> None:
    """Append rows to gold/runs."""
    rows = [Row(**asdict(r)) for r in runs]
    Lake(spark, lake).append("gold/runs", spark.createDataFrame(rows, struct_type(ALL["runs"])))


@contextmanager
def alone(lake: str, name: str) -> Iterator[None]:
    """Hold the lake for one run of ``name``: of two at once, one goes on and the other raises ConcurrentRun.

    On a local file system the kernel's lock is used, which a killed run loses by itself. On other file systems
    Delta's own optimistic commits decide, table by table (jobs.spark.tables).
    """
    where = urlparse(lake)
    if where.scheme not in ("", "file"):
        yield
        return
    folder = Path(where.path) / "_locks"
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConcurrentRun(
                f"another run of {name} is at work on {lake}: this one changed nothing; wait for it to end"
            ) from None
        yield
    finally:
        os.close(handle)
