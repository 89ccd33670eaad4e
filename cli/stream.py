"""The running stream: what runs, stop it with its state, go on from it, change its parallelism or its features."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.environment import export_key
from cli.options import home, settings
from common import config, submit
from common.config import Config
from common.errors import ConcurrentRun, ConfigError, IncompleteInput, ServerUnavailable
from streaming.names import OUTPUTS, OVER, parts_of, unit_of

if TYPE_CHECKING:
    from local.flink_rest import FlinkRest


@click.group("stream")
def stream_command() -> None:
    """Say what runs, stop it with a savepoint, go on from its state, rescale it, bring changed features to it."""


@stream_command.command("status")
@settings
def status_command(env: str, overrides: tuple[str, ...]) -> None:
    """Say of each running generation how it is: state, restarts, checkpoints."""
    loaded = config.load(env, None, overrides)
    rest = rest_of(loaded)
    for generation, job in sorted(alive(rest, loaded).items()):
        found = rest.get(f"/jobs/{job}/checkpoints")
        last = (found.get("latest") or {}).get("completed") or {}
        checkpoints, size = found["counts"]["completed"], last.get("state_size", 0)
        restarts = rest.restarts(job)
        click.echo(f"{generation}  {rest.state(job)}  {restarts} restarts  {checkpoints} checkpoints  {size} bytes")


@stream_command.command("stop")
@click.argument("generation", required=False)
@settings
def stop_command(generation: str | None, env: str, overrides: tuple[str, ...]) -> None:
    """Stop the stream with a savepoint; `dovetail stream resume GENERATION` goes on from it."""
    loaded = config.load(env, None, overrides)
    name, path = stop(rest_of(loaded), loaded, generation)
    click.echo(f"generation {name} stopped; its state is {path}; go on with: dovetail stream resume {name}")


@stream_command.command("resume")
@click.argument("generation")
@click.option("--from", "path", metavar="PATH", help="A savepoint or checkpoint; by default the newest there is.")
@settings
def resume_command(generation: str, path: str | None, env: str, overrides: tuple[str, ...]) -> int:
    """Go on with a GENERATION from its state: after a stop, an upgrade, or the loss of the JobManager."""
    loaded = config.load(env, None, overrides)
    return resume(rest_of(loaded), loaded, generation, path, env, overrides)


@stream_command.command("rescale")
@click.argument("parallelism", type=click.IntRange(min=1))
@click.argument("generation", required=False)
@settings
def rescale_command(parallelism: int, generation: str | None, env: str, overrides: tuple[str, ...]) -> int:
    """Stop the stream with a savepoint and go on from it with another PARALLELISM."""
    loaded = config.load(env, None, overrides)
    rest = rest_of(loaded)
    name, path = stop(rest, loaded, generation)
    return resume(rest, loaded, name, path, env, (*overrides, f"flink.parallelism={parallelism}"))


@stream_command.command("upgrade")
@click.option("--dry-run", is_flag=True, help="Say the steps and do nothing.")
@click.option("--drop", is_flag=True, help="Drop the old generation's tables at the end; by default they are kept.")
@settings
def upgrade_command(dry_run: bool, drop: bool, env: str, overrides: tuple[str, ...]) -> None:
    """Bring changed features, or a changed stream, to a running system: a new generation, history, then the switch."""
    from cli.upgrade import upgrade

    export_key(config.load(env, None, overrides))
    upgrade(env, overrides, dry_run=dry_run, drop=drop, say=lambda line: click.echo(line, err=not dry_run))


@stream_command.command("drop")
@click.argument("generation")
@settings
def drop_command(generation: str, env: str, overrides: tuple[str, ...]) -> None:
    """Drop the tables of a GENERATION that is neither live nor running."""
    from cli.environment import session_of
    from views.versions import Generations

    loaded = config.load(env, None, overrides)
    writing = [one for one in alive(rest_of(loaded), loaded) if parts_of(one)[0] == generation]
    if writing:
        raise ConcurrentRun(f"{', '.join(writing)} runs: stop it first (dovetail stream stop {writing[0]})")
    with session_of(loaded) as session:
        Generations(session).drop(generation)
    click.echo(f"generation {generation} is dropped")


def alive(rest: "FlinkRest", loaded: Config) -> dict[str, str]:
    """The job of each generation of the keyspace that runs, is starting or restarting.

    A generation whose outputs several applications share is there once for each: ``g3-visitors``, ``g3-archive``.
    """
    found = {}
    for job in rest.get("/jobs/overview")["jobs"]:
        unit = unit_of(loaded.cassandra.keyspace, job["name"])
        if unit is not None and job["state"] not in OVER:
            found[unit] = job["jid"]
    return found


def stop(rest: "FlinkRest", loaded: Config, generation: str | None) -> tuple[str, str]:
    """Stop a generation, by default the only one that runs, with a savepoint; its name and the savepoint's path.

    Raises ConfigError where it does not run, or where more than one does and none was named.
    """
    running = alive(rest, loaded)
    if generation is None:
        if len(running) != 1:
            raise ConfigError(f"{len(running)} generations run ({', '.join(sorted(running)) or 'none'}): name one")
        (generation,) = running
    if generation not in running:
        raise ConfigError(f"generation {generation} does not run; there are: {', '.join(sorted(running)) or 'none'}")
    return generation, rest.stop(running[generation], states(loaded, generation) / "savepoints")


def resume(
    rest: "FlinkRest", loaded: Config, generation: str, path: str | None, env: str, overrides: tuple[str, ...]
) -> int:
    """Submit the application with a generation's state and return the exit code.

    Raises ConcurrentRun where it runs, IncompleteInput where no state is found.
    """
    from local.flink import latest_state

    if generation in alive(rest, loaded):
        raise ConcurrentRun(f"generation {generation} runs already: stop it first, or use dovetail stream rescale")
    found = path or latest_state(states(loaded, generation))
    if found is None:
        raise IncompleteInput(
            f"generation {generation} has no state in {states(loaded, generation)}: name it with --from, or start a new"
            " generation (dovetail submit streaming)"
        )
    click.echo(f"going on from {found}", err=True)
    name, outputs = parts_of(generation)
    some = () if outputs == OUTPUTS else (f"run.outputs={','.join(outputs)}",)
    chosen = (*overrides, *some, f"run.generation={name}", f"run.savepoint={found}")
    return _submit(env, chosen)


def start(
    rest: "FlinkRest",
    loaded: Config,
    name: str,
    outputs: Sequence[str],
    reads_from_ms: int | None,
    env: str,
    overrides: tuple[str, ...],
) -> None:
    """Submit an application of a claimed generation without state and wait until it runs.

    Raises ServerUnavailable where it does not get to run.
    """
    begin = "earliest" if reads_from_ms is None else f"timestamp:{reads_from_ms}"
    some = () if tuple(outputs) == OUTPUTS else (f"run.outputs={','.join(outputs)}",)
    chosen = (*overrides, *some, f"run.generation={parts_of(name)[0]}", f"run.start={begin}")
    if _submit(env, chosen) != 0:
        raise ServerUnavailable("`flink run` failed; its own words are above")
    job = alive(rest, loaded).get(name)
    if job is None:
        raise ServerUnavailable(f"the job of {name} ended at once: see the JobManager's page, {rest.url}")
    rest.wait_running(job, 180)


def states(loaded: Config, generation: str) -> Path:
    """The folder of a generation's checkpoints and savepoints; raises ConfigError where it is no folder here."""
    root = loaded.flink.checkpoints.removeprefix("file://")
    if "://" in root:
        raise ConfigError(f"flink.checkpoints is {root}, which cannot be searched from here: name a state with --from")
    return home() / root / generation


def _submit(env: str, overrides: tuple[str, ...]) -> int:
    loaded = config.load(env, "streaming", overrides)
    command = submit.render(loaded, "streaming", home())
    click.echo(command.text(), err=True)
    export_key(loaded)
    return submit.submit(command, home())


def rest_of(loaded: Config) -> "FlinkRest":
    """The cluster that the stream runs on."""
    from local.flink_rest import FlinkRest

    return FlinkRest(f"http://{loaded.flink.jobmanager}")
