"""A standalone Flink session cluster from the installed wheel: one JobManager and some TaskManagers.

The JVMs are started directly instead of by ``start-cluster.sh``: its counterpart loses TaskManagers that were killed,
and its helper JVMs, which only add up memory sizes, cost more than the cluster's own start.
"""

import importlib.util
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from common.errors import MissingRequirement, ServerUnavailable
from local.flink_rest import FlinkRest
from local.jars import jars
from local.java import java, java_home
from local.ports import HOST, is_open
from local.process import Server, run

_JOB_ID = re.compile(r"JobID ([0-9a-f]{32})")

_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = ConsoleAppender
appender.console.name = ConsoleAppender
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %c{1} %m%n
"""


_CONNECTOR = "flink"
_METASPACE_MB = 512  # a job that has ended leaves some of its classes, and a platform sees many submissions
_OVERHEAD_MB = 192
METRICS_PORTS = "9249-9348"
"""Where JobManager and TaskManagers serve their metrics to Prometheus."""

SUPERVISED_S = 0.5
"""How often a supervisor looks whether a process has ended."""

_FRAMEWORK_MB = 128
"""Flink's own heap in a TaskManager, and as much off-heap memory."""


@dataclass(frozen=True)
class FlinkSize:
    """How large a local cluster is; memory in MiB."""

    taskmanagers: int = 2
    slots: int = 2
    """Slots of each TaskManager; a job of parallelism p needs p of them in all."""
    jobmanager_heap: int = 448
    task_heap: int = 512
    """Heap of a TaskManager beside the 128 MiB that Flink keeps for itself."""
    managed: int = 256
    """RocksDB and the buffers of Python workers, which run beside the JVM with memory of their own."""
    network: int = 96
    quick: bool = False
    """TaskManagers compile with C1 only: they are warm sooner and run slower, for what is over in minutes."""


def flink_home() -> Path:
    """Return the distribution inside the installed ``apache-flink`` wheel; raises ``MissingRequirement``."""
    spec = importlib.util.find_spec("pyflink")
    if spec is None or spec.origin is None:
        raise MissingRequirement("apache-flink is not installed in this Python: run 'make env'")
    return Path(spec.origin).parent


class FlinkCluster:
    """A session cluster on the loopback interface, with everything it writes under ``folder``."""

    def __init__(
        self, folder: Path, rest_port: int, rpc_port: int, size: FlinkSize | None = None, jars_dir: Path | None = None
    ):
        self.folder = folder
        self.rest_port = rest_port
        self.rpc_port = rpc_port
        self.size = size if size is not None else FlinkSize()
        self.jars_dir = jars_dir
        self.jobmanager = Server(folder, "flink-jobmanager")
        self.taskmanagers = [Server(folder, f"flink-taskmanager-{n}") for n in range(1, self.size.taskmanagers + 1)]
        self.rest = FlinkRest(self.url)
        self._supervised = False

    @property
    def address(self) -> str:
        """The REST address, ``host:port``."""
        return f"{HOST}:{self.rest_port}"

    @property
    def url(self) -> str:
        """The address of the REST interface and the web page."""
        return f"http://{self.address}"

    @property
    def savepoints(self) -> Path:
        """Where savepoints go."""
        return self.folder / "flink" / "savepoints"

    def start(self) -> None:
        """Start the JobManager and the TaskManagers; ``wait_ready`` says when all slots are there."""
        self._configure()
        self.start_jobmanager()
        for number in range(1, len(self.taskmanagers) + 1):
            self.start_taskmanager(number)

    def start_taskmanager(self, number: int) -> None:
        """Start TaskManager ``number`` (from 1), for the first time or again after a kill.

        Its Python workers look for modules in its working directory first: in a checkout they would find that one's
        code rather than the job's.
        """
        server = self.taskmanagers[number - 1]
        entry = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        flags = _memory(_FRAMEWORK_MB + self.size.task_heap, direct=_FRAMEWORK_MB + self.size.network)
        # C1's own limit of compiled code is 48 MB, which generated operators fill
        flags += ["-XX:TieredStopAtLevel=1", "-XX:ReservedCodeCacheSize=192m"] if self.size.quick else []
        name = f"taskmanager.resource-id={server.name}"
        server.start(self._jvm(flags, entry, "-D", name), self.environment(), self.folder)

    def start_jobmanager(self) -> None:
        """Start the JobManager, for the first time or again after a kill; jobs it ran are resumed by their owner."""
        entry = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        # it rarely runs hot enough for the second compiler to pay
        flags = ["-XX:TieredStopAtLevel=1", *_memory(self.size.jobmanager_heap, direct=_FRAMEWORK_MB)]
        self.jobmanager.start(self._jvm(flags, entry, "--executionMode", "cluster"), self.environment(), self.folder)

    def revive(self) -> int:
        """Start again the JobManager and every TaskManager that has ended, as a supervisor would; return how many.

        Flink 2.3 needs one: a task that is cancelled while a vectorised Python operator hands over a batch fails in
        its clean-up (ClosedChannelException in ArrowSerializer.close), and that ends its TaskManager.
        """
        ended = [number for number, server in enumerate(self.taskmanagers, 1) if server.pid is None]
        for number in ended:
            self.start_taskmanager(number)
        if self.jobmanager.pid is None:
            self.start_jobmanager()
            return len(ended) + 1
        return len(ended)

    @contextmanager
    def supervised(self, every: float = SUPERVISED_S) -> Iterator[None]:
        """Revive the cluster in a thread while the block runs; a platform has a process for it (local/supervise.py)."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(every):
                self.revive()

        thread = threading.Thread(target=watch, name="flink-supervisor", daemon=True)
        thread.start()
        self._supervised = True
        try:
            yield
        finally:
            self._supervised = False
            done.set()
            thread.join()

    def wait_ready(self, limit: float = 90.0) -> float:
        """Wait until all slots have registered; return the seconds that took."""
        return self.jobmanager.wait_ready(self._is_complete, limit)

    def stop(self) -> None:
        """End the whole cluster, jobs and Python workers included; checkpoints and savepoints stay."""
        for server in self.taskmanagers:
            server.stop(grace=5.0)
        self.jobmanager.stop(grace=5.0)

    def submit(
        self,
        script: Path,
        arguments: Sequence[str] = (),
        py_files: Sequence[Path] = (),
        extra_jars: Sequence[Path] = (),
        savepoint: str | None = None,
        env: Mapping[str, str] | None = None,
        limit: float = 180.0,
    ) -> str:
        """Submit a PyFlink program with ``flink run`` and return its job id; the Kafka connector goes along.

        Raises ``ServerUnavailable`` with the program's error when it does not get to run.
        """
        command = self.submit_command(script, arguments, py_files, extra_jars, savepoint)
        log = self.folder / "logs" / "flink-submit.log"
        output = run(command, f"flink run {script.name}", limit, {**self.environment(), **(env or {})}, log)
        found = _JOB_ID.search(output)
        if found is None:
            raise ServerUnavailable(f"flink run {script.name} named no job: {' '.join(output.split())[-300:]}")
        return found.group(1)

    def submit_command(
        self,
        script: Path,
        arguments: Sequence[str] = (),
        py_files: Sequence[Path] = (),
        extra_jars: Sequence[Path] = (),
        savepoint: str | None = None,
    ) -> list[str]:
        """Return the ``flink run`` line that ``submit`` runs."""
        connector = [*jars(_CONNECTOR, self.jars_dir), *extra_jars]
        return [
            *("bash", str(flink_home() / "bin" / "flink"), "run"),
            *("-d", "-m", self.address),
            *(["-s", savepoint] if savepoint is not None else []),
            *[word for jar in connector for word in ("-C", jar.as_uri())],
            *("-py", str(script)),
            *(["-pyfs", ",".join(map(str, py_files))] if py_files else []),
            *("-pyexec", sys.executable, "-pyclientexec", sys.executable),
            *arguments,
        ]

    def environment(self) -> dict[str, str]:
        """Return what the cluster's processes and clients need in their environment, over the current one."""
        home, distribution = self.folder / "flink", flink_home()
        bin_dir = str(Path(sys.executable).parent)
        return {
            "FLINK_CONF_DIR": str(home / "conf"),
            "FLINK_LOG_DIR": str(home / "log"),
            "FLINK_HOME": str(distribution),
            "FLINK_BIN_DIR": str(distribution / "bin"),
            "FLINK_LIB_DIR": str(distribution / "lib"),
            "FLINK_OPT_DIR": str(distribution / "opt"),
            "FLINK_PLUGINS_DIR": str(distribution / "plugins"),
            "JAVA_HOME": java_home(),
            # the workers' launcher and shebangs find Python by name
            "PATH": os.pathsep.join([bin_dir, os.environ.get("PATH", os.defpath)]),
        }

    def _jvm(self, flags: Sequence[str], entry: str, *arguments: str) -> list[str]:
        conf = self.folder / "flink" / "conf"
        libraries = sorted(
            (flink_home() / "lib").glob("*.jar"), key=lambda jar: (jar.name.startswith("flink-dist"), jar)
        )
        return [
            java(),
            *_shipped_settings()["env"]["java"]["opts"]["all"].split(),
            "-XX:+UseSerialGC",
            "-XX:+ExitOnOutOfMemoryError",
            *flags,
            f"-Dlog4j.configurationFile={(conf / 'log4j-console.properties').as_uri()}",
            "-cp",
            os.pathsep.join(map(str, libraries)),
            entry,
            "--configDir",
            str(conf),
            *arguments,
        ]

    def _is_complete(self) -> bool:
        for server in self.taskmanagers:
            if server.pid is None and not self._supervised:
                raise ServerUnavailable(f"{server.name} ended while starting; see {server.log}: {server.last_line()}")
        if not is_open(self.rest_port):
            return False
        try:
            overview = self.rest.overview()
        except ServerUnavailable:  # the port opens before the dispatcher answers
            return False
        return overview["slots-total"] == len(self.taskmanagers) * self.size.slots

    def _configure(self) -> None:
        home, conf = self.folder / "flink", self.folder / "flink" / "conf"
        for name in ("conf", "log", "tmp", "checkpoints", "savepoints"):
            (home / name).mkdir(parents=True, exist_ok=True)
        settings = {
            "env.java.opts.all": _shipped_settings()["env"]["java"]["opts"]["all"],
            "env.java.home": java_home(),
            "env.java.opts.client": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx512m",
            "jobmanager.rpc.address": HOST,
            "jobmanager.rpc.port": self.rpc_port,
            "jobmanager.bind-host": HOST,
            "jobmanager.memory.heap.size": f"{self.size.jobmanager_heap}m",
            "rest.address": HOST,
            "rest.bind-address": HOST,
            "rest.port": self.rest_port,
            "rest.bind-port": str(self.rest_port),
            "taskmanager.host": HOST,
            "taskmanager.bind-host": HOST,
            "taskmanager.numberOfTaskSlots": self.size.slots,
            # started without Flink's scripts, a TaskManager wants every one of these
            "taskmanager.cpu.cores": float(self.size.slots),
            "taskmanager.memory.task.heap.size": f"{self.size.task_heap}m",
            "taskmanager.memory.task.off-heap.size": "0m",
            "taskmanager.memory.framework.heap.size": f"{_FRAMEWORK_MB}m",
            "taskmanager.memory.framework.off-heap.size": f"{_FRAMEWORK_MB}m",
            "taskmanager.memory.network.min": f"{self.size.network}m",
            "taskmanager.memory.network.max": f"{self.size.network}m",
            "taskmanager.memory.managed.size": f"{self.size.managed}m",
            "taskmanager.memory.jvm-metaspace.size": f"{_METASPACE_MB}m",
            "taskmanager.memory.jvm-overhead.min": f"{_OVERHEAD_MB}m",
            "taskmanager.memory.jvm-overhead.max": f"{_OVERHEAD_MB}m",
            "parallelism.default": self.size.slots,
            "execution.checkpointing.dir": (home / "checkpoints").as_uri(),
            "execution.checkpointing.savepoint-dir": self.savepoints.as_uri(),
            "io.tmp.dirs": str(home / "tmp"),
            "python.executable": sys.executable,
            "python.client.executable": sys.executable,
            # a killed TaskManager is noticed within seconds, a paused one is not given up at once
            "heartbeat.interval": 2000,
            "heartbeat.timeout": 30000,
            "web.submit.enable": False,
            # how old what the REST interface says may be, in ms: by default whoever waits for a job waits 3 s longer
            "web.refresh-interval": 300,
            # each process serves its metrics at the first port of these that is free
            "metrics.reporter.prom.factory.class": "org.apache.flink.metrics.prometheus.PrometheusReporterFactory",
            "metrics.reporter.prom.port": METRICS_PORTS,
        }
        (conf / "config.yaml").write_text(yaml.safe_dump(settings, width=10_000))
        (conf / "log4j-console.properties").write_text(_LOGGING)
        shutil.copy(flink_home() / "conf" / "log4j-cli.properties", conf)


def latest_state(folder: Path) -> str | None:
    """The newest complete checkpoint or savepoint below a folder, as a URI; None where there is none."""
    found = sorted(folder.rglob("_metadata"), key=lambda path: path.stat().st_mtime)
    return found[-1].parent.as_uri() if found else None


def _memory(heap: int, direct: int) -> list[str]:
    limits = [f"-XX:MaxDirectMemorySize={direct}m", f"-XX:MaxMetaspaceSize={_METASPACE_MB}m"]
    return [f"-Xms{heap}m", f"-Xmx{heap}m", *limits]


def _shipped_settings() -> dict[str, Any]:
    """Return the wheel's own configuration, for the module flags without which Flink does not run on Java 17."""
    return yaml.safe_load((flink_home() / "conf" / "config.yaml").read_text())
