"""A broker that takes its settings as the official image does: KAFKA_NODE_ID is node.id, and so on."""

import os
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from local.jars import fetch
from local.java import classpath, java

FOLDER = Path("/var/lib/kafka")
NOT_SETTINGS = {"KAFKA_HEAP_OPTS"}
LOGGING = """\
status = ERROR
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = OUT
"""


def settings() -> str:
    """Return server.properties made of the environment."""
    names = sorted(name for name in os.environ if name.startswith("KAFKA_") and name not in NOT_SETTINGS)
    return "".join(f"{n.removeprefix('KAFKA_').lower().replace('_', '.')}={os.environ[n]}\n" for n in names)


def main() -> None:
    """Format the storage once, then become the broker."""
    config, logging = FOLDER / "server.properties", FOLDER / "log4j2.properties"
    config.write_text(settings())
    logging.write_text(LOGGING)
    program = [java(), f"-Dlog4j2.configurationFile={logging.as_uri()}", "-cp", classpath(fetch("kafka"))]
    if not (Path(os.environ["KAFKA_LOG_DIRS"]) / "meta.properties").is_file():
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        form = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(config)]
        subprocess.run([*program, *form], check=True)
    heap = os.environ.get("KAFKA_HEAP_OPTS", "-Xmx512m").split()
    os.execv(program[0], [program[0], *heap, *program[1:], "kafka.Kafka", str(config)])


if __name__ == "__main__":
    main()
