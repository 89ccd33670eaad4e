"""The table environment and its settings, each with its reason."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from common.features.windows import DAY_MS, MINUTE_MS, SECOND_MS


@dataclass(frozen=True)
class Settings:
    """What an application asks of Flink. A value of None leaves the cluster's own setting."""

    parallelism: int | None = None
    checkpoints: str | None = None
    """Directory of checkpoints, a path or a URI."""
    checkpoint_interval_ms: int | None = 10 * SECOND_MS
    """How often state is saved, and how often archive files and rejections become visible."""
    state_ttl_ms: int = 8 * DAY_MS
    """Lifetime of every keyed state since its last change; above the views' TTL, so that no count restarts."""
    state_backend: str | None = None
    """hashmap (fast, on the heap) or rocksdb (larger than memory)."""
    idle_ms: int = 30 * SECOND_MS
    """A partition that is silent for so long no longer holds the watermark back."""
    bundle_ms: int = 50
    """How long a Python operator waits to fill a bundle: the price of freshness, twice in the chain."""
    bundle_size: int = 5_000
    arrow_batch: int = 2_000
    """Rows of one call of a vectorised function."""
    buffer_timeout_ms: int = 5
    """How long a record waits in a network buffer; the chain has eight shuffles, so Flink's 100 ms would be felt."""
    restart_attempts: int = 1_000_000
    """0: the first failure ends the job. Attempts are also spent while a slot is missing, hence many."""
    restart_delay_ms: int = SECOND_MS
    job_name: str = "dovetail-speed"
    jars: tuple[str, ...] = ()
    """Connector jars for a local run; on a cluster they come with the submission."""
    overrides: dict[str, str] = field(default_factory=dict)
    """Flink's own keys, which win over everything here."""


def defaults(settings: Settings) -> dict[str, str]:
    """Flink's keys for the settings. They yield to what the cluster's configuration or ``-D`` says."""
    keys = {
        "pipeline.name": settings.job_name,
        "table.local-time-zone": "UTC",
        # state finds its operator by a name of the plan's own: names made from how operators are chained change with
        # the parallelism, and the archive's then find no state after a rescale
        "table.exec.uid.generation": "ALWAYS",
        # OVER and keep-first deduplication cannot run in mini-batches
        "table.exec.mini-batch.enabled": "false",
        "table.exec.state.ttl": f"{settings.state_ttl_ms} ms",
        "table.exec.source.idle-timeout": f"{settings.idle_ms} ms",
        # one deduplication for all that read it: branches with different columns would else each get their own
        "table.optimizer.reuse-optimize-block-with-digest-enabled": "true",
        "python.fn-execution.bundle.time": str(settings.bundle_ms),
        "python.fn-execution.bundle.size": str(settings.bundle_size),
        "python.fn-execution.arrow.batch.size": str(settings.arrow_batch),
        "execution.buffer-timeout.interval": f"{settings.buffer_timeout_ms} ms",
        "pipeline.auto-watermark-interval": "200 ms",
        # chained operators would else copy every row, wide as it is
        "pipeline.object-reuse": "true",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.snapshot-compression": "true",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.timeout": f"{10 * MINUTE_MS} ms",
        "execution.checkpointing.tolerable-failed-checkpoints": "10",
    }
    if settings.checkpoint_interval_ms:
        keys["execution.checkpointing.interval"] = f"{settings.checkpoint_interval_ms} ms"
    if settings.state_backend:
        keys["state.backend.type"] = settings.state_backend
    if settings.restart_attempts:
        keys["restart-strategy.type"] = "fixed-delay"
        keys["restart-strategy.fixed-delay.attempts"] = str(settings.restart_attempts)
        keys["restart-strategy.fixed-delay.delay"] = f"{settings.restart_delay_ms} ms"
    else:
        keys["restart-strategy.type"] = "disable"
    return keys


def asked(settings: Settings) -> dict[str, str]:
    """Flink's keys that were asked for by argument: they win over the cluster's configuration."""
    keys: dict[str, str] = {}
    if settings.parallelism is not None:
        keys["parallelism.default"] = str(settings.parallelism)
    if settings.checkpoints is not None:
        keys["execution.checkpointing.dir"] = as_uri(settings.checkpoints)
    if settings.jars:
        keys["pipeline.jars"] = ";".join(as_uri(jar) for jar in settings.jars)
        keys["python.executable"] = sys.executable
        keys["python.client.executable"] = sys.executable
    return {**keys, **settings.overrides}


def as_uri(path: str) -> str:
    """A URI as it is, a path as ``file://``."""
    return path if "://" in path else Path(path).resolve().as_uri()


def table_environment(settings: Settings) -> StreamTableEnvironment:
    """A streaming table environment with the settings."""
    config = Configuration()
    for key, value in asked(settings).items():
        config.set_string(key, value)
    env = StreamExecutionEnvironment.get_execution_environment(config)
    present = env._j_stream_execution_environment.getConfiguration().toMap()
    yielding = Configuration()
    for key, value in defaults(settings).items():
        if key not in present or key in settings.overrides:
            yielding.set_string(key, settings.overrides.get(key, value))
    env.configure(yielding)
    return StreamTableEnvironment.create(env)
