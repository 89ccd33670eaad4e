"""One Kafka broker in KRaft mode, from jars."""

import base64
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from common.errors import ServerUnavailable
from common.features.windows import DAY_MS
from local.jars import fetch
from local.java import classpath, java
from local.ports import HOST, is_open
from local.process import Server, run

T = TypeVar("T")

EVENTS = "events"
REJECTIONS = "events.rejected"
TRIGGERS = "triggers"
RETENTION_DAYS = 7
"""Events and rejections hold raw ids, so what they keep is short and stated."""

MAX_RECORD_BYTES = 4 << 20
"""More than the gate takes (1 MiB), so that an oversize record reaches the gate and is accounted for."""

WRITTEN = {"message.timestamp.type": "LogAppendTime"}
"""The config of a topic that the stream writes: dated by the broker, since its records carry the time of old events.

By that time retention would delete them at once, and a broker that comes back would forget their idempotent producer.
"""

_CONFIG = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
controller.quorum.bootstrap.servers={host}:{controller}
log.dirs={data}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""

_LOGGING = """\
status = ERROR
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = OUT
"""


class Kafka:
    """A broker on the loopback interface; its data lie under ``folder`` and survive a restart."""

    def __init__(self, folder: Path, port: int, controller_port: int, heap: str = "512m", jars_dir: Path | None = None):
        self.folder = folder
        self.port = port
        self.controller_port = controller_port
        self.heap = heap
        self.jars_dir = jars_dir
        self.server = Server(folder, "kafka")

    @property
    def address(self) -> str:
        """The bootstrap address, ``host:port``."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Start the broker, formatting its storage the first time; ``wait_ready`` says when it serves."""
        home = self.folder / "kafka"
        home.mkdir(parents=True, exist_ok=True)
        config, logging = home / "server.properties", home / "log4j2.properties"
        data = home / "data"
        config.write_text(_CONFIG.format(host=HOST, port=self.port, controller=self.controller_port, data=data))
        logging.write_text(_LOGGING)
        options = [f"-Dlog4j2.configurationFile={logging.as_uri()}", "-cp", classpath(fetch("kafka", self.jars_dir))]
        if not (data / "meta.properties").is_file():
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            # with the equals sign, since one in 64 ids begins with a dash
            form = ["kafka.tools.StorageTool", "format", "--standalone", f"--cluster-id={cluster}", "-c", str(config)]
            run([java(), "-Xmx128m", "-XX:TieredStopAtLevel=1", *options, *form], "formatting Kafka's storage", 60)
        memory = [f"-Xms{self.heap}", f"-Xmx{self.heap}", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"]
        self.server.start([java(), *memory, *options, "kafka.Kafka", str(config)])

    def wait_ready(self, limit: float = 60.0) -> float:
        """Wait until the broker answers a metadata request; return the seconds that took."""
        return self.server.wait_ready(self._answers, limit)

    def stop(self) -> None:
        """End the broker; what it stored stays."""
        self.server.stop(grace=15.0)

    def create_topic(
        self,
        name: str,
        partitions: int = 2,
        retention_days: float = RETENTION_DAYS,
        config: Mapping[str, str] | None = None,
    ) -> None:
        """Create a topic unless it exists; raises ``ServerUnavailable`` if the broker refuses."""
        create_topic(self.address, name, partitions, retention_days=retention_days, config=config)

    def create_topics(self, partitions: int = 2) -> None:
        """Create the platform's topics."""
        for name in (EVENTS, REJECTIONS, TRIGGERS):
            self.create_topic(name, partitions, config=None if name == EVENTS else WRITTEN)

    def _answers(self) -> bool:
        if not is_open(self.port):
            return False
        try:
            return bool(_admin(self.address).list_topics(timeout=2).brokers)
        except KafkaException:
            return False


def create_topic(
    address: str,
    name: str,
    partitions: int,
    replication: int = 1,
    retention_days: float = RETENTION_DAYS,
    config: Mapping[str, str] | None = None,
) -> bool:
    """Create a topic on the brokers at ``address`` and wait until it is led; return False where it exists.

    Raises ``ServerUnavailable`` if no broker answers, or the broker refuses.
    """
    wanted = NewTopic(
        name,
        num_partitions=partitions,
        replication_factor=replication,
        config={
            "retention.ms": str(int(retention_days * DAY_MS)),
            "max.message.bytes": str(MAX_RECORD_BYTES),
            **(config or {}),
        },
    )
    admin = _admin(address)
    try:
        if name in admin.list_topics(timeout=10).topics:
            return False
        admin.create_topics([wanted], operation_timeout=30)[name].result(timeout=40)
    except KafkaException as error:
        raise ServerUnavailable(f"Kafka at {address} did not create topic '{name}': {error}") from error
    deadline = time.monotonic() + 30
    # created is not yet led: a producer that comes too early waits out a whole metadata interval
    while not _is_led(admin, name, partitions):
        if time.monotonic() > deadline:
            raise ServerUnavailable(f"waited 30 s for Kafka to elect leaders of topic '{name}'")
        time.sleep(0.05)
    return True


def _admin(address: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": address, "log_level": 2})


def _is_led(admin: AdminClient, name: str, partitions: int) -> bool:
    topic = admin.list_topics(name, timeout=10).topics.get(name)
    led = [one for one in topic.partitions.values() if one.leader >= 0] if topic is not None else []
    return len(led) == partitions


_COORDINATOR_MOVES = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError._WAIT_COORD,
    KafkaError._TIMED_OUT,
)
"""What a broker says of a group while it makes up its mind who leads it: ask again."""


def lag(address: str, topic: str, group: str, upto: Mapping[int, int] | None = None) -> int | None:
    """Records of the topic, or those before offsets by partition, that the group has not committed.

    None while the broker cannot tell yet. Raises ServerUnavailable where the topic is not there or the broker does not
    answer.
    """

    def left(consumer: Consumer, asked: list[TopicPartition]) -> int:
        found = {one.partition: consumer.get_watermark_offsets(one, timeout=10) for one in asked}
        committed = {one.partition: one.offset for one in consumer.committed(asked, timeout=10)}
        stop = {partition: high for partition, (_, high) in found.items()} if upto is None else upto
        return sum(max(0, end - max(committed[p], found[p][0])) for p, end in stop.items())

    return _asked(address, topic, group, left)


def ends(address: str, topic: str) -> dict[int, int]:
    """The offset after the last record of each partition; raises ServerUnavailable as :func:`lag` does."""

    def high(consumer: Consumer, asked: list[TopicPartition]) -> dict[int, int]:
        return {one.partition: consumer.get_watermark_offsets(one, timeout=10)[1] for one in asked}

    return _surely(_asked(address, topic, _LOOKER, high), address)


def newest(address: str, topic: str) -> dict[int, int]:
    """The newest timestamp of each partition that has a record, in epoch milliseconds; raises as :func:`ends`."""
    asked = {TopicPartition(topic, partition): OffsetSpec.max_timestamp() for partition in ends(address, topic)}
    admin = _admin(address)  # kept to the end: a client that is gone leaves its futures without an answer
    try:
        found = {one.partition: future.result(20) for one, future in admin.list_offsets(asked).items()}
    except KafkaException as error:
        raise ServerUnavailable(f"Kafka at {address} does not answer: {error.args[0].str()}") from error
    except TimeoutError as error:
        raise ServerUnavailable(f"Kafka at {address} did not tell its newest records within 20 s") from error
    return {partition: one.timestamp for partition, one in found.items() if one.timestamp > 0}


def keeps(address: str, topic: str, since_ms: int) -> bool:
    """Whether the topic still has every record since a Kafka timestamp; raises as :func:`ends`."""

    def whole(consumer: Consumer, asked: list[TopicPartition]) -> bool:
        lows = {one.partition: consumer.get_watermark_offsets(one, timeout=10)[0] for one in asked}
        at = [TopicPartition(topic, one.partition, since_ms) for one in asked]
        first = {one.partition: one.offset for one in consumer.offsets_for_times(at, timeout=10)}
        # where an older record is still there, none since then was deleted
        return all(low == 0 or not 0 <= first[partition] <= low for partition, low in lows.items())

    return _surely(_asked(address, topic, _LOOKER, whole), address)


_LOOKER = "dovetail-looks"
"""The group of who only looks; it commits nothing."""


def _asked(address: str, topic: str, group: str, what: Callable[[Consumer, list[TopicPartition]], T]) -> T | None:
    consumer = Consumer({"bootstrap.servers": address, "group.id": group, "enable.auto.commit": False, "log_level": 2})
    try:
        found = consumer.list_topics(topic, timeout=10).topics[topic]
        if found.error is not None:
            raise ServerUnavailable(f"Kafka at {address} has no topic '{topic}': create it with 'dovetail topics'")
        return what(consumer, [TopicPartition(topic, partition) for partition in found.partitions])
    except KafkaException as error:
        if error.args[0].code() in _COORDINATOR_MOVES:
            return None
        raise ServerUnavailable(f"Kafka at {address} does not answer: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _surely(answer: T | None, address: str) -> T:
    if answer is None:
        raise ServerUnavailable(f"Kafka at {address} did not answer within 10 s")
    return answer
