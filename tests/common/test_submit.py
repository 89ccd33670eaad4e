"""Submission: the command line of a job is exact, and what it needs is asked for by name."""

import shlex
import shutil
from pathlib import Path

import pytest

from common import config, submit
from common.errors import ConfigError, MissingRequirement

CONF = Path(__file__).parents[2] / "conf"

SPARK_JOB = """\
description: Count things.
owner: data-platform
engine: spark
entry: jobs/count.py
schedule: on request
resources: medium
settings: {spark.sql.shuffle.partitions: 8}
arguments:
  lake: ${lake.root}
  cut: ${run.cut}
  model: ${lake.root}/models
  cassandra_password_env: ${cassandra.password_env?}
  top: 100
  exact: true
  groups: [activity, interest]
  since: ${run.savepoint?}
"""

FLINK_JOB = """\
description: Stream things.
owner: data-platform
engine: flink
entry: streaming/run.py
schedule: on request
resources: small
settings: {state.backend.type: rocksdb}
arguments:
  kafka: ${kafka.bootstrap}
  pseudonym_key_env: ${pseudonym.key_env}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A checkout with two jobs, a bundle and jars, in which `here` is the environment."""
    (tmp_path / "conf" / "jobs").mkdir(parents=True)
    shutil.copy(CONF / "base.yaml", tmp_path / "conf")
    (tmp_path / "conf" / "here.yaml").write_text("")
    (tmp_path / "conf" / "jobs" / "count.yaml").write_text(SPARK_JOB)
    (tmp_path / "conf" / "jobs" / "stream.yaml").write_text(FLINK_JOB)
    for file in (
        "jobs/count.py",
        "streaming/run.py",
        "dist/dovetail.zip",
        "build/jars/delta/delta-b-1.jar",
        "build/jars/delta/delta-a-1.jar",
        "build/jars/delta/unitycatalog-1.jar",
        "build/jars/delta/scala-library.jar",
        "build/jars/flink/flink-sql-connector-kafka-5.jar",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    return tmp_path


def command(home: Path, job: str, *overrides: str) -> submit.Command:
    return submit.render(config.load("here", job, overrides, home / "conf"), job, home)


def after(words: tuple[str, ...], option: str) -> str:
    return words[words.index(option) + 1]


def test_spark_local(home: Path) -> None:
    words = command(home, "count", "run.cut=2026-11-20T00:00:00Z").argv
    assert words[:3] == ("spark-submit", "--master", "local[2]")
    assert "--executor-memory" not in words
    assert after(words, "--jars") == (
        "build/jars/delta/delta-a-1.jar,build/jars/delta/delta-b-1.jar,build/jars/delta/unitycatalog-1.jar"
    )
    assert after(words, "--py-files") == "dist/dovetail.zip"
    assert words[words.index("jobs/count.py") :] == (
        *("jobs/count.py", "--lake", "build/lake", "--cut", "2026-11-20T00:00:00Z", "--model", "build/lake/models"),
        *("--top", "100", "--exact", "true", "--groups", "activity,interest"),
    )


def test_spark_standalone_adds_the_executors_of_the_jobs_size(home: Path) -> None:
    words = command(
        home, "count", "run.cut=x", "spark.target=standalone", "spark.master=spark://m:7077", "spark.jars=[]"
    ).argv
    assert (after(words, "--executor-memory"), after(words, "--total-executor-cores")) == ("2g", "4")
    assert "--jars" not in words


def test_flink_standalone(home: Path) -> None:
    rendered = command(home, "stream")
    words = rendered.argv
    assert words[:3] == ("flink", "run", "--detached")
    assert after(words, "--jobmanager") == "127.0.0.1:8081"
    assert after(words, "--jarfile") == "build/jars/flink/flink-sql-connector-kafka-5.jar"
    assert "-Dstate.backend.type=rocksdb" in words
    assert words[words.index("--python") + 2 :] == (
        *("--kafka", "127.0.0.1:9092", "--pseudonym-key-env", "DOVETAIL_PSEUDONYM_KEY"),
    )
    assert rendered.secrets == ("DOVETAIL_PSEUDONYM_KEY",)


def test_flink_goes_on_from_a_savepoint(home: Path) -> None:
    assert after(command(home, "stream", "run.savepoint=s3://s/1").argv, "--fromSavepoint") == "s3://s/1"


def test_flink_local_needs_no_jobmanager(home: Path) -> None:
    words = command(home, "stream", "flink.target=local").argv
    assert after(words, "--target") == "local" and "--jobmanager" not in words


def test_a_bare_flag_is_there_or_not(home: Path) -> None:
    words = command(home, "stream", "job.arguments.bounded=true", "job.arguments.explain=false").argv
    assert words[-1] == "--bounded" and "--explain" not in words


def test_a_submitter_may_live_elsewhere(home: Path) -> None:
    words = command(home, "stream", "flink.command=docker compose exec -T flink flink", "flink.jars=[]").argv
    assert words[:7] == ("docker", "compose", "exec", "-T", "flink", "flink", "run")


def test_jars_given_as_uris_are_taken_as_they_are(home: Path) -> None:
    words = command(home, "count", "run.cut=x", "spark.jars=['s3a://jars/delta.jar', /opt/d.jar]").argv
    assert after(words, "--jars") == "s3a://jars/delta.jar,/opt/d.jar"


def test_a_setting_of_the_job_wins_and_null_takes_one_away(home: Path) -> None:
    both = ("run.cut=x", "spark.settings.spark.sql.shuffle.partitions=2", "spark.settings.spark.x=1")
    assert "spark.sql.shuffle.partitions=8" in command(home, "count", *both).argv
    assert "spark.x=1" not in command(home, "count", *both, "job.settings.spark.x=null").argv


def test_the_text_is_the_command_for_a_shell(home: Path) -> None:
    rendered = command(home, "count", "run.cut=2026-11-20 00:00")
    assert tuple(shlex.split(rendered.text().replace("\\\n", ""))) == rendered.argv
    assert "  --cut '2026-11-20 00:00' \\\n" in rendered.text()


@pytest.mark.parametrize(
    ("job", "overrides", "says"),
    [
        ("count", (), "argument cut needs run.cut, which is not set: add --set run.cut="),
        ("count", ("run.cut=x", "spark.target=yarnn"), "no target 'yarnn'; choose one of: local, standalone"),
        ("count", ("run.cut=x", "spark.master=spark://m:7077"), "wants local"),
        ("count", ("run.cut=x", "spark.target=standalone"), "wants spark://"),
        ("count", ("run.cut=x", "job.arguments.top=null"), "argument top is not set: add --arg top="),
        ("stream", ("flink.target=session",), "no target 'session'"),
        ("stream", ("flink.jars=[a://b.jar, c://d.jar]",), "flink.jars: one jar goes with the application, not 2"),
        ("stream", ("job.arguments.x=${kafka.topics}",), "refers to kafka.topics, which conf/base.yaml does not have"),
        ("stream", ("job.arguments.x=${kafka}",), "holds keys of its own"),
    ],
)
def test_what_cannot_be_resolved_is_named(home: Path, job: str, overrides: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        command(home, job, *overrides)
    assert says in str(caught.value)


def test_missing_jars_are_asked_for(home: Path) -> None:
    shutil.rmtree(home / "build")
    with pytest.raises(MissingRequirement, match="make jars"):
        command(home, "count", "run.cut=x")


def test_a_new_target_is_one_function(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "_TARGETS", dict(submit._TARGETS))

    @submit.target("spark", "elsewhere")
    def elsewhere(config: config.Config, name: str, job: config.Job, home: Path) -> submit.Command:
        return submit.Command(("elsewhere", name), (1,))

    assert command(home, "count", "spark.target=elsewhere").text() == "elsewhere \\\n  count\n"
    assert submit.targets("spark") == ["elsewhere", "local", "standalone"]


def test_submitting_runs_the_program_and_returns_its_code(home: Path) -> None:
    assert submit.submit(submit.Command(("sh", "-c", "test -f jobs/count.py && exit 7"), ()), home) == 7


@pytest.mark.parametrize(
    ("needs", "says"),
    [
        (submit.Command(("no-such-program",), ()), "no-such-program is not on PATH"),
        (submit.Command(("sh",), (), files=("dist/other.zip",)), "make zip"),
        (submit.Command(("sh",), (), secrets=("DOVETAIL_NO_SUCH_KEY",)), "DOVETAIL_NO_SUCH_KEY is not set"),
    ],
)
def test_submitting_names_what_is_missing(home: Path, needs: submit.Command, says: str) -> None:
    with pytest.raises(MissingRequirement) as caught:
        submit.submit(needs, home)
    assert says in str(caught.value)
