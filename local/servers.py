"""The platform's servers as one thing: Kafka, Cassandra and Flink, up and down, from any process."""

import json
import sys
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from common.errors import MissingRequirement
from local.cassandra import Cassandra
from local.flink import FlinkCluster, FlinkSize
from local.guard import sweep
from local.kafka import Kafka
from local.paths import build_dir, project_root
from local.ports import free_ports, require_free
from local.process import MARK, Server, running

STATE = "platform.json"


@dataclass(frozen=True)
class Ports:
    """Every port the platform listens on, on the loopback interface only."""

    kafka: int = 9092
    kafka_controller: int = 9093
    cassandra: int = 9042
    cassandra_storage: int = 7000
    cassandra_jmx: int = 7199
    flink: int = 8081
    flink_rpc: int = 6123
    serving: int = 8000

    @classmethod
    def pick(cls) -> "Ports":
        """Return ports that are free now, for a platform beside another one."""
        return cls(*free_ports(len(fields(cls))))


class Platform:
    """Kafka, Cassandra and a Flink cluster with all they write under ``folder``; two of them never meet.

    ``up`` records the ports in ``<folder>/platform.json``; :meth:`load` gives the same platform to another process.
    """

    def __init__(self, folder: Path | None = None, ports: Ports | None = None, flink: FlinkSize | None = None):
        self.folder = (folder if folder is not None else build_dir() / "local").resolve()
        self.ports = ports if ports is not None else Ports()
        self.kafka = Kafka(self.folder, self.ports.kafka, self.ports.kafka_controller)
        self.cassandra = Cassandra(
            self.folder, self.ports.cassandra, self.ports.cassandra_storage, self.ports.cassandra_jmx
        )
        self.flink = FlinkCluster(self.folder, self.ports.flink, self.ports.flink_rpc, flink)
        self.supervisor = Server(self.folder, "flink-supervisor")
        self.serving = Server(self.folder, "serving")

    @classmethod
    def load(cls, folder: Path | None = None) -> "Platform":
        """Return the platform that was started in ``folder``; raises ``MissingRequirement`` if none was."""
        where = (folder if folder is not None else build_dir() / "local").resolve()
        try:
            state = json.loads((where / STATE).read_text())
        except FileNotFoundError as error:
            raise MissingRequirement(f"no platform was started in {where}: run 'make up' first") from error
        return cls(where, Ports(**state["ports"]), FlinkSize(**state["flink"]))

    @property
    def serving_url(self) -> str:
        """Where the serving layer answers once it is started."""
        return f"http://127.0.0.1:{self.ports.serving}"

    def up(self, say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)) -> None:
        """Start all servers side by side, wait until each serves and create the topics; ``say`` hears the progress.

        Raises ``MissingRequirement`` if one runs already or a port is taken; what was started is stopped again then.
        """
        if started := [server.name for server in running(self.folder)]:
            raise MissingRequirement(f"{', '.join(started)} already runs in {self.folder}: run 'make down' first")
        for port in fields(self.ports):
            require_free(getattr(self.ports, port.name), port.name.replace("_", " "))
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {"ports": asdict(self.ports), "flink": asdict(self.flink.size)}
        (self.folder / STATE).write_text(json.dumps(state, indent=2) + "\n")
        try:
            self._start(say)
        except BaseException:
            self.down(lambda line: None)
            raise

    def serve(self, command: Sequence[str], cwd: Path | None = None, limit: float = 60.0) -> float:
        """Start the serving layer by its command and wait until it can answer; returns the seconds it took.

        Raises ``ServerUnavailable`` past the limit.
        """
        self.serving.start(command, cwd=cwd or project_root())
        return self.serving.wait_ready(self._answers, limit)

    def _answers(self) -> bool:
        with urllib.request.urlopen(f"{self.serving_url}/readyz", timeout=2):
            return True  # what is no 2xx is raised, as an OSError

    def down(self, say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)) -> None:
        """Stop every server of this folder, whoever started it; what they stored stays."""
        for server in (self.supervisor, self.serving, *self.flink.taskmanagers, self.flink.jobmanager):
            if server.pid is not None:
                say(f"down: {server.name}")
            server.stop(grace=5.0)
        for name, stop in (("cassandra", self.cassandra.stop), ("kafka", self.kafka.stop)):
            say(f"down: {name}")
            stop()
        for server in running(self.folder):  # what else was started there
            say(f"down: {server.name}")
            server.stop()
        for pid_file in (self.folder / "run").glob("*.pid"):
            sweep(MARK, f"{self.folder}#{pid_file.stem}", quiet_rounds=1)
            pid_file.unlink(missing_ok=True)

    def _start(self, say: Callable[[str], None]) -> None:
        # Cassandra takes longest, so it begins; the others start while it does
        self.cassandra.start()
        self.kafka.start()
        self.flink.start()
        say("up: waiting for Kafka ...")
        seconds = self.kafka.wait_ready(120)
        self.kafka.create_topics()
        say(f"up: Kafka serves at {self.kafka.address} ({seconds:.0f} s); waiting for Cassandra ...")
        seconds = self.cassandra.wait_ready(180)
        say(f"up: Cassandra serves at {self.cassandra.address} ({seconds:.0f} s more); waiting for Flink ...")
        seconds = self.flink.wait_ready(180)
        self.supervisor.start([sys.executable, "-m", "local.supervise", str(self.folder)], cwd=project_root())
        say(f"up: Flink serves at {self.flink.url} ({seconds:.0f} s more)")
