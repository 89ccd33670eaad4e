"""Records that the gate must refuse, each with the reason code it must give."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from common.admission import MAX_BYTES, MAX_DEPTH, MAX_FUTURE_MS, MAX_ID, MAX_PROPERTIES, Reason
from local.simulator.record import Record


@dataclass(frozen=True)
class Poisoned:
    """A record and the reason for which it must be refused."""

    record: Record
    reason: Reason


def poisoned(count: int, timestamps: list[int], run: str = "p", max_age_ms: int | None = None) -> Iterator[Poisoned]:
    """Give ``count`` poisoned records, every kind in turn, at the given timestamps (used in turn).

    ``run`` is part of their event ids. Too old ones are among them only where the gate has an age limit,
    ``max_age_ms``. The first round holds one record over the gate's limit of bytes; later rounds leave it out.
    """
    kinds = [*_KINDS, _old(max_age_ms)] if max_age_ms is not None else list(_KINDS)
    for number in range(count):
        again, index = divmod(number, len(kinds))
        reason, make = kinds[index] if not (again and kinds[index][0] is Reason.OVERSIZE) else kinds[0]
        at = timestamps[number % len(timestamps)]
        event = _valid(f"{run}-{number}", at)
        value = make(event)
        yield Poisoned(Record(event["anonymous_id"].encode(), value, at, at), reason)


def _valid(event_id: str, at: int) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "event_type": "view",
        "event_ms": at,
        "anonymous_id": "browser-poisoned",
        "item_id": "10001",
        "source": "simulator",
    }


def _text(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


def _with(**changes: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda event: _text({**event, **changes})


def _without(name: str) -> Callable[[dict[str, Any]], bytes]:
    return lambda event: _text({key: value for key, value in event.items() if key != name})


def _nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(levels):
        inner = {"in": inner}
    return inner


def _old(max_age_ms: int) -> tuple[Reason, Callable[[dict[str, Any]], bytes]]:
    return Reason.TOO_OLD, lambda event: _text({**event, "event_ms": event["event_ms"] - max_age_ms - 60_000})


_KINDS: list[tuple[Reason, Callable[[dict[str, Any]], bytes]]] = [
    (Reason.INVALID_JSON, lambda event: _text(event)[:-9]),
    (Reason.EMPTY, lambda event: b""),
    (Reason.OVERSIZE, _with(referrer="x" * MAX_BYTES)),
    (Reason.INVALID_UTF8, lambda event: _text(event).replace(b"10001", b"100\xff\xfe")),
    (Reason.TOO_DEEP, _with(properties=_nested(MAX_DEPTH + 8))),
    (Reason.NOT_AN_OBJECT, lambda event: b"[" + _text(event) + b"]"),
    (Reason.MISSING_FIELD, _without("item_id")),
    (Reason.MISSING_FIELD, _without("event_id")),
    (Reason.MISSING_FIELD, _with(event_type="purchase", price=3.5, quantity=1)),
    (Reason.MISSING_VISITOR, _without("anonymous_id")),
    (Reason.WRONG_TYPE, lambda event: _text({**event, "event_ms": str(event["event_ms"])})),
    (Reason.WRONG_TYPE, _with(price="cheap")),
    (Reason.OUT_OF_RANGE, _with(price=-5)),
    (Reason.OUT_OF_RANGE, lambda event: _text({**event, "event_ms": event["event_ms"] // 1000})),
    (Reason.OUT_OF_RANGE, _with(quantity=0)),
    (Reason.TOO_LONG, _with(item_id="9" * (MAX_ID + 44))),
    (Reason.TOO_MANY_PROPERTIES, _with(properties={f"p{n}": "x" for n in range(MAX_PROPERTIES + 44)})),
    (Reason.INVALID_TEXT, _with(item_id="100\x0001")),
    (Reason.UNKNOWN_EVENT_TYPE, _with(event_type="teleport")),
    (Reason.PLACEHOLDER_ID, _with(user_id="undefined")),
    (Reason.RESERVED_FIELD, _with(visitor_id="k1_0123456789abcdef")),
    (Reason.AMBIGUOUS_FIELD, _with(colour="red", properties={"colour": "blue"})),
    (Reason.FUTURE, lambda event: _text({**event, "event_ms": event["event_ms"] + 2 * MAX_FUTURE_MS})),
]
