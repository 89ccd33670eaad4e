"""The one error tree of Dovetail, and how an entry point ends."""

import sys
from collections.abc import Callable


class DovetailError(Exception):
    """A failure the user can act on: one line that names what is wrong and the remedy."""

    exit_code = 2


class ConfigError(DovetailError):
    """A setting is unknown, missing or out of its bounds."""


class ContractError(DovetailError):
    """A table, a file or a row does not match its declared contract."""


class MissingRequirement(DovetailError):
    """A program, a jar, a port, a file or memory that a command needs is not there."""


class ServerUnavailable(DovetailError):
    """A server (Kafka, Cassandra, Flink, Spark) cannot be reached within its deadline."""


class IncompleteInput(DovetailError):
    """A run was asked to cover data that has not all arrived."""


class QualityGateFailed(DovetailError):
    """A table broke a declared expectation; nothing after the gate was published."""


class ConcurrentRun(DovetailError):
    """Another run of the same job won; this one changed nothing."""


def run_main(main: Callable[[], int | None]) -> int:
    """Run an entry point and return its exit code.

    A :class:`DovetailError` is printed as one line on stderr and gives its ``exit_code``; anything
    else is a defect and keeps its stack trace.
    """
    try:
        return main() or 0
    except DovetailError as error:
        line = " ".join(str(error).split())
        print(f"error: {line}", file=sys.stderr)
        return error.exit_code
