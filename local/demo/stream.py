"""The streaming application in the demo: submit it, and know when it has written all it was sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition

from local.demo.screen import Screen
from local.kafka import EVENTS, REJECTIONS, lag
from local.paths import project_root
from local.servers import Platform
from streaming.names import consumer_group
from views.connect import ClusterSpec, connected
from views.versions import Generations


@dataclass(frozen=True)
class Application:
    """One running generation of the stream."""

    job_id: str
    generation: str


class Stream:
    """Submits generations to the platform's cluster and watches them."""

    def __init__(self, platform: Platform, spec: ClusterSpec, bundle: Path, archive: Path, models: Path) -> None:
        self.platform = platform
        self.spec = spec
        self.bundle = bundle
        self.archive = archive
        self.models = models

    def submit(self, archive: bool = True, extra: Sequence[str] = ()) -> Application:
        """Claim a generation and start the application from the topic's beginning, without state."""
        with connected(self.spec) as session:
            generation = Generations(session).create().name
        arguments = [
            *("--kafka", self.platform.kafka.address),
            *("--cassandra", self.platform.cassandra.address, "--keyspace", self.spec.keyspace),
            *("--generation", generation, "--models", str(self.models), "--parallelism", "2"),
            *("--checkpoints", str(self.platform.folder / "flink" / "checkpoints")),
            *("--checkpoint-interval", "5 seconds", "--rejected-topic", REJECTIONS if archive else ""),
            *("--archive", str(self.archive) if archive else ""),
            *extra,
        ]
        job_id = self.platform.flink.submit(
            project_root() / "streaming" / "run.py", arguments, py_files=[self.bundle], limit=180
        )
        self.platform.flink.rest.wait_running(job_id, 120)
        return Application(job_id, generation)

    def make_live(self, application: Application) -> None:
        """Let serving read the generation."""
        with connected(self.spec) as session:
            Generations(session).make_live(application.generation)

    def wait_drained(self, application: Application, screen: Screen, limit: float = 180.0) -> float:
        """Wait until every record of the topic is written; returns the seconds.

        The source commits its offsets when a checkpoint completes, and a checkpoint completes when the writers have
        returned from everything before it: a committed offset is a written one.
        """

        def missing() -> str | None:
            left = lag(self.platform.kafka.address, EVENTS, consumer_group(application.generation))
            return "the broker finds the group" if left is None else f"{left} records" if left else None

        return screen.wait(f"{application.generation} to write all of the topic", missing, limit, every=0.5)

    def rejections(self) -> list[bytes]:
        """Every committed record of the rejections' topic."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.platform.kafka.address,
                "group.id": "dovetail-demo",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "log_level": 2,
            }
        )
        try:
            partitions = list(consumer.list_topics(REJECTIONS, timeout=10).topics[REJECTIONS].partitions)
            consumer.assign([TopicPartition(REJECTIONS, partition, 0) for partition in partitions])
            found: list[bytes] = []
            ended: set[int | None] = set()
            while len(ended) < len(partitions):
                message = consumer.poll(10.0)
                if message is None:
                    raise KafkaException(f"topic {REJECTIONS} gave neither a record nor its end within 10 s")
                if message.error() is not None:
                    ended.add(message.partition())
                elif (value := message.value()) is not None:
                    found.append(value)
            return found
        finally:
            consumer.close()

    def stop(self, application: Application) -> None:
        """End the application."""
        self.platform.flink.rest.cancel(application.job_id)
