"""The command line: errors are one line and exit code 2, and asking for help loads no engine."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["doctr"], "did you mean 'doctor'?"),
        (["render"], "Missing argument 'JOB'"),
        (["render", "--bogus"], "--bogus"),
        (["render", "no-such-job"], "unknown job 'no-such-job'"),
        (["config", "--env", "loca"], "did you mean 'local'?"),
        (["config", "--set", "lake.rot=x"], "did you mean 'lake.root'?"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(
    argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("error: ") and says in err


def test_no_arguments_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_and_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"Usage: dovetail {name}" in capsys.readouterr().out


def test_asking_for_help_loads_no_engine() -> None:
    code = (
        "import sys; from cli.main import main; main(['--help']); "
        "heavy = {'pyspark', 'pyflink', 'cassandra', 'fastapi', 'local', 'pandas', 'numpy'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_config_prints_settings_resolved(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--set", "lake.root=/elsewhere"]) == 0
    assert "root: /elsewhere" in capsys.readouterr().out
