"""How a job file ends: arguments, session, one run at a time, a row in gold/runs, one JSON line, an exit code."""

import fcntl
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlparse

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.types import Row

from common.contracts.registry import ALL
from common.errors import ConcurrentRun, run_main
from jobs.spark.args import parse
from jobs.spark.schema import struct_type
from jobs.spark.session import create_session
from jobs.spark.tables import TABLES, Commit, Lake, recording, under_way, wall_clock_ms

Counts = Mapping[str, Any]
Main = Callable[[SparkSession, Any], Counts]

KILLED = "killed"
"""The outcome of a run that came to no end of its own."""


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

    Runs that were killed get their rows first. Raises ConcurrentRun where another run of the job holds the lake; what
    ``main`` raises is recorded and raised.
    """
    run_id, job = run_id or new_run_id(), job_name(main)
    with alone(args.lake, job):
        with recording(run_id, job):
            record_killed(spark, args.lake, job)
        result, error = measured(spark, main, args, run_id)
        with recording(run_id, job):
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
    Lake(spark, lake).append("gold/runs", _rows(spark, runs))


def _rows(spark: SparkSession, runs: Sequence[Run]) -> DataFrame:
    return spark.createDataFrame([Row(**asdict(r)) for r in runs], struct_type(ALL["runs"]))


def record_killed(spark: SparkSession, root: str, job: str) -> list[Run]:
    """Give runs that were killed their rows in gold/runs, for a run of ``job`` that holds its lock; the rows.

    Commits name a run and its job. A run holds its job's lock, a chain those of its steps, until its row is written: so
    where the lock can be had and there is no row, none will come. Without locks (see :func:`alone`) a killed run is not
    known from one at work, and nothing is written. Where another run writes gold/runs at the same moment, the rows are
    left to the next run.
    """
    if _locks(root) is None:
        return []
    lake = Lake(spark, root)
    rows = lake.read_or_empty("gold/runs").select("run_id", "job", "started_ms").collect()
    oldest_ms = min((row["started_ms"] for row in rows), default=0)
    found = unrecorded(lake, {(row["run_id"], row["job"]) for row in rows}, oldest_ms)
    free = {its_job for its_job in {name for _, name in found} if its_job == job or is_free(root, its_job)}
    killed = {run: as_killed(*run, commits) for run, commits in found.items() if run[1] in free}
    if not killed:
        return []
    # A run may have come to its end, and to its row, between the first look at gold/runs and that at its lock.
    named = f.col("run_id").isin(sorted({run_id for run_id, _ in killed}))
    for row in lake.read_or_empty("gold/runs").where(named).select("run_id", "job").collect():
        killed.pop((row["run_id"], row["job"]), None)
    told = ", ".join(f"{run_id} of {its_job}" for run_id, its_job in killed)
    try:
        if killed:
            lake.insert_new("gold/runs", _rows(spark, list(killed.values())))
            print(f"gold/runs has rows now of {len(killed)} killed: {told}", file=sys.stderr, flush=True)
    except ConcurrentRun as error:
        print(f"the next run adds to gold/runs {len(killed)} killed: {told} ({error})", file=sys.stderr, flush=True)
        return []
    return list(killed.values())


def is_free(lake: str, name: str) -> bool:
    """Whether no run of ``name`` holds the lake just now."""
    try:
        with alone(lake, name):
            return True
    except ConcurrentRun:
        return False


def unrecorded(
    lake: Lake, recorded: Collection[tuple[str, str]], oldest_ms: int
) -> dict[tuple[str, str], list[Commit]]:
    """By run and job the newest commits of those that have no row.

    What lies behind a commit with a row is not read, nor what is older than ``oldest_ms``, with which gold/runs begins.
    """
    found: dict[tuple[str, str], list[Commit]] = {}
    for table in TABLES:
        for commit in lake.commits(table):
            if (commit.run_id, commit.job) in recorded or commit.at_ms < oldest_ms:
                break
            found.setdefault((commit.run_id, commit.job), []).append(commit)
    return found


def as_killed(run_id: str, job: str, commits: Sequence[Commit]) -> Run:
    """The row of a killed run, by its commits; what it was given and counted is not known, and empty."""
    first, last = min(c.at_ms for c in commits), max(c.at_ms for c in commits)
    reads: dict[str, int] = {}
    writes: dict[str, int] = {}
    for commit in sorted(commits, key=lambda c: c.at_ms):
        reads |= commit.reads
        writes[commit.table] = max(commit.version, writes.get(commit.table, 0))
    return Run(
        run_id=run_id,
        job=job,
        arguments="{}",
        reads=reads,
        writes=writes,
        counts="{}",
        started_ms=first,
        seconds=(last - first) / 1000,
        outcome=KILLED,
    )


@contextmanager
def alone(lake: str, name: str) -> Iterator[None]:
    """Hold the lake for one run of ``name``: of two at once, one goes on and the other raises ConcurrentRun.

    On a local file system the kernel's lock is used, which a killed run loses by itself. On other file systems
    Delta's own optimistic commits decide, table by table (jobs.spark.tables).
    """
    folder = _locks(lake)
    if folder is None:
        yield
        return
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


def _locks(lake: str) -> Path | None:
    """The folder of the lake's locks; None where its file system is not a local one."""
    where = urlparse(lake)
    return Path(where.path) / "_locks" if where.scheme in ("", "file") else None
