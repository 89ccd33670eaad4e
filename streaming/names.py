"""What a generation of the stream is called where others meet it; imports no engine, for those who only look."""

from collections.abc import Collection

OVER = frozenset({"FINISHED", "FAILED", "CANCELED"})
"""States of a Flink job that runs no more; in any other one it runs, starts, restarts or stops."""


OUTPUTS = ("visitors", "items", "sessions", "archive", "rejected", "triggers")
"""What the application puts out: rows of visitors, tiles of items, closed sessions; files; two topics."""


def unit(generation: str, outputs: Collection[str] = OUTPUTS) -> str:
    """What the application of a generation is called: ``g3``, or ``g3-visitors-items`` where it has not all outputs."""
    chosen = [name for name in OUTPUTS if name in outputs]
    return generation if len(chosen) == len(OUTPUTS) else "-".join((generation, *chosen))


def parts_of(unit: str) -> tuple[str, tuple[str, ...]]:
    """The generation and the outputs of an application by what it is called."""
    generation, *outputs = unit.split("-")
    return generation, tuple(outputs) or OUTPUTS


def job_name(keyspace: str, unit: str) -> str:
    """The name of an application's Flink job."""
    return f"{_prefix(keyspace)}{unit}"


def unit_of(keyspace: str, job: str) -> str | None:
    """The application whose job has this name; None where the job is no stream of the keyspace."""
    return job.removeprefix(_prefix(keyspace)) if job.startswith(_prefix(keyspace)) else None


SHARED = ("archive", "rejected", "triggers")
"""Outputs that all generations have in common: of the others each has tables of its own."""


def overlap(keyspace: str, job: str, unit: str, shared: Collection[str] = ()) -> bool:
    """Whether a job of this name writes anything that the application of this name would write, too.

    ``shared`` is what the application puts out of :data:`SHARED`: there a job of any generation is one too many.
    """
    other = unit_of(keyspace, job)
    if other is None:
        return False
    (generation, outputs), (own, wanted) = parts_of(other), parts_of(unit)
    return not set(outputs).isdisjoint(wanted if generation == own else shared)


def consumer_group(unit: str) -> str:
    """The consumer group whose committed offsets say how far an application has written."""
    return f"dovetail-speed-{unit}"


def _prefix(keyspace: str) -> str:
    return f"{keyspace}-speed-"
