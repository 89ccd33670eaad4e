"""Timed absence: starts that nothing cancelled go to a topic. The rules and their meaning: common/triggers.py.

One interval join serves all rules. Each event becomes a row for each rule that it takes part in: a start lies at the
Kafka time at which it is decided, what may cancel it at the Kafka time at which it came. So a start without a
cancelling row is given out as soon as the watermark, which runs on Kafka's timestamps, passes its decision. Copies
need no deduplication: an earlier copy of a start cancels the later one.
"""

from collections.abc import Sequence

from pyflink.table import Schema, StreamTableEnvironment, Table

from common.admission import MAX_FUTURE_MS
from common.contracts.triggers import TRIGGERS
from common.features.expressions import event
from common.triggers import GRACE_MS, ITEM, AbsenceRule
from streaming.flink.ddl import create_table, interval, literal, quote
from streaming.flink.sinks import delivery
from streaming.flink.steps import select_list

_FIELDS = ("visitor_id", "item_id", "category", "event_id", "event_ms", "offset")


def absences(
    t_env: StreamTableEnvironment, events: Table, rules: Sequence[AbsenceRule], lateness_ms: int, from_ms: int = 0
) -> Table:
    """Rows of the contract ``triggers`` from all admitted events, duplicates included.

    ``from_ms``: only what is decided at that Kafka time or after it fires; what lies before still cancels.
    """
    parts = " UNION ALL ".join(
        part for rule in rules for part in (_starts(events, rule, from_ms), _cancels(events, rule))
    )
    schema = (
        Schema.new_builder()
        .column_by_expression("due", "TO_TIMESTAMP_LTZ(`due_ms`, 3)")
        .watermark("due", "SOURCE_WATERMARK()")
        .build()
    )
    # through a data stream: there the Kafka time of either kind becomes the rowtime
    rows = t_env.from_data_stream(t_env.to_data_stream(t_env.sql_query(parts)), schema)
    # What cancels a start happened after it and came before its decision, so it came at most so long before:
    # the start was not late, and no producer's clock runs further ahead than admission lets it.
    longest = max(rule.within_ms for rule in rules) + GRACE_MS + lateness_ms + MAX_FUTURE_MS
    cancelled = (
        "c.`awaited` OR (c.`event_id` = s.`event_id` AND c.`offset` < s.`offset`) OR c.`event_ms` > s.`event_ms` "
        "OR (c.`event_ms` = s.`event_ms` AND c.`event_id` > s.`event_id`)"
    )
    return t_env.sql_query(
        "SELECT s.`rule` || ':' || s.`event_id` AS `trigger_id`, s.`rule`, s.`visitor_id`, s.`item_id`, s.`category`, "
        "s.`event_id`, s.`event_ms`, s.`until_ms`, s.`due_ms` AS `decided_ms` "
        f"FROM (SELECT * FROM {rows} WHERE `starts`) s LEFT JOIN (SELECT * FROM {rows} WHERE NOT `starts`) c "
        "ON s.`rule` = c.`rule` AND s.`visitor_id` = c.`visitor_id` AND s.`about` = c.`about` "
        f"AND c.`due` BETWEEN s.`due` - {interval(longest)} AND s.`due` "
        f"AND c.`event_ms` BETWEEN s.`event_ms` AND s.`until_ms` AND ({cancelled}) "
        "WHERE c.`rule` IS NULL"
    )


def insert_triggers(
    t_env: StreamTableEnvironment, triggers: Table, servers: str, topic: str, transactional_prefix: str | None
) -> str:
    """The insert of the triggers into their topic, as JSON, keyed by visitor.

    With a prefix the sink is exactly-once: readers of committed records see each trigger once, after the next
    checkpoint. Without one (no checkpoints) a failure may repeat some; ``trigger_id`` tells them apart.
    """
    options = {
        "connector": "kafka",
        "topic": topic,
        "properties.bootstrap.servers": servers,
        "key.format": "raw",
        "key.fields": "visitor_id",
        "value.format": "json",
        "value.fields-include": "ALL",
        **delivery(transactional_prefix),
    }
    t_env.execute_sql(create_table(TRIGGERS, "triggers_topic", options))
    return f"INSERT INTO `triggers_topic` SELECT {select_list(TRIGGERS.names)} FROM {triggers}"


def _starts(events: Table, rule: AbsenceRule, from_ms: int) -> str:
    due = f"`ingest_ms` + CAST({rule.within_ms + GRACE_MS} AS BIGINT)"
    until = f"`event_ms` + CAST({rule.within_ms} AS BIGINT)"
    more = " AND NOT `late`" + (f" AND {due} >= CAST({from_ms} AS BIGINT)" if from_ms else "")
    return _rows(events, rule, rule.after, "TRUE", "FALSE", until, due, more)


def _cancels(events: Table, rule: AbsenceRule) -> str:
    awaited = event.type.is_in(*rule.unless).flink()
    return _rows(events, rule, (*rule.after, *rule.unless), "FALSE", awaited, "`event_ms`", "`ingest_ms`", "")


def _rows(
    events: Table,
    rule: AbsenceRule,
    types: Sequence[str],
    starts: str,
    awaited: str,
    until: str,
    due: str,
    more: str,
) -> str:
    about = "`item_id`" if rule.per == ITEM else "''"
    return (
        f"SELECT {literal(rule.name)} AS `rule`, {starts} AS `starts`, {awaited} AS `awaited`, {about} AS `about`, "
        f"{', '.join(map(quote, _FIELDS))}, {until} AS `until_ms`, {due} AS `due_ms` FROM {events} "
        f"WHERE {event.type.is_in(*types).flink()} AND {about} IS NOT NULL AND `sound`{more}"
    )
