"""This machine: jars and the bundle."""

import click

from cli.options import home, settings
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


@click.command("topics")
@settings
def topics_command(env: str, overrides: tuple[str, ...]) -> None:
    """Create the topics where they are missing; those that exist are left as they are."""
    from local.kafka import create_topic

    kafka = config.load(env, None, overrides).kafka
    for name in (kafka.events_topic, kafka.rejected_topic):
        made = create_topic(kafka.bootstrap, name, kafka.partitions, kafka.replication, kafka.retention_days)
        click.echo(f"{name}: {'created' if made else 'is there'}")
