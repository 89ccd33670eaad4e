"""Jobs that die: each run ends right before one of its commits, as a killed process does, until one comes through."""

from typing import Any

import pytest
from pyspark.errors import StreamingQueryException

from jobs.spark.tables import Lake


class Killed(BaseException):
    """The end of a process, for all that runs in it."""


class Failed(Exception):
    """The same where Spark calls back: it waits for ever for a thread that ends, and tells of an exception."""


def run_killed(
    monkeypatch: pytest.MonkeyPatch, spark: Any, main: Any, args: Any, end: type[BaseException] = Killed
) -> tuple[int, Any]:
    """Kill a job before its first commit, then before its second, and so on; how often, and what the last run told."""
    committed = Lake._committed
    deaths = 0
    while True:
        left = deaths

        def or_die(self: Lake, table: str, write: Any) -> Any:
            nonlocal left
            if left == 0:
                raise end
            left -= 1
            return committed(self, table, write)

        with monkeypatch.context() as patch:
            patch.setattr(Lake, "_committed", or_die)
            try:
                told = main(spark, args)
            except (Killed, StreamingQueryException):
                deaths += 1
                continue
        return deaths, told
