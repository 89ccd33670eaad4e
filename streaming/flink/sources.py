"""The raw topic as a table: bytes and where they came from."""

from dataclasses import dataclass

from pyflink.table import StreamTableEnvironment, Table

from common.errors import ConfigError
from common.features.windows import SECOND_MS
from streaming.flink.ddl import interval, literal, options_text, quote
from streaming.takeover import positions

DISORDER_MS = SECOND_MS
"""By how much Kafka timestamps of one partition may decrease (several producers) before the watermark notices."""


@dataclass(frozen=True)
class RawTopic:
    """Where raw events come from.

    ``start`` is earliest, latest, group, timestamp:MS or offsets:PARTITION=OFFSET,...; ``bounded`` stops at the end
    that the topic had when the job began. The watermark is Kafka's time: a partition's newest Kafka timestamp less
    :data:`DISORDER_MS`. It is per partition and pushed into the source, so that reading one partition ahead of another
    makes nothing late; and it rests on Kafka's timestamp, which a poisoned event cannot move.
    """

    servers: str
    topic: str
    group: str
    start: str = "earliest"
    bounded: bool = False
    align_ms: int = 0
    """A partition whose watermark is further ahead of the slowest one is not read until that follows; 0: all are."""

    def options(self) -> dict[str, str]:
        """The connector's options; raises ConfigError for an unknown ``start``."""
        options = {
            "connector": "kafka",
            "topic": self.topic,
            "properties.bootstrap.servers": self.servers,
            "properties.group.id": self.group,
            # a fetch for each record would cost more of both sides' time than it saves
            "properties.fetch.min.bytes": str(64 << 10),
            "properties.fetch.max.wait.ms": "20",
            "properties.isolation.level": "read_committed",
            "scan.topic-partition-discovery.interval": "5 min",
            "format": "raw",
            **_startup(self.start),
        }
        if self.align_ms:
            options |= {
                "scan.watermark.alignment.group": self.topic,
                "scan.watermark.alignment.max-drift": f"{self.align_ms} ms",
                "scan.watermark.alignment.update-interval": "500 ms",
            }
        if self.bounded:
            options["scan.bounded.mode"] = "latest-offset"
        return options

    def ddl(self, name: str) -> str:
        """The ``CREATE TEMPORARY TABLE`` of the topic."""
        delay = interval(DISORDER_MS)
        return f"""CREATE TEMPORARY TABLE {quote(name)} (
  `value` BYTES,
  `kafka_time` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
  `partition` INT METADATA FROM 'partition',
  `offset` BIGINT METADATA FROM 'offset',
  WATERMARK FOR `kafka_time` AS `kafka_time` - {delay}
) WITH (
  {options_text(self.options())}
)"""


def read_topic(t_env: StreamTableEnvironment, raw: RawTopic, name: str = "raw_events") -> Table:
    """The raw records: value (null for a tombstone), kafka_ms, topic, partition, offset."""
    t_env.execute_sql(raw.ddl(name))
    # no conversion of a timestamp to text and back, and none to Python's naive local time
    millis = "CAST(EXTRACT(EPOCH FROM `kafka_time`) AS BIGINT) * 1000 + EXTRACT(MILLISECOND FROM `kafka_time`)"
    return t_env.sql_query(
        f"SELECT `value`, {millis} AS `kafka_ms`, {literal(raw.topic)} AS `topic`, `partition`, `offset` "
        f"FROM {quote(name)}"
    )


def _startup(start: str) -> dict[str, str]:
    word, _, rest = start.partition(":")
    if word in ("earliest", "latest") and not rest:
        return {"scan.startup.mode": f"{word}-offset"}
    if word == "group" and not rest:
        return {"scan.startup.mode": "group-offsets", "properties.auto.offset.reset": "earliest"}
    if word == "timestamp" and rest.isdigit():
        return {"scan.startup.mode": "timestamp", "scan.startup.timestamp-millis": rest}
    if word == "offsets":
        listed = ";".join(f"partition:{partition},offset:{offset}" for partition, offset in positions(rest).items())
        if listed:
            return {"scan.startup.mode": "specific-offsets", "scan.startup.specific-offsets": listed}
    raise ConfigError(
        f"--start {start!r} is not known: use earliest, latest, group, timestamp:MS or offsets:0=1200,1=1187"
    )
