"""Days joined into one timeline: whose sessions exclude each other, who is known when, what orders lead to later."""

from dataclasses import dataclass

import numpy as np

from local.simulator.config import ShopConfig
from local.simulator.traffic import CODE, Actions, Sessions, make_day
from local.simulator.visitors import NEVER, Visitors


@dataclass(frozen=True)
class Timeline:
    """Kept sessions in the order of (visitor, start) and their actions in the order of time."""

    visitor: np.ndarray
    start_ms: np.ndarray
    day: np.ndarray
    number: np.ndarray
    """The session's number within its day, which with the day is its name."""
    device_draw: np.ndarray
    referrer: np.ndarray
    known: np.ndarray
    """bool: whether the visitor has logged in by then."""
    actions: Actions
    """``session`` is an index of this timeline's sessions; ``value`` of a refund or rating is the order's session."""
    serial: np.ndarray
    """The action's number within its session, which names the event."""


def make_timeline(config: ShopConfig, visitors: Visitors, days: int) -> Timeline:
    """Return the first ``days`` days of the shop; a longer timeline has the same beginning as a shorter one."""
    made = [make_day(config, visitors, day) for day in range(days)]
    sessions, actions = _join(made)
    visitor, start, end = sessions["visitor"], sessions["start_ms"], sessions["end_ms"]
    order = np.lexsort((start, visitor))
    kept = order[_apart(visitor[order], start[order], end[order], int(config.pause_between_sessions_s * 1000))]
    place = np.full(len(visitor), -1, np.int64)
    place[kept] = np.arange(len(kept))
    stays = place[actions.session] >= 0
    actions = actions.take(stays)
    actions.session[:] = place[actions.session]

    visitor, start = visitor[kept], start[kept]
    known = start >= visitors.identified_ms[visitor]
    parts = [actions, _identifications(visitors, visitor, start, known), *_aftermath(visitor, start, actions)]
    merged = Actions.joined(parts)
    merged = merged.take(np.lexsort((merged.item, merged.line, merged.kind, merged.session, merged.ms)))
    return Timeline(
        visitor=visitor,
        start_ms=start,
        day=sessions["day"][kept],
        number=sessions["number"][kept],
        device_draw=sessions["device_draw"][kept],
        referrer=sessions["referrer"][kept],
        known=known,
        actions=merged,
        serial=_serials(merged.session),
    )


def _join(made: list[tuple[Sessions, Actions]]) -> tuple[dict[str, np.ndarray], Actions]:
    """Put the days' sessions behind each other and number the actions' sessions accordingly."""
    columns = ("visitor", "start_ms", "end_ms", "device_draw", "referrer")
    joined = {name: np.concatenate([getattr(one, name) for one, _ in made]) for name in columns}
    joined["day"] = np.concatenate([np.full(len(one.visitor), one.day) for one, _ in made])
    joined["number"] = np.concatenate([np.arange(len(one.visitor)) for one, _ in made])
    first, actions = 0, []
    for one, day_actions in made:
        day_actions.session[:] += first
        actions.append(day_actions)
        first += len(one.visitor)
    return joined, Actions.joined(actions)


def _apart(visitor: np.ndarray, start: np.ndarray, end: np.ndarray, pause_ms: int) -> np.ndarray:
    """Return which sessions to keep so that two of one visitor are apart by the pause; the earlier one wins."""
    keep = np.zeros(len(visitor), bool)
    last_visitor, free_from = -1, 0
    for index, (who, begins, ends) in enumerate(zip(visitor.tolist(), start.tolist(), end.tolist(), strict=True)):
        if who != last_visitor or begins >= free_from:
            keep[index] = True
            last_visitor, free_from = who, ends + pause_ms
    return keep


def _identifications(visitors: Visitors, visitor: np.ndarray, start: np.ndarray, known: np.ndarray) -> Actions:
    """Return the log-ins: the first thing in the first session after a visitor's identification."""
    logs_in = (visitors.identified_ms[visitor] > 0) & (visitors.identified_ms[visitor] < NEVER) & known
    found = np.flatnonzero(logs_in)
    _, first = np.unique(visitor[found], return_index=True)
    chosen = found[first]
    return Actions.of("identify", chosen, start[chosen])


def _aftermath(visitor: np.ndarray, start: np.ndarray, actions: Actions) -> list[Actions]:
    """Return refunds and ratings: at the start of the session after that of the order."""
    follows = np.zeros(len(visitor), bool)
    follows[:-1] = visitor[1:] == visitor[:-1]
    parts = []
    for kind, code, after_ms in (("refund", 1, 200), ("rate", 2, 600)):
        lines = np.flatnonzero((actions.kind == CODE["purchase"]) & (actions.value == code) & follows[actions.session])
        bought_in = actions.session[lines]
        parts.append(
            Actions.of(
                kind,
                bought_in + 1,
                start[bought_in + 1] + after_ms,
                item=actions.item[lines],
                quantity=actions.quantity[lines],
                line=actions.line[lines],
                value=bought_in,
            )
        )
    return parts


def _serials(session: np.ndarray) -> np.ndarray:
    """Return each action's number within its session, in the given order."""
    order = np.argsort(session, kind="stable")
    first = np.searchsorted(session[order], session[order])
    serial = np.empty(len(session), np.int64)
    serial[order] = np.arange(len(session)) - first
    return serial
