"""What runs on the cluster that one is about to submit to."""

import json
import urllib.request
from collections.abc import Mapping

from pyflink.table import StreamTableEnvironment

from common.errors import ConcurrentRun, ServerUnavailable
from streaming.names import OVER

TIMEOUT_S = 10.0


def refuse_twice(t_env: StreamTableEnvironment, name: str) -> None:
    """Raise ConcurrentRun where a job of that name runs on the cluster already.

    Both would write the same rows with the same timestamps, so no view would be wrong; but every rejection would
    come twice, and the work would be done twice.
    """
    config = t_env.get_config()
    job = running({key: config.get(key, "") for key in ("execution.target", "rest.address", "rest.port")}, name)
    if job is not None:
        raise ConcurrentRun(
            f"{name} runs already, as job {job}, and was not started again: stop that one first (dovetail stream stop) "
            "or start a new generation (--generation new)"
        )


def running(settings: Mapping[str, str], name: str) -> str | None:
    """The id of a job of that name on the cluster that the settings name; None where there is none, or no cluster."""
    if settings.get("execution.target") != "remote":
        return None
    url = f"http://{settings['rest.address']}:{settings['rest.port']}/jobs/overview"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            jobs = json.load(answer)["jobs"]
    except OSError as error:
        raise ServerUnavailable(f"Flink at {url} does not answer: start it, or correct --jobmanager") from error
    return next(
        (job["jid"] for job in jobs if job["name"] == name and job["state"] not in OVER),
        None,
    )
