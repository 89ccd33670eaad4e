"""The archive: what admission let in and what it refused, as JSON files that batch lands for itself.

It branches off right after admission, before deduplication, so that batch judges for itself. Files become visible
with a checkpoint, exactly once; the files of one checkpoint are merged into one per partition.

Flink's merging restores to no other parallelism than it was saved with ("Max parallelism mismatch" where its steps were
chained, a missing list element where they grow). So the archive's steps have a parallelism of their own, which stays
while the job is rescaled.
"""

from pyflink.table import StreamTableEnvironment, Table

from common.contracts.core import Contract
from common.contracts.events import BRONZE_EVENTS, REJECTIONS
from streaming.flink.ddl import create_table
from streaming.flink.environment import as_uri
from streaming.flink.steps import select_list

EVENTS_FOLDER = "events"
REJECTIONS_FOLDER = "rejections"


def insert_archive(t_env: StreamTableEnvironment, events: Table, folder: str, parallelism: int = 1) -> str:
    """The insert of all admitted events into ``folder/events/d=.../h=...``: one JSON object of bronze events a line.

    d and h are the UTC day and hour of the record's Kafka timestamp.
    """
    _create(t_env, "archive_events", BRONZE_EVENTS, f"{folder.rstrip('/')}/{EVENTS_FOLDER}", parallelism)
    own = [name for name in BRONZE_EVENTS.names if name != "event_date"]
    return (
        f"INSERT INTO `archive_events` SELECT {select_list(own)}, "
        f"CAST(TO_TIMESTAMP_LTZ(`event_ms`, 3) AS DATE), {_partition('ingest_ms')} FROM {events}"
    )


def insert_rejection_archive(
    t_env: StreamTableEnvironment, rejections: Table, folder: str, parallelism: int = 1
) -> str:
    """The insert of all rejections into ``folder/rejections/d=.../h=...``, raw bytes in base64."""
    _create(t_env, "archive_rejections", REJECTIONS, f"{folder.rstrip('/')}/{REJECTIONS_FOLDER}", parallelism)
    return (
        f"INSERT INTO `archive_rejections` SELECT {select_list(REJECTIONS.names)}, {_partition('kafka_ms')} "
        f"FROM {rejections}"
    )


def _partition(column: str) -> str:
    at = f"TO_TIMESTAMP_LTZ(`{column}`, 3)"
    return f"DATE_FORMAT({at}, 'yyyy-MM-dd'), DATE_FORMAT({at}, 'HH')"


def _create(t_env: StreamTableEnvironment, name: str, contract: Contract, path: str, parallelism: int) -> None:
    options = {
        "connector": "filesystem",
        "path": as_uri(path),
        "format": "json",
        "json.encode.decimal-as-plain-number": "true",
        "auto-compaction": "true",
        "sink.parallelism": str(parallelism),
        "sink.rolling-policy.file-size": "128MB",
        "sink.rolling-policy.rollover-interval": "15 min",
    }
    extra = ("`d` STRING NOT NULL", "`h` STRING NOT NULL")
    t_env.execute_sql(create_table(contract, name, options, extra, partitioned_by=("d", "h")))
