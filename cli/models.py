"""The registered models: what there is, which is live, and how to change that."""

from typing import TYPE_CHECKING

import click

from cli.options import home, settings
from common import config

if TYPE_CHECKING:
    from jobs.spark.tracking import Registered, Tracking


def tracking_of(env: str, overrides: tuple[str, ...]) -> "Tracking":
    """Where the environment's models are registered."""
    from jobs.spark.tracking import Tracking, tracking_uri

    loaded = config.load(env, None, overrides)
    root = loaded.lake.root
    return Tracking(tracking_uri(root if "://" in root else str(home() / root), loaded.mlflow.tracking_uri))


def _say(chosen: "Registered") -> None:
    click.echo(f"model {chosen.model_version} is live: the next recommend and publish use it (dovetail nightly)")


@click.group("models", invoke_without_command=True)
@settings
@click.pass_context
def models_command(context: click.Context, env: str, overrides: tuple[str, ...]) -> None:
    """List the trained models, newest first, which is live, and why each was promoted or held."""
    if context.invoked_subcommand is not None:
        return
    for version in tracking_of(env, overrides).versions():
        click.echo(f"{version.model_version:<24}{'live' if version.live else '':<6}{version.verdict}")


@models_command.command("promote")
@click.argument("version")
@settings
def promote_command(version: str, env: str, overrides: tuple[str, ...]) -> None:
    """Make the model VERSION live, whatever its figures say."""
    _say(tracking_of(env, overrides).decide(version, "promoted by hand", promote=True))


@models_command.command("rollback")
@settings
def rollback_command(env: str, overrides: tuple[str, ...]) -> None:
    """Make the model that was live before the live one live again."""
    _say(tracking_of(env, overrides).rollback())
