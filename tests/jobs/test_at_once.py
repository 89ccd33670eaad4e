"""Pieces of a job beside each other belong to its run, and a failure of one is the job's."""

import threading

import pytest

from jobs.spark import at_once as module
from jobs.spark.at_once import at_once
from jobs.spark.tables import recording, under_way

pytestmark = pytest.mark.spark


def test_pieces_run_beside_each_other_as_parts_of_the_run_under_way(spark):
    together = threading.Barrier(module.THREADS)

    def piece():
        together.wait(30)
        ledger = under_way()
        assert ledger is not None
        return ledger.run_id, spark.sparkContext.getLocalProperty("spark.job.description")

    spark.sparkContext.setJobDescription("a job of pieces")
    try:
        with recording("run-1", "pieces"):
            told = at_once(spark, {str(n): piece for n in range(module.THREADS)})
    finally:
        spark.sparkContext.setJobDescription(None)
    assert told == {str(n): ("run-1", "a job of pieces") for n in range(module.THREADS)}


def test_a_failure_is_raised_when_those_under_way_are_done_and_the_rest_is_left(spark):
    done = []
    slow = threading.Event()

    def fail():
        slow.wait(30)
        raise ValueError("no")

    def succeed(name):
        slow.set()
        done.append(name)

    first = {"fails": fail} | {f"beside {n}": lambda n=n: succeed(n) for n in range(1, module.THREADS)}
    with pytest.raises(ValueError, match="^no$"):
        at_once(spark, first)
    assert sorted(done) == list(range(1, module.THREADS))
