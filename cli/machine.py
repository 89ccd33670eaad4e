"""This machine: jars and the bundle."""

import click

from cli.options import home
from common import bundle, config


@click.command("jars")
@click.argument("names", nargs=-1)
def jars_command(names: tuple[str, ...]) -> None:
    """Fetch the engines' jars (all, or those of NAMES) into build/jars, once."""
    from local.jars import main

    main(list(names))


@click.command("bundle")
def bundle_command() -> None:
    """Build dist/dovetail.zip, what goes to the clusters."""
    path = config.load("local").zip
    click.echo(f"{bundle.build(home(), home() / path).relative_to(home())}", err=True)
