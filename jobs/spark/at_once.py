"""Pieces of one job beside each other: while one is planned and committed by the driver, another one's tasks run."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from pyspark import inheritable_thread_target
from pyspark.sql import SparkSession

T = TypeVar("T")

THREADS = 3


def at_once(spark: SparkSession, pieces: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """Do the pieces, some at a time, in their order; what each returned, by its name.

    Each belongs to the run under way (jobs.spark.tables.recording). Raises what the first of them that failed raised,
    when those under way are done; those that have not begun by then are left.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        own = inheritable_thread_target(spark)
        futures = {name: pool.submit(copy_context().run, own(piece)) for name, piece in pieces.items()}
        try:
            return {name: future.result() for name, future in futures.items()}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
