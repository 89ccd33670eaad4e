"""What the demo says while it works: each step with its time, and what it waits for."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from common.errors import ServerUnavailable

NARROWEST = 120
"""Columns of a console that is none: a log file has no width of its own, and the table needs this much."""


def _console() -> Console:
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=NARROWEST)


class Screen:
    """Prints steps as they begin and end; ``seconds`` is the time since the start."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or _console()
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._begun

    def say(self, text: str) -> None:
        """Print a line with the time since the start."""
        self.console.print(f"[dim]{self.seconds:6.1f} s[/]  {text}")

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """A step: said when it begins, and how long it took when it ends."""
        begun = time.monotonic()
        self.say(f"[bold]{what}[/] ...")
        yield
        self.say(f"{what}: {time.monotonic() - begun:.1f} s")

    def wait(self, what: str, done: Callable[[], str | None], limit: float, every: float = 0.5) -> float:
        """Wait until ``done`` returns None; it returns what is still missing. Returns the seconds waited.

        Says every ten seconds what it waits for; raises ServerUnavailable after ``limit`` seconds.
        """
        begun = said = time.monotonic()
        while (missing := done()) is not None:
            now = time.monotonic()
            if now - begun > limit:
                raise ServerUnavailable(f"waited {limit:.0f} s for {what}: {missing}")
            if now - said > 10:
                self.say(f"[dim]waiting for {what}: {missing}[/]")
                said = now
            time.sleep(every)
        return time.monotonic() - begun
