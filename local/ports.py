"""Ports on the loopback interface."""

import socket
from contextlib import ExitStack

from common.errors import MissingRequirement

HOST = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Return ``count`` different ports that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


def require_free(port: int, what: str) -> None:
    """Raise ``MissingRequirement`` if ``port``, meant for ``what``, is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise MissingRequirement(f"port {port} for {what} is taken: stop who uses it or choose another") from error


def is_open(port: int, timeout: float = 1.0) -> bool:
    """Return whether somebody accepts connections on ``port``."""
    try:
        with socket.create_connection((HOST, port), timeout=timeout):
            return True
    except OSError:
        return False
