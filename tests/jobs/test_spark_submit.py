"""Batch jobs by their own ``spark-submit`` lines, as the configuration renders them, with the bundle alone.

Most of a submission is the start of its JVM: the short form submits an import and the chain; the long form
(``make test-submit``) each step of the chain by a line of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common import config, submit
from common.bundle import build
from common.contracts.events import BRONZE_EVENTS
from jobs.chain import STEPS
from jobs.spark.session import SHORT_LIVED
from local.jars import fetch
from local.paths import project_root
from tests.jobs.small_shop import CUT_MS, write
from views.connect import connect, disconnect
from views.pointer import read_pointer
from views.versions import Generations

pytestmark = [pytest.mark.platform, pytest.mark.spark, pytest.mark.timeout(1800)]

CUT = "2026-03-01T02:00:00Z"
JOB_LIMIT_S = 600
LEFT_OUT = ("check", "personas", "memberships", "visitor_features")
"""Steps of the chain that the short form does not submit; tests/jobs/ runs each in a session that is there already."""
LONG = os.environ.get("DOVETAIL_SUBMIT") == "each"
KAFKA_MS = CUT_MS - 7_200_000


class Submitter:
    """Renders a job's line for the environment ``local`` and runs it in a folder of its own."""

    def __init__(self, folder: Path, archive: Path, cassandra: str, keyspace: str) -> None:
        self.folder = folder
        self.archive = archive
        self.overrides = [
            f"lake.root={folder}/lake",
            f"lake.archive={folder}/archive",
            f"run.cut={CUT}",
            f"cassandra.contact={cassandra}",
            f"cassandra.keyspace={keyspace}",
        ]

    def command(self, job: str, *overrides: str) -> list[str]:
        """The job's line, with absolute paths of what the checkout has."""
        java = f"spark.settings.spark.driver.extraJavaOptions={self._java(job)}"
        settings = config.load("local", job, [*self.overrides, java, *overrides])
        return [self._absolute(word) for word in submit.render(settings, job, project_root()).argv]

    def run(self, job: str, *overrides: str) -> subprocess.CompletedProcess[str]:
        """The finished process of one submission."""
        # Outside the checkout: what is not in the bundle can't be imported by luck.
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SPARK_HOME")}
        return subprocess.run(
            self.command(job, *overrides),
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=JOB_LIMIT_S,
            check=False,
        )

    def result(self, job: str, *overrides: str) -> dict:
        """The JSON line of a run that must succeed."""
        done = self.run(job, *overrides)
        assert done.returncode == 0, f"{job}: {done.stderr[-3000:]}"
        result = json.loads(done.stdout.strip().splitlines()[-1])
        assert (result["job"], result["outcome"]) == (job, "ok")
        return result["counts"]

    def _java(self, job: str) -> str:
        """Java's options: most of a submission is its start, so the classes an import has loaded serve those after."""
        if self.archive.exists():
            return " ".join((*SHORT_LIVED, f"-XX:SharedArchiveFile={self.archive}"))
        if job == "import_events":
            # what it says about classes it can't archive would come after the run's own line
            return " ".join((*SHORT_LIVED, f"-XX:ArchiveClassesAtExit={self.archive}", "-Xlog:disable"))
        return " ".join(SHORT_LIVED)

    @staticmethod
    def _absolute(word: str) -> str:
        ours = ("build/jars/", "dist/", "jobs/")
        parts = [str(project_root() / p) if p.startswith(ours) else p for p in word.split(",")]
        return ",".join(parts)


@pytest.fixture(scope="module")
def class_archive(tmp_path_factory) -> Path:
    """Where an import leaves the classes that Java has loaded."""
    return tmp_path_factory.mktemp("classes") / "spark.jsa"


@pytest.fixture
def submitter(environment_python, pseudonym_key, cluster_spec, class_archive, tmp_path):
    fetch("delta")
    build(project_root(), project_root() / "dist" / "dovetail.zip")
    return Submitter(tmp_path, class_archive, cluster_spec.address, cluster_spec.keyspace)


def archived(folder: Path) -> int:
    """Lay down what the stream would have archived: one view by a visitor whom history does not know."""
    row = dict.fromkeys(BRONZE_EVENTS.names)
    row |= {"event_id": "live-1", "event_type": "view", "visitor_id": "k1_live", "item_id": "i1", "category": "cups"}
    row |= {"event_ms": KAFKA_MS, "ingest_ms": KAFKA_MS, "late": False, "topic": "elsewhere", "partition": 0}
    row |= {"offset": 0, "event_date": "2026-03-01"}
    target = folder / "archive" / "events" / "d=2026-03-01" / "h=00"
    target.mkdir(parents=True)
    (target / "part-0").write_text(json.dumps(row) + "\n", encoding="utf-8")
    return 1


def each(submitter: Submitter) -> dict[str, dict]:
    """Submit every step of the chain; what each counted."""
    counts = {}
    for step in STEPS:
        overrides = ['job.arguments.kafka=""'] if step.name == "land" else []
        overrides += ["job.arguments.tracking_uri=none"] if step.name in ("train_als", "recommend") else []
        counts[step.name] = submitter.result(step.name, *overrides)
    return counts


def at_once(submitter: Submitter) -> dict[str, dict]:
    """Submit the chain, but for steps that others do not need; what each of its steps counted."""
    skip = f"job.arguments.skip={','.join(LEFT_OUT)}"
    return submitter.result("chain", skip, 'job.arguments.kafka=""', "job.arguments.tracking_uri=none")


def test_the_jobs_run_by_their_lines_and_publish(submitter, cluster_spec, tmp_path):
    shop = write(tmp_path / "history.jsonl")
    imported = submitter.result(
        "import_events", "job.arguments.format=events", f"job.arguments.path={shop.path}", "job.arguments.dataset=shop"
    )
    assert imported["rows_in"] == shop.lines == imported["accepted"] + imported["rejected"]
    landed = archived(tmp_path)
    session = connect(cluster_spec)
    try:
        generations = Generations(session)
        generation = generations.create()
        generations.make_live(generation.name)
        counts = each(submitter) if LONG else at_once(submitter)
        pointer = read_pointer(session, "batch")
    finally:
        disconnect(session)
    assert counts.keys() == {step.name for step in STEPS} - (set() if LONG else set(LEFT_OUT))
    assert counts["land"]["events"] == landed
    assert counts["cleanse"]["rows_in"] == imported["accepted"] + landed
    assert counts["train_als"]["fold_in_difference"] < 1e-5
    assert counts["publish"]["rows"]["profile"] > 0
    assert pointer is not None and pointer.live == counts["publish"]["version"]


def test_every_job_is_in_the_bundle_with_all_it_imports(submitter):
    jobs = sorted(path.stem for path in (project_root() / "jobs").glob("*.py") if path.stem != "__init__")
    bundle = project_root() / "dist" / "dovetail.zip"
    program = (
        "import importlib, sys\n"
        f"sys.path = [p for p in sys.path if p and p != {str(project_root())!r}]\n"
        "sys.meta_path = [f for f in sys.meta_path if '__editable__' not in str(f)]\n"
        f"sys.path.insert(0, {str(bundle)!r})\n"
        f"for name in {jobs}:\n"
        "    job = importlib.import_module(f'jobs.{name}')\n"
        f"    assert job.__file__.startswith({str(bundle)!r}), job.__file__\n"
        "    assert callable(job.main), name\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=submitter.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_what_is_submitted_wins_over_the_session_s_own_settings(submitter, tmp_path):
    shown = ("spark.sql.shuffle.partitions", "spark.driver.host", "spark.sql.session.timeZone", "spark.ui.enabled")
    program = tmp_path / "show.py"
    program.write_text(
        "from jobs.spark.session import create_session\n"
        "spark = create_session('show')\n"
        f"print(*(spark.conf.get(key) for key in {shown}))\n"
        "spark.stop()\n"
    )
    words = submitter.command("rfm")
    words = words[: words.index(str(project_root() / "jobs" / "rfm.py"))]
    given = ["--conf", "spark.sql.shuffle.partitions=7", "--conf", "spark.driver.host=localhost"]
    done = subprocess.run(
        [*words, *given, str(program)], cwd=tmp_path, capture_output=True, text=True, timeout=JOB_LIMIT_S, check=False
    )
    assert done.stdout.strip().splitlines()[-1:] == ["7 localhost UTC false"], done.stderr[-3000:]


def test_a_user_error_is_one_line_and_exit_code_two(submitter):
    done = submitter.run("sessionize")
    assert done.returncode == 2, done.stderr[-2000:]
    # spark-submit hands on what Python says on either stream as its own output.
    said = done.stdout + done.stderr
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, said[-2000:]
    assert "the lake has no silver/events: run dedup_events first" in errors[0]
    assert "Traceback" not in said
