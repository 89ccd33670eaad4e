"""Configuration: layers win in their order, and each complaint names key, file and remedy in one line."""

import re
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from common import config
from common.errors import ConfigError

CONF = Path(__file__).parents[2] / "conf"

JOB = """\
description: Count things.
owner: data-platform
engine: spark
entry: jobs/count.py
schedule: on request
resources: small
arguments:
  lake: ${lake.root}
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of base.yaml with an empty environment `here` and one job `count`."""
    folder = tmp_path / "conf"
    (folder / "jobs").mkdir(parents=True)
    shutil.copy(CONF / "base.yaml", folder)
    (folder / "here.yaml").write_text("")
    (folder / "jobs" / "count.yaml").write_text(JOB)
    return folder


def complaint(folder: Path, *overrides: str, env: str = "here", job: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(env, job, overrides, folder)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_the_environment_wins_over_base_and_set_over_both(conf: Path) -> None:
    (conf / "here.yaml").write_text("lake: {root: /lake}\nkafka: {bootstrap: 'k:1'}\n")
    loaded = config.load("here", overrides=["lake.root=/mine"], folder=conf)
    assert (loaded.lake.root, loaded.kafka.bootstrap, loaded.cassandra.keyspace) == ("/mine", "k:1", "dovetail")


def test_the_last_set_wins(conf: Path) -> None:
    assert config.load("here", overrides=["lake.root=/a", "lake.root=/b"], folder=conf).lake.root == "/b"


def test_a_list_is_replaced_whole_and_a_mapping_key_by_key(conf: Path) -> None:
    (conf / "here.yaml").write_text("spark: {jars: [], settings: {a: 1, b: 2}}\n")
    loaded = config.load("here", overrides=["spark.settings.b=3"], folder=conf)
    assert (loaded.spark.jars, loaded.spark.settings["a"], loaded.spark.settings["b"]) == ((), 1, 3)


def test_dots_after_a_free_mapping_belong_to_its_key(conf: Path) -> None:
    loaded = config.load("here", overrides=["spark.settings.spark.sql.shuffle.partitions=4"], folder=conf)
    assert loaded.spark.settings["spark.sql.shuffle.partitions"] == 4


@pytest.mark.parametrize("text", ["2026", "no", "2026-11-20", "null"])
def test_a_key_that_wants_text_gets_the_text_of_set(conf: Path, text: str) -> None:
    loaded = config.load("here", overrides=[f"run.cut={text}", f"lake.root={text}"], folder=conf)
    assert (loaded.run.cut, loaded.lake.root) == (text, text)


def test_a_date_in_a_file_stays_text(conf: Path) -> None:
    (conf / "here.yaml").write_text("run: {cut: 2026-11-20}\n")
    assert config.load("here", folder=conf).run.cut == "2026-11-20"


def test_a_job_is_there_only_if_asked_for(conf: Path) -> None:
    assert config.load("here", folder=conf).job is None
    job = config.load("here", "count", ["job.arguments.top=5"], conf).job
    assert job is not None and job.arguments == {"lake": "${lake.root}", "top": 5}


def test_settings_cannot_be_changed_afterwards(conf: Path) -> None:
    loaded = config.load("here", folder=conf)
    with pytest.raises(ValidationError):
        loaded.lake.root = "/other"


def test_an_unknown_key_is_refused_with_a_suggestion(conf: Path) -> None:
    (conf / "here.yaml").write_text("cassandra: {keyspac: x}\n")
    line = complaint(conf)
    assert "conf/here.yaml" in line and "'cassandra.keyspac'" in line and "'cassandra.keyspace'" in line


def test_an_unknown_key_of_set_is_refused_with_a_suggestion(conf: Path) -> None:
    assert "did you mean 'lake.root'?" in complaint(conf, "lake.rot=x")


def test_an_unknown_key_of_a_job_names_its_file(conf: Path) -> None:
    (conf / "jobs" / "count.yaml").write_text(JOB + "schedul: daily\n")
    line = complaint(conf, job="count")
    assert "conf/jobs/count.yaml" in line and "did you mean 'job.schedule'?" in line


def test_an_unknown_environment_and_an_unknown_job_say_what_there_is(conf: Path) -> None:
    assert "did you mean 'here'?; there are: here" in complaint(conf, env="her")
    assert "did you mean 'count'?; there are: count" in complaint(conf, job="cont")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("flink.parallelism=0", "flink.parallelism: 0 should be greater than or equal to 1"),
        ("flink.parallelism=two", "'two' should be a valid integer"),
        ("flink.parallelism=1.5", "1.5 should be a valid integer"),
        ("kafka.bootstrap=broker", "'broker' is not HOST:PORT"),
        ("cassandra.contact=a:1,b", "'a:1,b' is not HOST:PORT"),
        ("flink.jobmanager=a:99999", "is not HOST:PORT"),
        ("cassandra.keyspace=My-Space", "'My-Space' is not a name of small letters"),
        ("spark.sizes.small.driver_memory=12", "'12' is not an amount of memory such as 512m"),
        ("lake.root=", "lake.root: '' is empty"),
        ("kafka=x", "kafka holds keys of its own"),
        ("spark.settings.x=[1]", "should be text, a number, true, false or null"),
        ("spark.settings.x={", "not readable as YAML"),
        ("lake.root", "--set wants key=value"),
        ("job.arguments.top=1", "job.* needs a job"),
    ],
)
def test_a_bad_value_is_refused_by_one_line_that_names_the_key(conf: Path, override: str, says: str) -> None:
    line = complaint(conf, override)
    assert says in line and override.partition("=")[0] in line


def test_a_bad_value_in_a_file_names_the_file(conf: Path) -> None:
    (conf / "here.yaml").write_text("flink: {parallelism: none}\n")
    assert complaint(conf).startswith("conf/here.yaml: flink.parallelism: 'none' should be")


def test_a_missing_key_is_named(conf: Path) -> None:
    (conf / "jobs" / "count.yaml").write_text(JOB.replace("owner: data-platform\n", ""))
    assert "job.owner is missing" in complaint(conf, job="count")


def test_a_secret_in_the_place_of_a_name_is_refused_and_not_repeated(conf: Path) -> None:
    line = complaint(conf, "cassandra.password_env=hunter2!")
    assert "name of an environment variable" in line and "hunter2" not in line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lake: [", "line 1"),
        ("lake: {root: a}\nlake: {root: b}\n", "'lake' is given twice"),
        ("- lake\n", "must hold keys and values"),
        ("1: 2\n", "key 1 is not text"),
    ],
)
def test_an_unreadable_file_is_named(conf: Path, text: str, says: str) -> None:
    (conf / "here.yaml").write_text(text)
    line = complaint(conf)
    assert line.startswith("conf/here.yaml") and says in line


def test_the_folder_can_be_given_by_the_environment(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.CONF_DIR_VARIABLE, str(conf))
    assert config.jobs() == ["count"]
    monkeypatch.setenv(config.CONF_DIR_VARIABLE, str(conf / "jobs"))
    with pytest.raises(ConfigError, match=config.CONF_DIR_VARIABLE):
        config.conf_dir()


def test_base_has_every_key_and_a_sentence_for_each() -> None:
    """One reference file: whoever reads base.yaml has seen every key."""
    path: list[str] = []
    explained = set()
    above_is_comment = False
    for line in (CONF / "base.yaml").read_text().splitlines():
        if match := re.match(r"( *)([\w.]+):", line):
            path = [*path[: len(match[1]) // 2], match[2]]
            if above_is_comment:
                explained.add(".".join(path))
        above_is_comment = line.lstrip().startswith("#")
    wanted = set()
    for key in config.leaves():
        if not key.startswith("job."):
            # The parts of a size are explained where sizes are.
            wanted.add(key.rpartition(".")[0] if key.startswith("spark.sizes.") else key)
    assert wanted <= explained, f"explain in conf/base.yaml: {sorted(wanted - explained)}"


@pytest.mark.parametrize("env", config.environments(CONF))
def test_every_environment_resolves_for_every_job(env: str) -> None:
    for job in [None, *config.jobs(CONF)]:
        config.load(env, job, folder=CONF)
