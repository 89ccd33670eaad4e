"""Open-loop load on the serving layer: requests leave on schedule, whether or not the one before has been answered."""

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx


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
    base_url: str, paths: Sequence[str], rate: float, stop: threading.Event, limit_s: float = 600.0
) -> Answered:
    """Ask for the paths in turn, ``rate`` a second, until ``stop`` is set or ``limit_s`` have passed.

    An answer other than 200, or none within two seconds, is a failure.
    """
    answered = Answered()
    pending: set[asyncio.Task[None]] = set()
    async with httpx.AsyncClient(base_url=base_url, timeout=2.0, limits=httpx.Limits(max_connections=64)) as client:
        begun = time.perf_counter()
        for number, path in enumerate(itertools.cycle(paths)):
            due = begun + number / rate
            if stop.is_set() or due - begun > limit_s:
                break
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(_ask(client, path, due, answered))
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


def for_seconds(base_url: str, paths: Sequence[str], rate: float, seconds: float) -> Answered:
    """Run :func:`open_loop` for so many seconds."""
    return asyncio.run(open_loop(base_url, paths, rate, threading.Event(), seconds))


@contextmanager
def open_loop_in_thread(
    base_url: str, paths: Sequence[str], rate: float, stop: threading.Event
) -> Iterator[Future[Answered]]:
    """Run :func:`open_loop` beside the block; it ends with the block, which then has its result."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        load = pool.submit(lambda: asyncio.run(open_loop(base_url, paths, rate, stop)))
        try:
            yield load
        finally:
            stop.set()
