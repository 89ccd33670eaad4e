"""What a command takes from an environment: its pseudonym key and a session with its Cassandra."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import click
from cassandra.cluster import Session

from cli.options import home
from common.config import Config
from common.errors import ServerUnavailable
from views.connect import ClusterSpec, connected

CONNECT_S = 3.0


@contextmanager
def session_of(settings: Config) -> Iterator[Session]:
    """A session with the environment's Cassandra, ended with the block."""
    with connected(spec_of(settings)) as session:
        yield session


def spec_of(settings: Config) -> ClusterSpec:
    """Where the environment's Cassandra is, and as whom."""
    where = settings.cassandra
    return ClusterSpec.parse(where.contact, where.keyspace, where.user_env, where.password_env)


def require_servers(settings: Config) -> None:
    """Raise ServerUnavailable where the stream would be submitted in vain: `flink run` wraps that into a Java trace."""
    spec = spec_of(settings)
    flink, _, port = settings.flink.jobmanager.rpartition(":")
    wanted = {"flink.jobmanager": ((flink,), int(port)), "cassandra.contact": (spec.hosts, spec.port)}
    for key, (hosts, number) in wanted.items():
        if not any(_listens(host, number) for host in hosts):
            raise ServerUnavailable(
                f"nothing answers at {','.join(hosts)}:{number}: start it (make up), or correct {key} with --set"
            )


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S):
            return True
    except OSError:
        return False


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
