"""What runs on the cluster that one is about to submit to."""

import json
import urllib.request
from collections.abc import Callable, Mapping

from pyflink.table import StreamTableEnvironment

from common.errors import ConcurrentRun, ServerUnavailable
from streaming.names import OVER

TIMEOUT_S = 10.0


def refuse_twice(t_env: StreamTableEnvironment, name: str, same: Callable[[str], bool]) -> None:
    """Raise ConcurrentRun where a job runs on the cluster already whose name says that it is the ``same``.

    Both would write the same rows with the same timestamps, so no view would be wrong; but every rejection and trigger
    would come twice, and the work would be done twice.
    """
    config = t_env.get_config()
    found = running({key: config.get(key, "") for key in ("execution.target", "rest.address", "rest.port")}, same)
    if found is not None:
        job, called = found
        what = name if called == name else f"{called}, which writes what {name} would,"
        raise ConcurrentRun(
            f"{what} runs already, as job {job}, and was not started again: stop that one first (dovetail stream stop) "
            "or start a new generation that takes over from it (dovetail stream upgrade), or one without these outputs"
        )


def running(settings: Mapping[str, str], same: Callable[[str], bool]) -> tuple[str, str] | None:
    """Id and name of such a job on the cluster that the settings name; None where there is none, or no cluster."""
    if settings.get("execution.target") != "remote":
        return None
    url = f"http://{settings['rest.address']}:{settings['rest.port']}/jobs/overview"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            jobs = json.load(answer)["jobs"]
    except OSError as error:
        raise ServerUnavailable(f"Flink at {url} does not answer: start it, or correct --jobmanager") from error
    return next(
        ((job["jid"], job["name"]) for job in jobs if same(job["name"]) and job["state"] not in OVER),
        None,
    )
