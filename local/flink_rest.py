"""What the platform asks of a Flink cluster through its REST interface."""

import time
from pathlib import Path
from typing import Any

import httpx

from common.errors import ServerUnavailable


class FlinkRest:
    """A client for one JobManager; every call raises ``ServerUnavailable`` if it is not there or refuses."""

    def __init__(self, url: str, timeout: float = 10.0):
        self.url = url
        self._client = httpx.Client(base_url=url, timeout=timeout)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str) -> Any:
        """Return the JSON answer of a path."""
        return self._ask("GET", path)

    def overview(self) -> dict[str, Any]:
        """Return counts of TaskManagers, slots and jobs."""
        return self.get("/overview")

    def jobs(self) -> dict[str, str]:
        """Return the state of every job the JobManager remembers, by job id."""
        return {job["jid"]: job["state"] for job in self.get("/jobs/overview")["jobs"]}

    def state(self, job_id: str) -> str:
        """Return the state of a job: RUNNING, FAILED, FINISHED, CANCELED, RESTARTING, ..."""
        return self.get(f"/jobs/{job_id}")["state"]

    def wait_running(self, job_id: str, limit: float = 90.0) -> float:
        """Wait until all tasks of a job run; return the seconds. A job that failed raises with its root cause."""
        begun = time.monotonic()
        while True:
            job = self.get(f"/jobs/{job_id}")
            if job["state"] in ("FAILED", "CANCELED", "SUSPENDED"):
                raise ServerUnavailable(f"Flink job {job['name']} ended as {job['state']}: {self.failure(job_id)}")
            if job["state"] == "FINISHED" or all(vertex["status"] == "RUNNING" for vertex in job["vertices"]):
                return time.monotonic() - begun
            if time.monotonic() - begun > limit:
                tasks = ", ".join(f"{vertex['status']}" for vertex in job["vertices"])
                raise ServerUnavailable(
                    f"waited {limit:.0f} s for Flink job {job['name']} to run; its tasks are {tasks}"
                )
            time.sleep(0.3)

    def wait_finished(self, job_id: str, limit: float) -> str:
        """Wait until a job is over in whatever way and return its last state."""
        deadline = time.monotonic() + limit
        while (state := self.state(job_id)) not in ("FINISHED", "FAILED", "CANCELED"):
            if time.monotonic() > deadline:
                raise ServerUnavailable(f"waited {limit:.0f} s for Flink job {job_id} to end; it is {state}")
            time.sleep(0.3)
        return state

    def failure(self, job_id: str) -> str:
        """Return the first line of the last failure's cause, or an empty string."""
        entries = self.get(f"/jobs/{job_id}/exceptions").get("exceptionHistory", {}).get("entries", [])
        if not entries:
            return ""
        causes = [line for line in entries[0]["stacktrace"].splitlines() if line.startswith("Caused by")]
        return (causes[-1] if causes else entries[0]["stacktrace"].splitlines()[0])[:400]

    def restarts(self, job_id: str) -> int:
        """Return how many failures a job was restarted from, of the last sixteen, which is what Flink keeps.

        Failures at one moment share one restart. The metric numRestarts stays 0 after the loss of a TaskManager.
        """
        return len(self.get(f"/jobs/{job_id}/exceptions")["exceptionHistory"]["entries"])

    def checkpoints(self, job_id: str) -> int:
        """Return the number of completed checkpoints."""
        return int(self.get(f"/jobs/{job_id}/checkpoints")["counts"]["completed"])

    def wait_checkpoint_begins(self, job_id: str, limit: float = 60.0) -> int:
        """Wait until a checkpoint is under way; its number."""
        deadline = time.monotonic() + limit
        while True:
            for one in self.get(f"/jobs/{job_id}/checkpoints")["history"]:
                if one["status"] == "IN_PROGRESS":
                    return int(one["id"])
            if time.monotonic() > deadline:
                raise ServerUnavailable(f"waited {limit:.0f} s for a checkpoint of Flink job {job_id} to begin")
            time.sleep(0.01)

    def checkpoint_completed(self, job_id: str, number: int) -> bool:
        """Whether one of the last checkpoints came to its end."""
        history = self.get(f"/jobs/{job_id}/checkpoints")["history"]
        return any(one["id"] == number and one["status"] == "COMPLETED" for one in history)

    def checkpoint_interval_s(self, job_id: str) -> float:
        """Return the seconds between two checkpoints."""
        return self.get(f"/jobs/{job_id}/checkpoints/config")["interval"] / 1_000

    def wait_checkpoint(self, job_id: str, limit: float = 60.0) -> None:
        """Wait for the next checkpoint that completes from now on (the one under way does not count)."""
        wanted, deadline = self.checkpoints(job_id) + 2, time.monotonic() + limit
        while self.checkpoints(job_id) < wanted:
            if time.monotonic() > deadline:
                raise ServerUnavailable(f"waited {limit:.0f} s for two checkpoints of Flink job {job_id}")
            time.sleep(0.2)

    def cancel(self, job_id: str, limit: float = 60.0) -> None:
        """Cancel a job without a savepoint and wait until it is over."""
        self._ask("PATCH", f"/jobs/{job_id}?mode=cancel")
        self.wait_finished(job_id, limit)

    def savepoint(self, job_id: str, folder: Path, limit: float = 120.0) -> str:
        """Take a savepoint of a running job, which goes on, and return its path."""
        body = {"target-directory": folder.as_uri(), "cancel-job": False}
        return self._savepoint(job_id, self._ask("POST", f"/jobs/{job_id}/savepoints", body), limit)

    def stop(self, job_id: str, folder: Path, limit: float = 120.0) -> str:
        """Stop a job with a savepoint and return the savepoint's path."""
        body = {"targetDirectory": folder.as_uri(), "drain": False}
        return self._savepoint(job_id, self._ask("POST", f"/jobs/{job_id}/stop", body), limit)

    def _savepoint(self, job_id: str, answer: dict[str, Any], limit: float) -> str:
        deadline = time.monotonic() + limit
        while True:
            found = self.get(f"/jobs/{job_id}/savepoints/{answer['request-id']}")
            if found["status"]["id"] == "COMPLETED":
                break
            if time.monotonic() > deadline:
                raise ServerUnavailable(f"waited {limit:.0f} s for a savepoint of Flink job {job_id}")
            time.sleep(0.3)
        operation = found["operation"]
        if "location" not in operation:
            cause = str(operation.get("failure-cause", {}).get("stack-trace", "")).splitlines()[:1]
            raise ServerUnavailable(f"the savepoint of Flink job {job_id} failed: {''.join(cause)[:300]}")
        return operation["location"]

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise ServerUnavailable(f"Flink at {self.url} does not answer ({type(error).__name__})") from error
        if answer.status_code >= 400:
            reason = " ".join(answer.text.split())[:300]
            raise ServerUnavailable(f"Flink at {self.url} answered {answer.status_code} to {method} {path}: {reason}")
        return answer.json() if answer.content else None
