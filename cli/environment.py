"""What a command takes from an environment: its pseudonym key and a session with its Cassandra."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import click
from cassandra.cluster import Session

from cli.options import home
from common.config import Config
from views.connect import ClusterSpec, connected


@contextmanager
def session_of(settings: Config) -> Iterator[Session]:
    """A session with the environment's Cassandra, ended with the block."""
    with connected(spec_of(settings)) as session:
        yield session


def spec_of(settings: Config) -> ClusterSpec:
    """Where the environment's Cassandra is, and as whom."""
    where = settings.cassandra
    return ClusterSpec.parse(where.contact, where.keyspace, where.user_env, where.password_env)


def export_key(settings: Config) -> None:
    """Put the pseudonym key into this process's environment, where an environment lives on one machine.

    A key that is there is left alone; else one is made once and kept, readable by this user only, in the platform's
    folder: pseudonyms must be the same tomorrow.
    """
    variable = settings.pseudonym.key_env
    if os.environ.get(variable) or settings.spark.target != "local":
        return
    path = home() / settings.local.folder / "pseudonym.key"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
        click.echo(f"${variable} is not set: a key was made for this machine, {path.relative_to(home())}", err=True)
    os.environ[variable] = path.read_text().strip()
