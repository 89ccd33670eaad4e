"""A generation's applications on the cluster: which run, and how to stop, start and go on with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.environment import export_key
from cli.options import home
from common import config, submit
from common.config import Config
from common.errors import ConcurrentRun, ConfigError, IncompleteInput, ServerUnavailable
from streaming.names import OUTPUTS, OVER, parts_of, unit_of

if TYPE_CHECKING:
    from local.flink_rest import FlinkRest

ARCHIVE_STEP = "streaming-writer"
"""What Flink calls the step that writes files."""


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


def running(rest: "FlinkRest", loaded: Config, generation: str | None) -> tuple[str, str]:
    """A generation that runs, by default the only one, and its job.

    Raises ConfigError where it does not run, or where more than one does and none was named.
    """
    found = alive(rest, loaded)
    if generation is None:
        if len(found) != 1:
            raise ConfigError(f"{len(found)} generations run ({', '.join(sorted(found)) or 'none'}): name one")
        (generation,) = found
    if generation not in found:
        raise ConfigError(f"generation {generation} does not run; there are: {', '.join(sorted(found)) or 'none'}")
    return generation, found[generation]


def stop(rest: "FlinkRest", loaded: Config, name: str, job: str) -> str:
    """Stop a generation's job with a savepoint; the savepoint's path."""
    return rest.stop(job, states(loaded, name) / "savepoints")


def archive_writers(rest: "FlinkRest", job: str) -> int | None:
    """How many tasks of a job write the archive; None where it writes none.

    They stay what they were when it began: Flink's merging of files restores at no other parallelism.
    """
    steps = rest.get(f"/jobs/{job}")["vertices"]
    return next((step["parallelism"] for step in steps if step["name"].startswith(ARCHIVE_STEP)), None)


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
