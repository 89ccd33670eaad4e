"""What timed absences must fire, by their definition alone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from common.contracts.triggers import TRIGGERS
from common.triggers import AbsenceRule, decided_ms, fires


def fired(once: Sequence[Mapping[str, Any]], rules: Iterable[AbsenceRule], lateness_ms: int) -> dict[str, Any]:
    """The rows of the contract ``triggers`` by their id; ``once`` are the distinct events within the horizon."""
    found: dict[str, Any] = {}
    for rule in rules:
        of_key: dict[Any, list[Mapping[str, Any]]] = {}
        for row in once:
            of_key.setdefault(rule.key(row), []).append(row)
        for row in once:
            key = rule.key(row)
            if key and row["event_type"] in rule.after and fires(rule, row, of_key[key], lateness_ms):
                span = {"until_ms": row["event_ms"] + rule.within_ms, "decided_ms": decided_ms(rule, row)}
                name = {"trigger_id": f"{rule.name}:{row['event_id']}", "rule": rule.name}
                found[name["trigger_id"]] = {**{k: row.get(k) for k in TRIGGERS.names}, **name, **span}
    return found
