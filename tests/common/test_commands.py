"""Each job's command line in each environment: a golden file, understood by the job's own parser.

After a change on purpose: DOVETAIL_UPDATE_GOLDEN=1 pytest tests/common/test_commands.py, and read the difference.
"""

import importlib
import os
import shutil
from pathlib import Path

import pytest

from common import config, submit

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
GOLDEN = ROOT / "tests" / "golden" / "commands"
JOBS = config.jobs(CONF)
ENVIRONMENTS = config.environments(CONF)

# What a run gives; everything else stands in the files.
GIVEN = {
    "import_events": ["job.arguments.format=rees46", "job.arguments.path=history.csv"],
    "import_customers": [
        "job.arguments.path=customers.csv",
        "job.arguments.mapping=customers.yaml",
        "job.arguments.dataset=shop",
    ],
    "review_quarantine": [
        "job.arguments.decision=discard",
        "job.arguments.rules=country_is_known",
        "job.arguments.by=anna",
        "job.arguments.why=A test shop.",
    ],
}


def resolve(env: str, job: str) -> config.Config:
    return config.load(env, job, ["run.cut=2026-11-20T00:00:00Z", *GIVEN.get(job, [])], CONF)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose jars have names that stay, so that a new version of a jar changes no golden file."""
    folder = tmp_path_factory.mktemp("home")
    for jar in ("delta/delta-spark.jar", "delta/unitycatalog-client.jar", "flink/flink-sql-connector-kafka-1.jar"):
        (folder / "build" / "jars" / jar).parent.mkdir(parents=True, exist_ok=True)
        (folder / "build" / "jars" / jar).write_text("")
    for room in ("jobs", "streaming"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.parametrize("env", ENVIRONMENTS)
@pytest.mark.parametrize("job", JOBS)
def test_each_command_is_its_golden_file(env: str, job: str, home: Path) -> None:
    rendered = submit.render(resolve(env, job), job, home).text()
    path = GOLDEN / env / f"{job}.sh"
    if os.environ.get("DOVETAIL_UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rendered)
    assert rendered == path.read_text(), f"{env}/{job}.sh differs: check the change, then set DOVETAIL_UPDATE_GOLDEN=1"


def test_no_golden_file_is_left_of_a_command_that_is_gone() -> None:
    there = {(path.parent.name, path.stem) for path in GOLDEN.glob("*/*.sh")}
    assert there == {(env, job) for env in ENVIRONMENTS for job in JOBS}


def test_every_job_has_a_file_in_conf_and_every_file_a_job() -> None:
    programs = {path.stem for path in (ROOT / "jobs").glob("*.py") if path.stem != "__init__"}
    assert {job for job in JOBS if resolve("local", job).job.engine == "spark"} == programs  # type: ignore[union-attr]


@pytest.mark.parametrize("job", JOBS)
def test_the_job_understands_its_arguments(job: str) -> None:
    settings = resolve("local", job)
    assert settings.job is not None and (ROOT / settings.job.entry).exists()
    words = [word for flag in submit.arguments(settings, job) for word in flag]
    if settings.job.engine == "python":
        importlib.import_module(f"{settings.job.entry}.__main__").parser().parse_args(words)
        return
    module = importlib.import_module(settings.job.entry.removesuffix(".py").replace("/", "."))
    if settings.job.engine == "spark":
        from jobs.spark.args import parse

        parse(module.Args, words, job)
    else:
        module.parse(words)


def test_what_runs_after_what_is_a_chain_without_a_circle() -> None:
    assert config.in_order(CONF)


def test_a_step_of_the_chain_runs_after_the_same_ones_as_its_job() -> None:
    from jobs.chain import STEPS

    steps = {step.name: set(step.after) for step in STEPS}
    jobs = {name: resolve("local", name).job for name in steps}
    assert {name: set(job.after) for name, job in jobs.items() if job is not None} == steps


def test_a_circle_or_an_unknown_predecessor_is_refused(tmp_path: Path) -> None:
    shutil.copytree(CONF, tmp_path / "conf")
    (tmp_path / "conf/jobs/cleanse.yaml").write_text(
        (CONF / "jobs/cleanse.yaml").read_text().replace("after: [land]", "after: [rfm]")
    )
    with pytest.raises(config.ConfigError, match="in a circle"):
        config.in_order(tmp_path / "conf")
    (tmp_path / "conf/jobs/cleanse.yaml").write_text(
        (CONF / "jobs/cleanse.yaml").read_text().replace("after: [land]", "after: [lnd]")
    )
    with pytest.raises(config.ConfigError, match="'lnd', did you mean 'land'"):
        config.in_order(tmp_path / "conf")
