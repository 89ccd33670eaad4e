"""Options that several commands share, and the folder they work in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def home() -> Path:
    """Return the folder that jobs are submitted from: the checkout, or the current folder once installed."""
    checkout = Path(__file__).resolve().parents[1]
    return checkout if (checkout / "setup.py").is_file() else Path.cwd()


def settings(function: F) -> F:
    """Add ``--env`` and ``--set`` to a command."""
    function = click.option(
        "--set",
        "overrides",
        metavar="KEY=VALUE",
        multiple=True,
        help="Change one setting, for example lake.root=/data/lake; may be given often.",
    )(function)
    return click.option(
        "--env", default="local", envvar="DOVETAIL_ENV", show_default=True, help="The environment: a file of conf/."
    )(function)
