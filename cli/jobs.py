"""Jobs: list, render and submit them."""

import sys

import click
import yaml

from cli.options import F, home, settings
from common import config, submit


@click.command("jobs")
@settings
def jobs_command(env: str, overrides: tuple[str, ...]) -> None:
    """List the jobs with owner and schedule."""
    rows = [("JOB", "ENGINE", "SIZE", "SCHEDULE (UTC)", "OWNER", "WHAT IT DOES")]
    for name in config.jobs():
        job = config.load(env, name, overrides).job
        assert job is not None
        rows.append((name, job.engine, job.resources, job.schedule, job.owner, job.description))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]))


@click.command("config")
@click.argument("job", required=False)
@settings
def config_command(job: str | None, env: str, overrides: tuple[str, ...]) -> None:
    """Print the settings of an environment, and of JOB, resolved."""
    values = config.load(env, job, overrides).model_dump(mode="json", exclude_none=job is None)
    yaml.safe_dump(values, sys.stdout, sort_keys=False, allow_unicode=True)


def _choices(function: F) -> F:
    """Add what differs from run to run: ``--cut`` and ``--arg``."""
    function = click.option(
        "--arg",
        "arguments",
        metavar="NAME=VALUE",
        multiple=True,
        help="One argument of the job; short for --set job.arguments.NAME=VALUE.",
    )(function)
    return click.option(
        "--cut", help="The instant up to which the run covers events, UTC; short for --set run.cut=..."
    )(function)


@click.command("render")
@click.argument("job")
@_choices
@settings
def render_command(job: str, cut: str | None, arguments: tuple[str, ...], env: str, overrides: tuple[str, ...]) -> None:
    """Print the exact command line that runs JOB in an environment."""
    command = _command(job, cut, arguments, env, overrides)
    if command.secrets:
        click.echo(f"# needs in the environment: {', '.join(command.secrets)}", err=True)
    click.echo(command.text(), nl=False)


@click.command("submit")
@click.argument("job")
@_choices
@settings
def submit_command(job: str, cut: str | None, arguments: tuple[str, ...], env: str, overrides: tuple[str, ...]) -> int:
    """Run JOB where the configuration says, with the line that `render` prints."""
    command = _command(job, cut, arguments, env, overrides)
    click.echo(command.text(), err=True)
    return submit.submit(command, home())


def _command(
    job: str, cut: str | None, arguments: tuple[str, ...], env: str, overrides: tuple[str, ...]
) -> submit.Command:
    chosen = [*overrides, *(f"job.arguments.{argument}" for argument in arguments)]
    if cut:
        chosen.append(f"run.cut={cut}")
    return submit.render(config.load(env, job, chosen), job, home())
