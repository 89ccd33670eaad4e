"""What a generation of the stream is called where others meet it; imports no engine, for those who only look."""

OVER = frozenset({"FINISHED", "FAILED", "CANCELED"})
"""States of a Flink job that runs no more; in any other one it runs, starts, restarts or stops."""


def job_name(keyspace: str, generation: str) -> str:
    """The name of a generation's Flink job."""
    return f"{_prefix(keyspace)}{generation}"


def generation_of(keyspace: str, job: str) -> str | None:
    """The generation whose job has this name; None where the job is no stream of the keyspace."""
    return job.removeprefix(_prefix(keyspace)) if job.startswith(_prefix(keyspace)) else None


def consumer_group(generation: str) -> str:
    """The consumer group whose committed offsets say how far a generation has written."""
    return f"dovetail-speed-{generation}"


def _prefix(keyspace: str) -> str:
    return f"{keyspace}-speed-"
