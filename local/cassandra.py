"""One Cassandra node, from jars."""

import socket
from collections.abc import Sequence
from pathlib import Path

import yaml

from local.jars import fetch
from local.java import classpath, java
from local.ports import HOST
from local.process import Server, run

_EXPORTS = (
    "java.base/jdk.internal.misc java.base/java.lang.ref java.base/sun.nio.ch "
    "java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry java.rmi/sun.rmi.server "
    "java.rmi/sun.rmi.transport.tcp java.sql/java.sql jdk.unsupported/sun.misc jdk.compiler/com.sun.tools.javac.file "
    "jdk.attach/sun.tools.attach"
)
_OPENS = (
    "java.base/java.lang.module java.base/jdk.internal.loader java.base/jdk.internal.ref "
    "java.base/jdk.internal.reflect java.base/jdk.internal.math java.base/jdk.internal.module "
    "java.base/jdk.internal.util.jar java.base/sun.nio.ch java.base/java.io java.base/java.lang.reflect "
    "java.base/java.lang java.base/java.util java.base/java.nio jdk.management/com.sun.management.internal "
    "jdk.compiler/com.sun.tools.javac java.rmi/sun.rmi.transport.tcp"
)

_LOGGING = """\
<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %-5level %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="OUT"/></root>
</configuration>
"""

_OPTIONS = bytes([4, 0, 0, 0, 5, 0, 0, 0, 0])
"""A CQL v4 OPTIONS frame; a node that serves answers with SUPPORTED, opcode 6."""


class Cassandra:
    """A node on the loopback interface; its data lie under ``folder`` and survive a restart.

    ``login`` asks for user and password (cassandra/cassandra at first) and checks permissions.
    ``quick`` compiles with C1 only: it starts sooner and runs slower, for tests.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        storage_port: int,
        jmx_port: int | None = None,
        heap: str = "768m",
        login: bool = False,
        quick: bool = False,
        jars_dir: Path | None = None,
    ):
        self.folder = folder
        self.port = port
        self.storage_port = storage_port
        self.jmx_port = jmx_port
        self.heap = heap
        self.login = login
        self.quick = quick
        self.jars_dir = jars_dir
        self.server = Server(folder, "cassandra")

    @property
    def address(self) -> str:
        """The CQL address, ``host:port``."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Start the node; ``wait_ready`` says when it serves CQL."""
        home = self.folder / "cassandra"
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        config, logging = home / "cassandra.yaml", home / "logback.xml"
        config.write_text(yaml.safe_dump(self._config(home), sort_keys=False))
        logging.write_text(_LOGGING)
        self.server.start([java(), *self._flags(home, config, logging), "org.apache.cassandra.service.CassandraDaemon"])

    def wait_ready(self, limit: float = 120.0) -> float:
        """Wait until the node answers on its CQL port; return the seconds that took."""
        return self.server.wait_ready(self._answers, limit)

    def stop(self) -> None:
        """Drain and end the node; what it stored stays."""
        self.server.stop(grace=30.0)

    def nodetool(self, *arguments: str) -> str:
        """Run NodeTool against this node and return its output; the node must have been given a JMX port."""
        if self.jmx_port is None:
            raise ValueError("nodetool needs a node that was started with jmx_port")
        home = self.folder / "cassandra"
        # NodeTool keeps a history file in the user's home
        settings = [f"-Duser.home={home / 'tmp'}", f"-Dlogback.configurationFile={(home / 'logback.xml').as_uri()}"]
        program = ["-cp", classpath(fetch("cassandra", self.jars_dir)), "org.apache.cassandra.tools.NodeTool"]
        command = [java(), "-Xmx128m", *_modules(), *settings, *program, "-h", HOST, "-p", str(self.jmx_port)]
        return run([*command, *arguments], f"nodetool {arguments[0]}", limit=120)

    def _config(self, home: Path) -> dict[str, object]:
        return {
            "cluster_name": "local",
            "num_tokens": 1,
            "auto_bootstrap": False,
            "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
            "endpoint_snitch": "SimpleSnitch",
            "listen_address": HOST,
            "rpc_address": HOST,
            "start_native_transport": True,
            "native_transport_port": self.port,
            "storage_port": self.storage_port,
            "seed_provider": [
                {
                    "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                    "parameters": [{"seeds": f"{HOST}:{self.storage_port}"}],
                }
            ],
            "commitlog_sync": "periodic",
            "commitlog_sync_period": "10000ms",
            "commitlog_segment_size": "16MiB",
            # more than cores + 1 makes concurrent writes to a table with a vector index fail
            "concurrent_writes": 2,
            # a dropped version's table must not stay behind as a snapshot
            "auto_snapshot": False,
            "data_file_directories": [str(home / "data")],
            "commitlog_directory": str(home / "commitlog"),
            "saved_caches_directory": str(home / "saved_caches"),
            "hints_directory": str(home / "hints"),
            "cdc_raw_directory": str(home / "cdc_raw"),
            "authenticator": "PasswordAuthenticator" if self.login else "AllowAllAuthenticator",
            "authorizer": "CassandraAuthorizer" if self.login else "AllowAllAuthorizer",
        }

    def _flags(self, home: Path, config: Path, logging: Path) -> list[str]:
        heap = [f"-Xms{self.heap}", f"-Xmx{self.heap}", "-Xss512k", "-XX:+UseSerialGC", "-XX:+PerfDisableSharedMem"]
        jmx = [f"-Dcassandra.jmx.local.port={self.jmx_port}"] if self.jmx_port is not None else []
        return [
            *_modules(),
            *heap,
            *(["-XX:TieredStopAtLevel=1"] if self.quick else []),
            "-XX:+ExitOnOutOfMemoryError",
            "-Djdk.attach.allowAttachSelf=true",
            "-Dio.netty.tryReflectionSetAccessible=true",
            f"-Dcassandra.config={config.as_uri()}",
            f"-Dcassandra.storagedir={home}",
            f"-Dcassandra.logdir={home}",
            "-Dcassandra-foreground=yes",
            f"-Dlogback.configurationFile={logging.as_uri()}",
            f"-Djava.io.tmpdir={home / 'tmp'}",
            *jmx,
            # one node: there is nobody to wait for
            "-Dcassandra.ring_delay_ms=0",
            "-Dcassandra.skip_wait_for_gossip_to_settle=0",
            "-Dcassandra.superuser_setup_delay_ms=0",
            "-Dcassandra.consistent.rangemovement=false",
            "-Dcassandra.shutdown_announce_in_ms=0",
            "-cp",
            classpath(fetch("cassandra", self.jars_dir)),
        ]

    def _answers(self) -> bool:
        with socket.create_connection((HOST, self.port), timeout=2) as connection:
            connection.settimeout(2)
            connection.sendall(_OPTIONS)
            header = connection.recv(9)
        return len(header) == 9 and header[4] == 6


def _modules() -> Sequence[str]:
    exports = [word for name in _EXPORTS.split() for word in ("--add-exports", f"{name}=ALL-UNNAMED")]
    return exports + [word for name in _OPENS.split() for word in ("--add-opens", f"{name}=ALL-UNNAMED")]
