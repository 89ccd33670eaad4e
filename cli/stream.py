"""The running stream: what runs, stop it with its state, go on from it, change its parallelism or its features."""

import click

from cli import applications
from cli.environment import export_key, session_of
from cli.options import settings
from cli.upgrade import upgrade
from common import config
from common.errors import ConcurrentRun
from streaming.names import parts_of
from views.versions import Generations


@click.group("stream")
def stream_command() -> None:
    """Say what runs, stop it with a savepoint, go on from its state, rescale it, bring changed features to it."""


@stream_command.command("status")
@settings
def status_command(env: str, overrides: tuple[str, ...]) -> None:
    """Say of each running generation how it is: state, restarts, checkpoints."""
    loaded = config.load(env, None, overrides)
    rest = applications.rest_of(loaded)
    for generation, job in sorted(applications.alive(rest, loaded).items()):
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
    rest = applications.rest_of(loaded)
    name, job = applications.running(rest, loaded, generation)
    path = applications.stop(rest, loaded, name, job)
    click.echo(f"generation {name} stopped; its state is {path}; go on with: dovetail stream resume {name}")


@stream_command.command("resume")
@click.argument("generation")
@click.option("--from", "path", metavar="PATH", help="A savepoint or checkpoint; by default the newest there is.")
@settings
def resume_command(generation: str, path: str | None, env: str, overrides: tuple[str, ...]) -> int:
    """Go on with a GENERATION from its state: after a stop, an upgrade, or the loss of the JobManager."""
    loaded = config.load(env, None, overrides)
    return applications.resume(applications.rest_of(loaded), loaded, generation, path, env, overrides)


@stream_command.command("rescale")
@click.argument("parallelism", type=click.IntRange(min=1))
@click.argument("generation", required=False)
@settings
def rescale_command(parallelism: int, generation: str | None, env: str, overrides: tuple[str, ...]) -> int:
    """Stop the stream with a savepoint and go on from it with another PARALLELISM; the archive's own one stays."""
    loaded = config.load(env, None, overrides)
    rest = applications.rest_of(loaded)
    name, job = applications.running(rest, loaded, generation)
    writers = applications.archive_writers(rest, job)
    kept = () if writers is None else (f"flink.archive_parallelism={writers}",)
    path = applications.stop(rest, loaded, name, job)
    chosen = (*overrides, *kept, f"flink.parallelism={parallelism}")
    return applications.resume(rest, loaded, name, path, env, chosen)


@stream_command.command("upgrade")
@click.option("--dry-run", is_flag=True, help="Say the steps and do nothing.")
@click.option("--drop", is_flag=True, help="Drop the old generation's tables at the end; by default they are kept.")
@settings
def upgrade_command(dry_run: bool, drop: bool, env: str, overrides: tuple[str, ...]) -> None:
    """Bring changed features, or a changed stream, to a running system: a new generation, history, then the switch."""
    export_key(config.load(env, None, overrides))
    upgrade(env, overrides, dry_run=dry_run, drop=drop, say=lambda line: click.echo(line, err=not dry_run))


@stream_command.command("drop")
@click.argument("generation")
@settings
def drop_command(generation: str, env: str, overrides: tuple[str, ...]) -> None:
    """Drop the tables of a GENERATION that is neither live nor running."""
    loaded = config.load(env, None, overrides)
    running = applications.alive(applications.rest_of(loaded), loaded)
    writing = [unit for unit in running if parts_of(unit)[0] == generation]
    if writing:
        raise ConcurrentRun(f"{', '.join(writing)} runs: stop it first (dovetail stream stop {writing[0]})")
    with session_of(loaded) as session:
        Generations(session).drop(generation)
    click.echo(f"generation {generation} is dropped")
