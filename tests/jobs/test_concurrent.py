"""Two runs at once: one wins, one says so and changes nothing; for every job there is."""

import importlib
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import ConcurrentRun
from jobs import chain
from jobs.spark.run import alone, execute
from jobs.spark.tables import Lake, recording
from tests.jobs.test_tables import carried, event, frame

JOBS = Path(__file__).parents[2] / "jobs"


def spark_jobs() -> list[str]:
    return sorted(path.stem for path in JOBS.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("job", spark_jobs())
def test_of_two_runs_of_any_job_the_second_says_so_and_begins_nothing(job: str, tmp_path) -> None:
    main = importlib.import_module(f"jobs.{job}").main
    # No session and no arguments but the lake: a run that began would fail otherwise.
    with alone(str(tmp_path), job), pytest.raises(ConcurrentRun, match=f"another run of {job} is at work") as said:
        execute(None, main, SimpleNamespace(lake=str(tmp_path)))  # type: ignore[arg-type]
    assert "\n" not in str(said.value) and not (tmp_path / "gold").exists()


@pytest.mark.parametrize("step", ["cleanse", "rfm", "publish"])
def test_a_chain_beside_a_run_of_one_of_its_steps_begins_nothing(step: str, tmp_path) -> None:
    with alone(str(tmp_path), step), pytest.raises(ConcurrentRun, match=f"another run of {step} is at work"):
        chain.main(None, chain.Args(lake=str(tmp_path), cut=0, tracking_uri="none"))  # type: ignore[arg-type]
    assert not (tmp_path / "gold").exists()


class Slow:
    """A frame whose only task waits until it is let go, and a thread that writes it."""

    def __init__(self, folder: Path, frame: Any, write: Callable[[Any], Any]) -> None:
        self._begun, self._go_on = folder / "begun", folder / "go_on"
        self.failures: list[Exception] = []
        # One task, since the other run needs the session's other core.
        one = frame.coalesce(1)
        self._thread = threading.Thread(target=self._run, args=(write, one.mapInArrow(self._waiting(), one.schema)))

    def _waiting(self) -> Callable[[Any], Any]:
        begun, go_on = self._begun, self._go_on

        def wait(batches):
            import time

            begun.touch()
            for _ in range(2_400):
                if go_on.exists():
                    break
                time.sleep(0.05)
            else:
                raise TimeoutError("waited 120 s for the other run to write")
            yield from batches

        return wait

    def _run(self, write: Callable[[Any], Any], frame: Any) -> None:
        try:
            write(frame)
        except Exception as error:
            self.failures.append(error)

    def __enter__(self) -> "Slow":
        self._thread.start()
        for _ in range(2_400):
            if self._begun.exists() or not self._thread.is_alive():
                break
            threading.Event().wait(0.05)
        assert self._begun.exists(), self.failures
        return self

    def __exit__(self, *_: object) -> None:
        self._go_on.touch()
        self._thread.join(120)
        assert not self._thread.is_alive()


@pytest.mark.spark
def test_where_no_lock_holds_the_table_itself_lets_one_win(spark, tmp_path) -> None:
    """On an object store: Delta finds at its commit that the other run wrote what this one had read."""
    lake = Lake(spark, str(tmp_path / "lake"))
    lake.append("silver/events", frame(spark, [event(1), event(2)]))
    rows = frame(spark, [event(1, category="slow")])
    with Slow(tmp_path, rows, lambda slow: Lake(spark, lake.root).upsert("silver/events", slow)) as other:
        lake.replace("silver/events", frame(spark, [event(1, category="quick")]))
    assert [(type(error), str(error)[:1_000]) for error in other.failures] == [
        (ConcurrentRun, "another run wrote silver/events at the same moment: start this one again")
    ]
    assert [row["category"] for row in lake.read("silver/events").collect()] == ["quick"]


@pytest.mark.spark
def test_steps_that_commit_at_once_in_one_session_each_carry_their_own_mark(spark, tmp_path) -> None:
    lake = Lake(spark, str(tmp_path / "lake"))
    for table in ("silver/cleansed", "silver/events", "bronze/events"):
        lake.append(table, frame(spark, [event(1)]))

    def step(job: str, table: str, rows: Any, mark: dict[str, int] | None) -> None:
        with recording("r1", job):
            lake.insert_new(table, rows, mark=mark)

    beside = threading.Thread(
        target=step, args=("cleanse", "silver/cleansed", frame(spark, [event(3)]), {"bronze/events": 7})
    )
    slowly = partial(step, "dedup_events", "silver/events", mark={"silver/cleansed": 5})
    with Slow(tmp_path, frame(spark, [event(2)]), slowly) as other:
        beside.start()
        with recording("r1", "land"):
            lake.replace("bronze/events", frame(spark, [event(4)]))
            lake.append("bronze/events", frame(spark, [event(5)]))
        # A merge may wait for its turn; it is there once the slow one is done.
    beside.join(120)
    assert not beside.is_alive() and other.failures == []
    own: dict[str, list[dict]] = {
        "silver/events": [{"dovetail.job": "dedup_events", "dovetail.mark": {"silver/cleansed": 5}}],
        "silver/cleansed": [{"dovetail.job": "cleanse", "dovetail.mark": {"bronze/events": 7}}],
        "bronze/events": [{"dovetail.job": "land"}] * 2,
    }
    for table, said in own.items():
        run = {"dovetail.run": "r1", "dovetail.reads": {}}
        assert carried(lake, table) == [{}, {}, *(run | each for each in said)], table
