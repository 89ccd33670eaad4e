"""Rows counted as they are written: Spark's ``observe``, where a count would be a pass of its own."""

import threading
from typing import Any

from pyspark.sql import Column, DataFrame, Observation

from common.errors import DovetailError

LIMIT_S = 60.0
"""How long Spark may take to tell, once a write is done."""


class Tally:
    """What was counted of a frame while it was written.

    A task that Spark has to do again, since a machine was lost, may count twice: a figure to tell, not to decide by.
    """

    def __init__(self, frame: DataFrame, counts: tuple[Column, ...]) -> None:
        self._observation = Observation()
        self._frame, self._counts = frame, counts
        self.frame = frame.observe(self._observation, *counts)

    def get(self) -> dict[str, Any]:
        """The counts by name, once the write is done; raises DovetailError where Spark does not tell them."""
        told: list[dict[str, Any]] = []
        # By an event a moment after the write, for which Spark would wait without an end.
        waiting = threading.Thread(target=lambda: told.append(self._observation.get), daemon=True)
        waiting.start()
        waiting.join(LIMIT_S)
        if not told:
            raise DovetailError(f"Spark did not tell within {LIMIT_S:.0f} s what it wrote: run this again")
        # Where nothing is left to write Spark may plan the frame away, and its counts with it.
        return told[0] or self._frame.agg(*self._counts).collect()[0].asDict()


def observed(frame: DataFrame, *counts: Column) -> tuple[DataFrame, Tally]:
    """The frame, to be written once, and what is counted of all its rows by then; each of ``counts`` has an alias."""
    tally = Tally(frame, counts)
    return tally.frame, tally
