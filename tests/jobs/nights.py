"""Nights of a small shop in a process of their own, so that they can be killed.

``python -m tests.jobs.nights LAKE HISTORY`` imports the shop's file and runs the chain as far as it goes without
servers, told on stderr step by step.
"""

import sys
from pathlib import Path

from jobs import chain, import_events
from jobs.spark.run import execute
from jobs.spark.session import local_session
from local.jars import fetch
from tests.jobs.small_shop import CUT_MS


def chain_args(lake: str) -> chain.Args:
    """The nightly chain without what needs servers, and without the gate, which has tests of its own."""
    return chain.Args(lake=lake, cut=CUT_MS, skip=("check", "parity", "publish"), tracking_uri="none")


def main(lake: str, history: Path) -> None:
    """Import the history, run the chain."""
    spark = local_session("dovetail-nights", fetch("delta"))
    execute(spark, import_events.main, import_events.Args(lake=lake, format="events", path=str(history)))
    execute(spark, chain.main, chain_args(lake))
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
