"""A night that ``kill -9`` ends wherever it just is, time and again: the one that comes through makes the same lake."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.spark.run import KILLED
from jobs.spark.tables import TABLES, Lake
from tests.jobs.small_shop import write
from tests.jobs.test_killed import rows_of

pytestmark = [pytest.mark.spark, pytest.mark.timeout(2400)]

MOMENTS = ("features", "recommend")
"""Steps that are under way when the process is killed, with whichever runs beside them, within these seconds:"""
WITHIN_S = 4.0

OF_A_FIT = ("gold/model_metrics", "gold/recommendations")
"""Tables that follow a fit of ALS, whose sums follow the order of tasks."""
IN_PART = {"gold/items": ("similar",)}
"""Columns that follow it, of tables that else do not."""


class Night:
    """One run of tests/jobs/nights.py, its JVM and Python workers in a group of processes."""

    def __init__(self, lake: Path, history: Path, log: Path) -> None:
        self.log = log
        with log.open("w", encoding="utf-8") as told:
            command = [sys.executable, "-m", "tests.jobs.nights", str(lake), str(history)]
            self.process = subprocess.Popen(command, stderr=told, stdout=told, start_new_session=True)

    def reach(self, step: str) -> None:
        """Wait until the step has begun."""
        begun = re.compile(rf"^\[\d+/\d+\] {step} \.\.\.$", re.MULTILINE)
        while not begun.search(self.log.read_text(encoding="utf-8")):
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")[-4000:]
            time.sleep(0.1)

    def kill(self) -> None:
        """End every process of it at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)

    def end(self) -> None:
        """Wait for its own end, which must be a good one."""
        assert self.process.wait(900) == 0, self.log.read_text(encoding="utf-8")[-4000:]


def test_a_night_that_is_killed_wherever_it_is_makes_the_same_lake(spark, tmp_path):
    seed = random.randrange(1_000)
    rng = random.Random(seed)
    write(tmp_path / "history.jsonl")
    roots = {name: tmp_path / name for name in ("killed", "undisturbed")}
    for number, step in enumerate(MOMENTS):
        night = Night(roots["killed"], tmp_path / "history.jsonl", tmp_path / f"killed-{number}.log")
        night.reach(step)
        time.sleep(rng.uniform(0, WITHIN_S))
        night.kill()
    for name, root in roots.items():
        Night(root, tmp_path / "history.jsonl", tmp_path / f"{name}.log").end()
    killed, undisturbed = (Lake(spark, str(root)) for root in roots.values())
    made = [table for table in TABLES if undisturbed.exists(table)]
    assert [table for table in TABLES if killed.exists(table)] == made
    for table in made:
        if table in OF_A_FIT:
            assert killed.read(table).count() == undisturbed.read(table).count() > 0, f"{table}, seed {seed}"
        elif table != "gold/runs":
            but = IN_PART.get(table, ())
            assert rows_of(killed, table, but) == rows_of(undisturbed, table, but), f"{table}, seed {seed}"
    outcomes = [row["outcome"] for row in killed.read("gold/runs").collect()]
    assert KILLED in outcomes and set(outcomes) <= {KILLED, "ok"}
