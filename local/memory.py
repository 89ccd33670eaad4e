"""How much memory a process and all it started hold, at most."""

import os
import threading
from pathlib import Path
from types import TracebackType

from local.process import descendants

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(root: int) -> int:
    """Return the resident memory of ``root`` and its descendants: an upper bound, shared pages count once for each."""
    total = 0
    for pid in [root, *(who.pid for who in descendants(root))]:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        except OSError:  # ended since the listing
            continue
    return total


class PeakMemory:
    """Samples this process and its descendants while the block runs; ``gib`` is the largest sum seen."""

    def __init__(self, every: float = 1.0):
        self._every = every
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="peak-memory", daemon=True)
        self._peak = 0

    @property
    def gib(self) -> float:
        """The peak so far in GiB."""
        return self._peak / 2**30

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.is_set():
            self._peak = max(self._peak, resident_bytes(os.getpid()))
            self._done.wait(self._every)
