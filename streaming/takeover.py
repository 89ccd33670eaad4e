"""Where a generation takes over from one that runs beside it; imports no engine, for those who only compute it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.errors import ConfigError


@dataclass(frozen=True)
class TakeOver:
    """From where on a generation emits what is no view: archive, rejections, triggers. Before, the other one does.

    The other one goes on until it has passed these positions, so that nothing is left out; what both emit meanwhile has
    the same (topic, partition, offset), or trigger_id.
    """

    positions: Mapping[int, int] = field(default_factory=dict)
    """Offsets by partition: what lies there or after is archived. A partition that is not named is new."""
    kafka_ms: int = 0
    """Absences that are decided at this Kafka time or after it fire."""

    @classmethod
    def parse(cls, text: str) -> "TakeOver":
        """From ``0=1200,1=1187@1763600000000``; empty: everything is emitted. Raises ConfigError for anything else."""
        listed, _, at = text.partition("@")
        if not text:
            return cls()
        if not at.isdigit():
            raise ConfigError(
                f"{text!r} is no take-over: write PARTITION=OFFSET,...@MS, as in 0=1200,1=1187@1763600000000"
            )
        return cls(positions(listed), int(at))

    def __str__(self) -> str:
        listed = ",".join(f"{partition}={offset}" for partition, offset in sorted(self.positions.items()))
        return f"{listed}@{self.kafka_ms}" if self else ""

    def __bool__(self) -> bool:
        return bool(self.positions or self.kafka_ms)

    def reached(self) -> str:
        """The condition that a record with ``partition`` and ``offset`` lies at the positions or after, as SQL."""
        passed = (
            f"(`partition` <> {partition} OR `offset` >= CAST({offset} AS BIGINT))"
            for partition, offset in sorted(self.positions.items())
        )
        return " AND ".join(passed) or "TRUE"


def positions(text: str) -> dict[int, int]:
    """Offsets by partition from ``0=1200,1=1187``; raises ConfigError where it is not that."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    if not all(partition.isdigit() and offset.isdigit() for partition, _, offset in pairs):
        raise ConfigError(
            f"{text!r} are no positions: --start offsets:... takes PARTITION=OFFSET,..., as in 0=1200,1=1187"
        )
    return {int(partition): int(offset) for partition, _, offset in pairs}
