"""The supervisor of a platform's Flink cluster: a process that starts again what has ended.

    python -m local.supervise FOLDER

Elsewhere Kubernetes, YARN, systemd or a container's restart policy does it.
"""

import sys
import time
from pathlib import Path

from common.errors import run_main
from local.flink import SUPERVISED_S
from local.servers import Platform


def main() -> int:
    """Watch until this process is stopped."""
    flink = Platform.load(Path(sys.argv[1])).flink
    while True:
        flink.revive()
        time.sleep(SUPERVISED_S)


if __name__ == "__main__":
    sys.exit(run_main(main))
