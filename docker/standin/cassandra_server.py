"""A node as local/cassandra.py runs it, but for other containers too; heap as the official image's MAX_HEAP_SIZE."""

import os
import signal
import socket
import time
from pathlib import Path
from types import FrameType

from local.cassandra import Cassandra


class Reachable(Cassandra):
    """The node of the local platform, whose CQL port listens on every interface."""

    def _config(self, home: Path) -> dict[str, object]:
        return {
            **super()._config(home),
            "rpc_address": "0.0.0.0",
            "broadcast_rpc_address": socket.gethostbyname(socket.gethostname()),
        }


def main() -> None:
    """Run the node until the container is stopped."""
    node = Reachable(Path("/var/lib/cassandra"), 9042, 7000, heap=os.environ.get("MAX_HEAP_SIZE", "1g"))

    def stop(number: int, frame: FrameType | None) -> None:
        node.stop()
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    node.start()
    node.wait_ready(180)
    while node.server.pid is not None:
        time.sleep(1)
    raise SystemExit(node.server.last_line())


if __name__ == "__main__":
    main()
