"""``python -m serving``: run the service on uvicorn."""

import os

# The matrices of a fold-in are small: BLAS threads cost more than they bring, and take the cores from the answers.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import uvicorn  # noqa: E402

from common import log  # noqa: E402
from common.errors import MissingRequirement, run_main  # noqa: E402
from serving.app import create_app, open_backends  # noqa: E402
from serving.settings import Settings  # noqa: E402
from views.connect import ClusterSpec  # noqa: E402


def parser() -> argparse.ArgumentParser:
    """The arguments; their defaults are those of conf/base.yaml and serving.settings."""
    base = Settings(ClusterSpec(("127.0.0.1",)), "127.0.0.1:9092")
    made = argparse.ArgumentParser(prog="python -m serving", description="Answer for visitors, collect their events.")
    add = made.add_argument
    add("--host", default="127.0.0.1", help="the address to listen on")
    add("--port", type=int, default=8000, help="the port to listen on")
    add("--cassandra", required=True, metavar="HOST:PORT", help="the nodes of the views")
    add("--keyspace", default="dovetail")
    add("--cassandra-user-env", default="", metavar="NAME", help="the variable that holds the user; empty: no login")
    add("--cassandra-password-env", default="", metavar="NAME", help="the variable that holds the password")
    add("--kafka", required=True, metavar="HOST:PORT", help="the brokers of the collector")
    add("--events-topic", default=base.events_topic)
    add("--rejected-topic", default=base.rejected_topic)
    add("--lake", type=Path, help="the lake's root; models are read from <lake>/models")
    add("--models", type=Path, help="the folder of models; without it and --lake the folder that the pointer names")
    add("--pseudonym-key-env", default=base.pseudonym_key_env, metavar="NAME", help="the variable that holds the key")
    add("--pseudonym-key-id", default=base.pseudonym_key_id)
    add("--read-deadline", type=float, default=base.read_deadline_s, metavar="SECONDS", help="of one store call")
    add("--trending-refresh", type=float, default=base.trending_refresh_s, metavar="SECONDS")
    add("--playground-visitors", type=Path, metavar="FILE", help="JSON list of sample visitors: id, kind, label")
    add("--create-schema", action="store_true", help="create keyspace and pointer where they are not there")
    return made


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings that the arguments say."""
    models = arguments.models or (arguments.lake / "models" if arguments.lake else None)
    return Settings(
        cassandra=ClusterSpec.parse(
            arguments.cassandra, arguments.keyspace, arguments.cassandra_user_env, arguments.cassandra_password_env
        ),
        kafka=arguments.kafka,
        pseudonym_key_env=arguments.pseudonym_key_env,
        pseudonym_key_id=arguments.pseudonym_key_id,
        events_topic=arguments.events_topic,
        rejected_topic=arguments.rejected_topic,
        models=models,
        read_deadline_s=arguments.read_deadline,
        trending_refresh_s=arguments.trending_refresh,
        playground_visitors=arguments.playground_visitors,
        create_schema=arguments.create_schema,
    )


SWITCH_S = 0.0005
"""Seconds of a thread's turn: an answer changes threads several times, each time behind whichever is busy."""


def main() -> int:
    """Connect, then serve until SIGTERM or Ctrl-C."""
    arguments = parser().parse_args()
    log.setup()
    sys.setswitchinterval(SWITCH_S)
    settings = settings_of(arguments)
    backends = open_backends(settings)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings, backends),
            host=arguments.host,
            port=arguments.port,
            log_level="warning",
            access_log=False,  # its lines would hold raw ids
            timeout_graceful_shutdown=5,
            # Longer than clients and proxies keep a connection idle: whoever closes first must be the one that asks,
            # or a request meets a closing connection.
            timeout_keep_alive=75,
        )
    )
    try:
        server.run()
    except SystemExit as ended:  # uvicorn's way to say that it could not listen
        if ended.code:
            raise MissingRequirement(
                f"cannot listen on {arguments.host}:{arguments.port}: stop who uses it or choose another --port"
            ) from ended
    finally:
        backends.close()
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
