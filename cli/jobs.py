"""Jobs: list, render and submit them, and run the nightly chain."""

import sys
import time

import click
import yaml

from cli.environment import export_key, require_servers
from cli.options import F, home, settings
from common import config, submit
from common.errors import ConfigError


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
    return submit_job(job, cut, arguments, env, overrides)


def submit_job(job: str, cut: str | None, arguments: tuple[str, ...], env: str, overrides: tuple[str, ...]) -> int:
    """Say a job's command line, run it and return its exit code."""
    command = _command(job, cut, arguments, env, overrides)
    click.echo(command.text(), err=True)
    loaded = config.load(env, None, overrides)
    export_key(loaded)
    if job == "streaming":
        require_servers(loaded)
    return submit.submit(command, home())


def _command(
    job: str, cut: str | None, arguments: tuple[str, ...], env: str, overrides: tuple[str, ...]
) -> submit.Command:
    chosen = [*overrides, *(f"job.arguments.{argument}" for argument in arguments)]
    if cut:
        chosen.append(f"run.cut={cut}")
    return submit.render(config.load(env, job, chosen), job, home())


@click.command("nightly")
@click.option("--cut", required=True, help="The instant up to which the run covers events, UTC, on an hour's border.")
@click.option("--skip", metavar="JOB", multiple=True, help="Leave a job out, for example land where no stream runs.")
@click.option("--separately", is_flag=True, help="Each job by its own submission, instead of all in one Spark session.")
@click.option("--from", "first", metavar="JOB", help="Begin with this job; goes with --separately.")
@settings
def nightly_command(
    cut: str, skip: tuple[str, ...], separately: bool, first: str | None, env: str, overrides: tuple[str, ...]
) -> int:
    """Run the nightly chain, every scheduled job in its order, up to the first failure."""
    names = chosen(config.in_order(), first, skip)
    if separately:
        export_key(config.load(env, None, overrides))
        return _one_by_one(names, cut, env, overrides)
    if first:
        raise ConfigError("--from goes with --separately: in one session the chain always begins at its beginning")
    return submit_job("chain", cut, (f"skip={','.join(skip)}",) if skip else (), env, overrides)


def _one_by_one(names: list[str], cut: str, env: str, overrides: tuple[str, ...]) -> int:
    commands = [(name, _command(name, cut, (), env, overrides)) for name in names]
    begun = time.monotonic()
    for number, (name, command) in enumerate(commands, 1):
        click.echo(f"[{number}/{len(commands)}] {name} ...", err=True)
        since = time.monotonic()
        code = submit.submit(command, home())
        if code != 0:
            click.echo(
                f"error: {name} ended with code {code}; nothing after it ran. Mend the cause, then go on with:"
                f" dovetail nightly --cut {cut} --separately --from {name}",
                err=True,
            )
            return code
        click.echo(f"[{number}/{len(commands)}] {name}: {time.monotonic() - since:.0f} s", err=True)
    click.echo(f"{len(commands)} jobs, {time.monotonic() - begun:.0f} s", err=True)
    return 0


def chosen(chain: list[str], first: str | None, skip: tuple[str, ...]) -> list[str]:
    """Return the part of the chain that is wanted; raises ConfigError for a name that it does not have."""
    for name in (*([first] if first else []), *skip):
        if name not in chain:
            raise ConfigError(f"{name} is not in the nightly chain: {', '.join(chain)}")
    begin = chain.index(first) if first else 0
    return [name for name in chain[begin:] if name not in skip]
