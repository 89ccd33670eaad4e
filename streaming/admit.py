"""Admission: raw records become typed events with pseudonyms, or rejections that keep their bytes."""

from dataclasses import dataclass

import pandas as pd
from pyflink.table import Schema, StreamTableEnvironment, Table
from pyflink.table.udf import FunctionContext, ScalarFunction, udf

from common.admission import EVENT_COLUMNS, REJECTION_COLUMNS, Policy, admit_batch, policy_from_env
from common.contracts.events import EVENTS, REJECTIONS
from common.rules import all_hold
from streaming.flink.ddl import create_table, quote, row_of
from streaming.flink.sinks import delivery
from streaming.flink.steps import select_list

LINEAGE = ("topic", "partition", "offset")


@dataclass(frozen=True)
class Gate:
    """What the gate is told. The key itself stays in the worker's environment variable ``key_env``."""

    key_env: str = "DOVETAIL_PSEUDONYM_KEY"
    key_id: str = "k1"
    max_age_ms: int | None = None

    def policy(self) -> Policy:
        """The policy; raises ConfigError naming the variable where the key is missing or short."""
        return policy_from_env(self.key_env, self.key_id, max_age_ms=self.max_age_ms)


class AdmitRecords(ScalarFunction):
    """``common.admission`` over a batch of records: one vectorised call parses, checks and pseudonymises."""

    def __init__(self, gate: Gate, lateness_ms: int) -> None:
        self.gate = gate
        self.lateness_ms = lateness_ms
        self._policy: Policy | None = None

    def open(self, function_context: FunctionContext) -> None:
        """Read the key once per worker; count among Flink's metrics what was admitted, rejected and late."""
        self._policy = self.gate.policy()
        group = function_context.get_metric_group().add_group("gate")
        self._admitted, self._rejected, self._late = map(group.counter, ("admitted", "rejected", "late"))

    def eval(self, raw: pd.Series, kafka_ms: pd.Series) -> pd.DataFrame:
        """One row a record, in the records' order; objects throughout, since NaN is no integer."""
        assert self._policy is not None, "open was not called"
        arrived = kafka_ms.tolist()
        columns = admit_batch(raw.tolist(), arrived, self._policy)
        events = [(at, came) for at, came in zip(columns["event_ms"], arrived, strict=True) if at is not None]
        self._admitted.inc(len(events))
        self._rejected.inc(len(arrived) - len(events))
        self._late.inc(sum(at < came - self.lateness_ms for at, came in events))
        return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def admit(t_env: StreamTableEnvironment, raw: Table, gate: Gate, lateness_ms: int) -> Table:
    """Every record, judged: columns of event and rejection, its lineage, ``sound``, ``late``, ``settled``, ``arrival``.

    ``reason`` is null where the record was admitted. ``sound`` is whether the event meets the row rules: computed here,
    once for all its readers, since a planner that meets the rules in a filter simplifies them again at every step
    behind it, for half a minute in all. ``settled`` is the rowtime, under the watermark of the source: the
    Kafka time from which on only late events can lie before this one. ``arrival`` is processing time. The judged
    records pass through a data stream: there ``settled`` becomes the rowtime, which no computed column of the source
    could be, and each record is judged once for all its readers.
    """
    fields = (*EVENTS.fields, *(REJECTIONS.field(name) for name in REJECTION_COLUMNS))
    t_env.create_temporary_function(
        "admit_records", udf(AdmitRecords(gate, lateness_ms), result_type=row_of(fields), func_type="pandas")
    )
    judged = t_env.sql_query(
        f"SELECT admit_records(`value`, `kafka_ms`) AS `r`, `kafka_ms`, {select_list(LINEAGE)} FROM {raw}"
    )
    flat = ", ".join(f"`r`.{quote(name)} AS {quote(name)}" for name in (*EVENT_COLUMNS, *REJECTION_COLUMNS))
    flattened = t_env.sql_query(f"SELECT {flat}, `kafka_ms`, {select_list(LINEAGE)} FROM {judged}")
    rows = t_env.sql_query(f"SELECT *, {all_hold().flink()} AS `sound` FROM {flattened}")
    schema = (
        Schema.new_builder()
        .column_by_expression("late", f"`event_ms` < `ingest_ms` - {lateness_ms}")
        .column_by_expression("settled", f"TO_TIMESTAMP_LTZ(`event_ms` + {lateness_ms}, 3)")
        .column_by_expression("arrival", "PROCTIME()")
        .watermark("settled", "SOURCE_WATERMARK()")
        .build()
    )
    return t_env.from_data_stream(t_env.to_data_stream(rows), schema)


def admitted(t_env: StreamTableEnvironment, judged: Table) -> Table:
    """The events, with lineage, ``sound``, ``late``, ``settled`` and ``arrival``."""
    kept = (*EVENT_COLUMNS, *LINEAGE, "sound", "late", "settled", "arrival")
    return t_env.sql_query(f"SELECT {select_list(kept)} FROM {judged} WHERE `reason` IS NULL")


def rejected(t_env: StreamTableEnvironment, judged: Table) -> Table:
    """The rejections, as their contract has them."""
    return t_env.sql_query(f"SELECT {select_list(REJECTIONS.names)} FROM {judged} WHERE `reason` IS NOT NULL")


def insert_rejections(
    t_env: StreamTableEnvironment, rejections: Table, servers: str, topic: str, transactional_prefix: str | None
) -> str:
    """The insert of the rejections into their topic, as JSON with the raw bytes in base64.

    With a prefix the sink is exactly-once, and only readers of committed records see each rejection once, after
    the next checkpoint; without one (no checkpoints) it is at-least-once.
    """
    options = {
        "connector": "kafka",
        "topic": topic,
        "properties.bootstrap.servers": servers,
        "format": "json",
        # a refused record of the largest size that is kept whole (1 MiB), in base64
        "properties.max.request.size": str(4 << 20),
        **delivery(transactional_prefix),
    }
    t_env.execute_sql(create_table(REJECTIONS, "rejected_topic", options))
    return f"INSERT INTO `rejected_topic` SELECT {select_list(REJECTIONS.names)} FROM {rejections}"
