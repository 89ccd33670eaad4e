"""The views' versions: what there is, what is live, and how to change that."""

import click

from cli.environment import session_of
from cli.jobs import submit_job
from cli.options import settings
from common import config
from views.errors import ViewMissing
from views.pointer import BATCH, SPEED, read_pointer
from views.versions import BatchVersions, Generations, list_versions


@click.command("views")
@settings
def views_command(env: str, overrides: tuple[str, ...]) -> None:
    """List the batch versions and speed generations, and which is live."""
    with session_of(config.load(env, None, overrides)) as session:
        for layer, what in ((BATCH, "batch version"), (SPEED, "speed generation")):
            pointer = read_pointer(session, layer)
            for version in list_versions(session, layer):
                mark = "live" if pointer is not None and pointer.live == version.name else version.state
                click.echo(f"{what:<18}{version.name:<18}{mark}")


@click.command("live")
@click.argument("generation", required=False)
@settings
def live_command(generation: str | None, env: str, overrides: tuple[str, ...]) -> None:
    """Make a GENERATION of the speed views live, by default the newest, once its stream has caught up."""
    with session_of(config.load(env, None, overrides)) as session:
        claimed = [version.name for version in list_versions(session, SPEED) if version.state != "dropped"]
        if not claimed:
            raise ViewMissing("there is no generation yet: submit the streaming application first")
        pointer = Generations(session).make_live(generation or claimed[-1])
    click.echo(f"generation {pointer.live} is live")


@click.command("rollback")
@click.option("--run", metavar="ID", help="Take the lake's tables, too, back to what they were after this run.")
@settings
def rollback_command(run: str | None, env: str, overrides: tuple[str, ...]) -> int:
    """Make the batch version before the live one live again."""
    if run:
        return submit_job("rollback", None, (f"run={run}",), env, overrides)
    with session_of(config.load(env, None, overrides)) as session:
        pointer = BatchVersions(session).rollback()
    click.echo(f"version {pointer.live} is live")
    return 0
