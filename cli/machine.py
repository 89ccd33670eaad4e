"""This machine: jars, the bundle, topics, the platform that stays up, and the demo."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.environment import export_key, session_of, spec_of
from cli.options import home, settings
from common import bundle, config, submit
from common.config import Config
from common.errors import ConfigError, MissingRequirement, ServerUnavailable
from streaming.names import consumer_group

if TYPE_CHECKING:
    from local.servers import Platform, Ports

CATCH_UP_S = 900
"""How long a new generation of the stream may take to read what the topic holds."""

KEEPS_UP_S = 30.0
"""A stream that writes within so long what the topic holds has caught up: two of its checkpoints and some more."""


def say(line: str) -> None:
    """Tell the user what is happening, at once."""
    click.echo(line, err=True)


@click.command("jars")
@click.argument("names", nargs=-1)
def jars_command(names: tuple[str, ...]) -> None:
    """Fetch the engines' jars (all, or those of NAMES) into build/jars, once."""
    from local.jars import main

    main(list(names))


@click.command("bundle")
def bundle_command() -> None:
    """Build dist/dovetail.zip, what goes to the clusters."""
    say(f"bundle: {bundle.build(home(), home() / config.load('local').zip).relative_to(home())}")


@click.command("topics")
@settings
def topics_command(env: str, overrides: tuple[str, ...]) -> None:
    """Create the topics where they are missing; those that exist are left as they are."""
    create_topics(config.load(env, None, overrides))


@click.command("demo")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="A real history: Online Retail (Parquet) or REES46 (CSV). Default: the simulator.",
)
@click.option("--folder", type=click.Path(path_type=Path), help="Where it works; default build/demo.")
@click.option("--keep", is_flag=True, help="Leave the platform and the playground running at the end.")
def demo_command(data: Path | None, folder: Path | None, keep: bool) -> int:
    """Run the whole loop on this machine and check it: history, nightly run, live traffic, a second night, parity."""
    from local.demo.run import main

    if data is not None and not data.exists():
        raise MissingRequirement(f"there is no data at {data}: give a file, or leave --data out for the simulator")
    return main(data, folder, keep)


@click.command("up")
@settings
def up_command(env: str, overrides: tuple[str, ...]) -> None:
    """Start Kafka, Cassandra and Flink here, then the stream and the serving layer; all stay when this returns."""
    from local.servers import Platform

    loaded = config.load(env, None, overrides)
    export_key(loaded)
    platform = Platform(home() / loaded.local.folder, ports(loaded))
    bundle.build(home(), home() / loaded.zip)
    platform.up(say)
    try:
        create_topics(loaded)
        start_stream(platform, loaded, env, overrides)
        start_serving(platform, env, overrides, loaded)
    except BaseException:
        platform.down(say)
        raise
    say(f"up: playground {loaded.serving.url}/  Flink {platform.flink.url}/  stop it all with: dovetail down")


@click.command("down")
@click.option("--folder", type=click.Path(path_type=Path), help="The platform's folder; default: local.folder.")
@settings
def down_command(folder: Path | None, env: str, overrides: tuple[str, ...]) -> None:
    """Stop everything that `up` started, or `demo --keep` left; what was stored stays."""
    from local.servers import Platform

    Platform.load(folder or home() / config.load(env, None, overrides).local.folder).down(say)


def create_topics(loaded: Config) -> None:
    """Create the topics where they are missing."""
    from local.kafka import WRITTEN, create_topic

    kafka = loaded.kafka
    for name, config_ in ((kafka.events_topic, {}), (kafka.rejected_topic, WRITTEN), (kafka.triggers_topic, WRITTEN)):
        made = create_topic(kafka.bootstrap, name, kafka.partitions, kafka.replication, kafka.retention_days, config_)
        click.echo(f"{name}: {'created' if made else 'is there'}")


def ports(loaded: Config) -> "Ports":
    """Return the ports of the local platform; raises ConfigError where an address is not on this machine."""
    from local.servers import Ports

    def port(key: str, address: str) -> int:
        host, _, number = address.rpartition(":")
        if host not in ("127.0.0.1", "localhost"):
            raise ConfigError(
                f"{key}: `up` starts servers on this machine, so it must be 127.0.0.1:PORT, not {address}"
            )
        return int(number)

    return Ports(
        kafka=port("kafka.bootstrap", loaded.kafka.bootstrap),
        kafka_controller=loaded.local.kafka_controller_port,
        cassandra=port("cassandra.contact", loaded.cassandra.contact),
        cassandra_storage=loaded.local.cassandra_storage_port,
        cassandra_jmx=loaded.local.cassandra_jmx_port,
        flink=port("flink.jobmanager", loaded.flink.jobmanager),
        flink_rpc=loaded.local.flink_rpc_port,
        serving=loaded.serving.port,
    )


def start_stream(platform: "Platform", loaded: Config, env: str, overrides: tuple[str, ...]) -> None:
    """Submit the streaming application as a new generation, and make that live once it has read what was there."""
    from views.connect import ensure_keyspace
    from views.versions import Generations

    ensure_keyspace(spec_of(loaded))
    with session_of(loaded) as session:
        generation = Generations(session).create().name
        chosen = (*overrides, f"run.generation={generation}")
        command = submit.render(config.load(env, "streaming", chosen), "streaming", home())
        say(f"up: submitting the streaming application as generation {generation} ...")
        before = set(platform.flink.rest.jobs())
        if submit.submit(command, home(), platform.flink.environment()) != 0:
            raise ServerUnavailable("`flink run` failed; its own words are above")
        (job,) = set(platform.flink.rest.jobs()) - before
        seconds = platform.flink.rest.wait_running(job, 180)
        say(f"up: the stream runs ({seconds:.0f} s); waiting until it has read what the topic holds ...")
        wait_caught_up(loaded, consumer_group(generation))
        Generations(session).make_live(generation)
    say(f"up: generation {generation} is live")


def wait_caught_up(loaded: Config, group: str, keeps_up_s: float = KEEPS_UP_S) -> None:
    """Wait until a stream's group keeps up: it writes what the topic holds within so long.

    Raises ServerUnavailable past the limit.
    """
    from local.kafka import ends

    deadline = time.monotonic() + CATCH_UP_S
    while True:
        begun = time.monotonic()
        wait_passed(loaded, group, ends(loaded.kafka.bootstrap, loaded.kafka.events_topic), deadline)
        if time.monotonic() - begun < keeps_up_s:
            return


def wait_passed(loaded: Config, group: str, upto: Mapping[int, int], deadline: float) -> None:
    """Wait until a stream's group has written all before these offsets; raises ServerUnavailable past the deadline."""
    from local.kafka import lag

    while (left := lag(loaded.kafka.bootstrap, loaded.kafka.events_topic, group, upto)) != 0:
        if time.monotonic() > deadline:
            raise ServerUnavailable(f"waited {CATCH_UP_S} s for the stream to catch up: {left} events are left")
        time.sleep(1)


def start_serving(platform: "Platform", env: str, overrides: tuple[str, ...], loaded: Config) -> None:
    """Start the serving layer and wait until it answers."""
    command = submit.render(config.load(env, "serving", overrides), "serving", home())
    seconds = platform.serve([sys.executable, *command.argv[1:]], cwd=home())
    say(f"up: serving answers at {loaded.serving.url} ({seconds:.0f} s)")
