"""Jobs on the command line: the printed line is the one that runs, and the chain stops at the first failure."""

from pathlib import Path
from typing import Any

import pytest

from cli import jobs
from cli.main import main
from common import config, submit
from common.errors import ConfigError
from common.submit import Command
from local.ports import free_ports

CUT = "2026-11-20T00:00:00Z"


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Commands are recorded and end well, but for that of the job `rfm`; jars need not be there."""
    seen: list[str] = []

    def render(settings: config.Config, name: str, home: Path) -> Command:
        assert settings.job is not None
        return Command((name, settings.run.cut or "", str(settings.job.arguments.get("skip"))), ())

    def submit(command: Command, home: Path) -> int:
        seen.append(" ".join(command.argv) if command.argv[0] == "chain" else command.argv[0])
        return 3 if command.argv[0] == "rfm" else 0

    monkeypatch.setenv("DOVETAIL_PSEUDONYM_KEY", "a key for tests only")
    monkeypatch.setattr(jobs.submit, "render", render)
    monkeypatch.setattr(jobs.submit, "submit", submit)
    return seen


def test_jobs_are_listed_with_owner_and_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines[1:]} == set(config.jobs())
    assert any(line.startswith("streaming") and "always" in line for line in lines)


def test_the_chain_stops_at_the_first_failure_and_says_how_to_go_on(
    submitted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["nightly", "--cut", CUT, "--separately"]) == 3
    chain = config.in_order()
    assert submitted == chain[: chain.index("rfm") + 1]
    assert f"dovetail nightly --cut {CUT} --separately --from rfm" in capsys.readouterr().err


def test_the_chain_goes_on_where_it_stopped(submitted: list[str]) -> None:
    after = config.in_order()[config.in_order().index("rfm") + 1]
    assert main(["nightly", "--cut", CUT, "--separately", "--from", after]) == 0
    assert submitted[0] == after and "rfm" not in submitted


def test_a_job_can_be_left_out(submitted: list[str]) -> None:
    assert main(["nightly", "--cut", CUT, "--separately", "--skip", "rfm", "--skip", "land"]) == 0
    assert set(config.in_order()) - set(submitted) == {"rfm", "land"}


def test_the_chain_runs_in_one_session_unless_asked_otherwise(submitted: list[str]) -> None:
    assert main(["nightly", "--cut", CUT, "--skip", "land", "--skip", "parity"]) == 0
    assert submitted == [f"chain {CUT} land,parity"]


def test_the_chain_runs_whole_where_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOVETAIL_PSEUDONYM_KEY", "a key for tests only")
    lines: list[Command] = []

    def submit(command: Command, home: Path) -> int:
        lines.append(command)
        return 0

    monkeypatch.setattr(jobs.submit, "submit", submit)
    assert main(["nightly", "--cut", CUT]) == 0
    assert "--cut" in lines[0].argv and "--skip" not in lines[0].argv


def test_the_session_has_the_same_jobs_in_an_order_that_the_files_allow() -> None:
    from jobs.chain import STEPS

    steps = [step.name for step in STEPS]
    assert sorted(steps) == sorted(config.in_order())
    for name in steps:
        job = config.load("local", name).job
        assert job is not None and all(steps.index(before) < steps.index(name) for before in job.after)


def test_what_a_job_s_file_says_of_it_holds_in_the_session_too() -> None:
    from jobs import chain
    from jobs.spark.args import parse

    settings = config.load("local", "chain", ["run.cut=2026-11-20"])
    words = [word for flag in submit.arguments(settings, "chain") for word in flag]
    args = parse(chain.Args, words, "chain")
    for step in chain.STEPS:
        own = config.load("local", step.name, ["run.cut=2026-11-20"])
        alone = parse(step.args, [word for flag in submit.arguments(own, step.name) for word in flag], step.name)
        assert chain.arguments(step, args) == alone, step.name


def test_arguments_of_steps_that_are_none_are_refused_in_one_line() -> None:
    from jobs import chain
    from jobs.spark.args import build

    def args(steps: str) -> Any:
        return build(chain.Args, {"lake": "lake", "cut": "2026-11-20", "steps": steps}, "chain")

    with pytest.raises(ConfigError, match="--steps: expecting value"):
        args("rank=3")
    with pytest.raises(ConfigError, match="an object of objects is wanted"):
        args('{"train_als": 3}')
    with pytest.raises(ConfigError, match="train is no step of the chain"):
        args('{"train": {}}')
    train = next(step for step in chain.STEPS if step.name == "train_als")
    assert chain.arguments(train, args('{"train_als": {"rank": 64}}')).rank == 64
    with pytest.raises(ConfigError, match="train_als: --ranks: Unexpected keyword argument"):
        chain.arguments(train, args('{"train_als": {"ranks": 64}}'))


def test_what_is_not_in_the_chain_is_refused() -> None:
    with pytest.raises(ConfigError, match="import_events is not in the nightly chain"):
        jobs.chosen(config.in_order(), "import_events", ())


def test_a_cut_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nightly"]) == 2
    assert "--cut" in capsys.readouterr().err


def test_submit_returns_the_code_of_the_job(submitted: list[str]) -> None:
    assert main(["submit", "rfm", "--cut", CUT]) == 3
    assert main(["submit", "cleanse", "--cut", CUT, "--arg", "lake=/elsewhere"]) == 0


def test_the_stream_is_not_submitted_to_servers_that_are_away(
    submitted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (port,) = free_ports(1)
    assert main(["submit", "streaming", "--set", f"flink.jobmanager=127.0.0.1:{port}"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert errors == [
        f"error: nothing answers at 127.0.0.1:{port}: start it (make up), or correct flink.jobmanager with --set"
    ]
    assert not submitted
