"""The documents are true: each command they name exists, and each link leads somewhere."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.main import COMMANDS, dovetail
from common import config
from serving.metrics import Metrics

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]

TARGETS = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M))


def code(path: Path) -> Iterator[str]:
    """Yield the lines of fenced blocks and the texts of inline code."""
    text = path.read_text()
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.S | re.M):
        yield from block.splitlines()
    yield from (" ".join(part.split()) for part in re.findall(r"(?<!`)`([^`]+)`(?!`)", text))


def commands(path: Path, program: str) -> Iterator[list[str]]:
    """Yield the words of each command of the program, comments left out."""
    for line in code(path):
        found = re.match(rf"(?:.*\bexec \w+ )?({program} .*)", line.strip())
        if found:
            words = shlex.split(found[1], comments=True)
            if len(words) > 1:
                yield words


@pytest.mark.parametrize("name", NAMES)
def test_every_make_target_exists(name: str) -> None:
    named = {word for words in commands(ROOT / name, "make") for word in words[1:] if re.fullmatch(r"[a-z-]+", word)}
    assert named <= TARGETS


@pytest.mark.parametrize("name", NAMES)
def test_every_command_exists_and_takes_the_options_it_is_shown_with(name: str) -> None:
    for words in commands(ROOT / name, "dovetail"):
        if words[1].startswith("-") or words[1] == "...":
            continue
        assert words[1] in COMMANDS, words
        command = dovetail.get_command(click.Context(dovetail), words[1])
        assert command is not None
        if isinstance(command, click.Group) and len(words) > 2:
            command = command.commands.get(words[2])
            assert command is not None, words
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words[2:] if re.fullmatch(r"--[a-z-]+", word)} <= known | {"--help"}, words
        if words[1] in ("render", "submit"):
            assert len(words) == 2 or words[2] in config.jobs(), words


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_to_a_file(name: str) -> None:
    path = ROOT / name
    for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", path.read_text()):
        assert (path.parent / link).exists(), link


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_that_is_changed_exists(name: str) -> None:
    keys = set(config.leaves())
    for line in code(ROOT / name):
        for key in re.findall(r"--set ([a-z][\w.]*)=", line):
            assert key == "key" or key in keys, key


def test_bare_make_prints_help_for_every_target() -> None:
    # Below another make it would say which folder it enters.
    command = ["make", "--no-print-directory"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {line.split()[0] for line in printed.splitlines()[2:]} == TARGETS


def test_continuous_integration_runs_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert script.rstrip().endswith("exec make test") and "\nmake test\n" in (ROOT / "README.md").read_text()


def test_the_board_asks_serving_for_metrics_that_it_has() -> None:
    board = (ROOT / "docker" / "grafana" / "dovetail.json").read_text()
    shown = {re.sub(r"_(bucket|total)$", "", name) for name in re.findall(r"dovetail_\w+", board)}
    assert shown and shown <= {family.name for family in Metrics().registry.collect()}
