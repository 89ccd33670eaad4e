"""Pieces of a job beside each other belong to its run, and a failure of one is the job's."""

import threading
from functools import partial

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


def test_a_failure_is_raised_when_those_under_way_are_done(spark):
    together, failing, done = threading.Barrier(module.THREADS), threading.Event(), []

    def fail():
        together.wait(30)
        failing.set()
        raise ValueError("no")

    def succeed(number):
        together.wait(30)
        assert failing.wait(30)
        done.append(number)

    beside = range(1, module.THREADS)
    with pytest.raises(ValueError, match="^no$"):
        at_once(spark, {"fails": fail} | {f"beside {n}": partial(succeed, n) for n in beside})
    assert sorted(done) == list(beside)
