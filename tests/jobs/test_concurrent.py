"""Two runs at once: one wins, one says so and changes nothing; for every job there is."""

import importlib
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.errors import ConcurrentRun
from jobs import chain
from jobs.spark.run import alone, execute
from jobs.spark.tables import Lake
from tests.jobs.test_tables import event, frame

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


@pytest.mark.spark
def test_where_no_lock_holds_the_table_itself_lets_one_win(spark, tmp_path) -> None:
    """On an object store: Delta finds at its commit that the other run wrote what this one had read."""
    lake = Lake(spark, str(tmp_path / "lake"))
    lake.append("silver/events", frame(spark, [event(1), event(2)]))
    begun, go_on = tmp_path / "begun", tmp_path / "go_on"

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

    # One task, since the other run needs the session's other core.
    slow = frame(spark, [event(1, category="slow")]).coalesce(1)
    slow = slow.mapInArrow(wait, slow.schema)
    failure: list[Exception] = []

    def run() -> None:
        try:
            Lake(spark, lake.root).upsert("silver/events", slow)
        except Exception as error:
            failure.append(error)

    other = threading.Thread(target=run)
    other.start()
    for _ in range(2_400):
        if begun.exists() or not other.is_alive():
            break
        threading.Event().wait(0.05)
    assert begun.exists(), failure
    lake.replace("silver/events", frame(spark, [event(1, category="quick")]))
    go_on.touch()
    other.join(120)
    assert [(type(error), str(error)[:1_000]) for error in failure] == [
        (ConcurrentRun, "another run wrote silver/events at the same moment: start this one again")
    ]
    assert [row["category"] for row in lake.read("silver/events").collect()] == ["quick"]
