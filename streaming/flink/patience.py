"""Waiting for a store that is away: a worker that failed at once would only be restarted to fail again."""

import time
from collections.abc import Callable
from typing import TypeVar

from common.errors import ServerUnavailable
from views.writer import TRANSIENT

T = TypeVar("T")

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 2.0


def patiently(call: Callable[[], T], deadline_s: float) -> T:
    """The result of ``call``, tried again while the store is away, until the deadline; then its last error."""
    deadline = time.monotonic() + deadline_s
    pause = FIRST_PAUSE_S
    while True:
        try:
            return call()
        except (ServerUnavailable, *TRANSIENT):
            if time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(LONGEST_PAUSE_S, pause * 2)
