"""Open-loop load on the serving layer: requests leave on schedule, whether or not the one before has been answered.

The load comes from a process of its own: what else the caller does would otherwise be counted as latency.
"""

import asyncio
import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import httpx

LONGEST_S = 600.0
"""Most seconds of one load."""


@dataclass
class Answered:
    """What became of the requests of one load; a latency counts from the instant the request was due."""

    latencies_ms: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)
    """Batch versions that answers named."""
    degraded: int = 0

    @property
    def requests(self) -> int:
        """Requests sent."""
        return len(self.latencies_ms) + len(self.failures)


async def open_loop(
    base_url: str,
    paths: Sequence[str],
    rate: float,
    stopped: Callable[[], bool],
    limit_s: float,
    warm_up_s: float = 0.0,
) -> Answered:
    """Ask for the paths in turn, ``rate`` a second, until ``stopped`` says so or ``limit_s`` have passed.

    An answer other than 200, or none within two seconds, is a failure. What is asked in the first ``warm_up_s``,
    while the client opens its connections, is not counted.
    """
    answered = Answered()
    pending: set[asyncio.Task[None]] = set()
    async with httpx.AsyncClient(base_url=base_url, timeout=2.0, limits=httpx.Limits(max_connections=64)) as client:
        begun = time.perf_counter()
        for number, path in enumerate(itertools.cycle(paths)):
            due = begun + number / rate
            if stopped() or due - begun > limit_s:
                break
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            counted = answered if due - begun >= warm_up_s else Answered()
            task = asyncio.create_task(_ask(client, path, due, counted))
            pending.add(task)
            task.add_done_callback(pending.discard)
        await asyncio.gather(*pending)
    return answered


async def _ask(client: httpx.AsyncClient, path: str, due: float, answered: Answered) -> None:
    try:
        response = await client.get(path)
    except httpx.HTTPError as error:
        answered.failures.append(type(error).__name__)
        return
    if response.status_code != 200:
        answered.failures.append(f"status {response.status_code}")
        return
    answered.latencies_ms.append((time.perf_counter() - due) * 1000)
    body = response.json()
    if body.get("view_version"):
        answered.versions.add(body["view_version"])
    answered.degraded += bool(body.get("degraded"))


def for_seconds(base_url: str, paths: Sequence[str], rate: float, seconds: float, warm_up_s: float) -> Answered:
    """Run :func:`open_loop` for so many seconds after the warm-up, in a process of its own."""
    with _process(base_url, paths, rate, warm_up_s + seconds, warm_up_s) as pipe:
        return _received(pipe)


@dataclass
class Load:
    """A load that runs beside a block; ``answered`` is there when the block has ended."""

    answered: Answered = field(default_factory=Answered)


@contextmanager
def open_loop_beside(base_url: str, paths: Sequence[str], rate: float) -> Iterator[Load]:
    """Run :func:`open_loop` in a process beside the block; it ends with the block, which then has its result."""
    load = Load()
    with _process(base_url, paths, rate, LONGEST_S, 0.0) as pipe:
        try:
            yield load
        finally:
            pipe.send(None)
            load.answered = _received(pipe)


@contextmanager
def _process(
    base_url: str, paths: Sequence[str], rate: float, limit_s: float, warm_up_s: float
) -> Iterator[Connection]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_ask_all, args=(theirs, base_url, paths, rate, limit_s, warm_up_s), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join()


def _ask_all(
    pipe: Connection, base_url: str, paths: Sequence[str], rate: float, limit_s: float, warm_up_s: float
) -> None:
    pipe.send(asyncio.run(open_loop(base_url, paths, rate, pipe.poll, limit_s, warm_up_s)))


def _received(pipe: Connection) -> Answered:
    answered = pipe.recv()
    assert isinstance(answered, Answered)
    return answered
