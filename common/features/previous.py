"""The item before: a field that an event gets from the visitor's events, for groups about what follows what.

Among a visitor's events with an item and a weight, ordered by (event_ms, event_id), an event's ``previous_item_id`` is
the item of the one right before it, where that lies at most the session gap before, so that both are of one session,
and on the same UTC day, so that a day's tiles follow from its own events. Other events have none. It depends on the
events around, so a group that reads it is not a fold of single events: an event that comes between two others takes
their pair away. Both layers compute it from events that are complete: the stream once the watermark has passed an
event, without late ones; batch from all events of the days that changed.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from common.features.expressions import PREVIOUS_ITEM, event
from common.features.windows import DAY_MS
from common.sessions import SESSION_GAP_MS

TAKES_PART = ~event.item_id.is_null() & (event.weight > 0)
"""Whether an event has a previous item, and can be another one's."""


def with_previous(events: Iterable[Mapping[str, Any]], gap_ms: int = SESSION_GAP_MS) -> list[dict[str, Any]]:
    """The events, each with ``previous_item_id``, by visitor and time: the rule, stated plainly."""
    last: dict[str, Mapping[str, Any]] = {}
    found = []
    for row in sorted(events, key=lambda e: (e["visitor_id"], e["event_ms"], e["event_id"])):
        before = None
        if TAKES_PART.evaluate(row) is True:
            earlier = last.get(row["visitor_id"])
            if earlier is not None and _near(earlier["event_ms"], row["event_ms"], gap_ms):
                before = earlier["item_id"]
            last[row["visitor_id"]] = row
        found.append({**row, PREVIOUS_ITEM: before})
    return found


def _near(earlier_ms: int, later_ms: int, gap_ms: int) -> bool:
    return later_ms - earlier_ms <= gap_ms and later_ms // DAY_MS == earlier_ms // DAY_MS
