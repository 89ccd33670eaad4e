"""One day's sessions and what happens in them, as columns."""

from dataclasses import dataclass, fields

import numpy as np

from common.features.windows import DAY_MS, HOUR_MS
from local.simulator.config import ShopConfig
from local.simulator.visitors import Visitors

TYPES = ("identify", "refund", "rate", "search", "impression", "view", "share", "cart", "uncart", "purchase")
CODE = {name: code for code, name in enumerate(TYPES)}
LEAD_MS = 2_000
"""A session's first view comes this long after its start: room for what a visit may begin with."""
ROBOT_VIEWS = 200
ROBOT_GAP_MS = 600_000
_HOURS = np.array([1, 1, 1, 1, 1, 2, 3, 5, 7, 8, 9, 10, 11, 10, 9, 9, 10, 11, 13, 15, 15, 12, 7, 3], float)
_WEEKDAYS = np.array([1.0, 0.95, 0.95, 1.0, 1.05, 1.15, 1.2])
"""Monday first."""


@dataclass(frozen=True)
class Sessions:
    """One entry a session."""

    visitor: np.ndarray
    start_ms: np.ndarray
    end_ms: np.ndarray
    """The last event's instant."""
    device_draw: np.ndarray
    referrer: np.ndarray
    day: int


@dataclass(frozen=True)
class Actions:
    """One entry an event; ``session`` counts within the day, -1 stands for none in the other columns."""

    session: np.ndarray
    ms: np.ndarray
    kind: np.ndarray
    item: np.ndarray
    quantity: np.ndarray
    line: np.ndarray
    value: np.ndarray
    """Dwell in milliseconds for a view; for a purchase what comes of it: 1 a refund, 2 a rating, 0 neither."""

    @classmethod
    def of(cls, kind: str, session: np.ndarray, ms: np.ndarray, **columns: np.ndarray) -> "Actions":
        """Return actions of one kind; columns not given hold -1."""
        size = len(session)
        nothing = np.full(size, -1, np.int64)
        given = {"session": session, "ms": ms, "kind": np.full(size, CODE[kind]), **columns}
        return cls(**{one.name: np.asarray(given.get(one.name, nothing), np.int64) for one in fields(cls)})

    @classmethod
    def joined(cls, parts: "list[Actions]") -> "Actions":
        """Return all parts as one."""
        return cls(**{one.name: np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)})

    def take(self, which: np.ndarray) -> "Actions":
        """Return the entries that ``which`` selects."""
        return type(self)(**{one.name: getattr(self, one.name)[which] for one in fields(self)})


def make_day(config: ShopConfig, visitors: Visitors, day: int) -> tuple[Sessions, Actions]:
    """Return the sessions that begin on a day (0 is the first of history) and all their actions.

    A day has its own random stream, so it is the same however many days are made before or after it.
    """
    rng = np.random.default_rng([config.seed, 3, day])
    visitor, start, robot = _starts(rng, config, visitors, day)
    views = np.minimum(rng.geometric(1.0 / config.views_per_session, len(visitor)), config.max_views)
    views[robot] = ROBOT_VIEWS
    session = np.repeat(np.arange(len(visitor)), views)
    gap = np.minimum(rng.lognormal(np.log(config.gap_median_s), config.gap_spread, len(session)), config.max_gap_s)
    gap_ms = np.where(robot[session], ROBOT_GAP_MS, np.rint(gap * 1000) + 1000).astype(np.int64)
    first = np.cumsum(views) - views
    before = np.cumsum(gap_ms) - gap_ms
    at = start[session] + LEAD_MS + before - before[first][session]
    item = _viewed(rng, config, visitors, day, visitor, session, first)

    parts = [Actions.of("view", session, at, item=item, value=gap_ms)]
    parts += _openings(rng, config, visitors, day, visitor, start, robot)
    parts.append(_shares(rng, config, session, at, item, gap_ms, robot))
    parts += _orders(rng, config, visitors, visitor, start, session, at, item, gap_ms, robot)
    actions = Actions.joined(parts)
    end = start.copy()
    np.maximum.at(end, actions.session, actions.ms)
    sessions = Sessions(visitor, start, end, rng.random(len(visitor)), rng.integers(4, size=len(visitor)), day)
    return sessions, actions


def _starts(
    rng: np.random.Generator, config: ShopConfig, visitors: Visitors, day: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return visitor, start and whether it is a robot, for each session."""
    day_ms = config.start_ms + day * DAY_MS
    weekday = (day_ms // DAY_MS + 3) % 7  # the epoch was a Thursday
    human = config.visitors - config.robots
    count = rng.poisson(visitors.sessions_per_day * _WEEKDAYS[weekday])
    count[human:] = 0
    robots = np.array([v for v in range(human, config.visitors) if _robot_day(config, v) == day], np.int64)
    visitor = np.concatenate([np.repeat(np.arange(config.visitors), count), robots])
    weight = np.roll(_HOURS, -int(day_ms // HOUR_MS % 24))
    hour = rng.choice(24, len(visitor), p=weight / weight.sum())
    start = day_ms + hour * HOUR_MS + rng.integers(HOUR_MS, size=len(visitor))
    return visitor, start, visitor >= human


def _robot_day(config: ShopConfig, visitor: int) -> int:
    """Return the day of a robot's only session, early enough to end well before the cut."""
    return 2 + visitor % max(1, config.history_days - 6)


def _viewed(
    rng: np.random.Generator,
    config: ShopConfig,
    visitors: Visitors,
    day: int,
    visitor: np.ndarray,
    session: np.ndarray,
    first: np.ndarray,
) -> np.ndarray:
    """Return the item of each view: the first sets the session's category, most of the others stay in it."""
    viewer = visitor[session]
    item = visitors.pick(day, viewer, rng.random(len(session)))
    focus = visitors.catalogue.leaf[item[first]][session]
    stays = rng.random(len(session)) < config.focus
    stays[first] = False
    within = visitors.pick_within(day, viewer, focus, rng.random(len(session)))
    return np.where(stays, within, item)


def _openings(
    rng: np.random.Generator,
    config: ShopConfig,
    visitors: Visitors,
    day: int,
    visitor: np.ndarray,
    start: np.ndarray,
    robot: np.ndarray,
) -> list[Actions]:
    """Return the searches and the lists shown with which sessions begin."""
    searching = np.flatnonzero((rng.random(len(visitor)) < config.search) & ~robot)
    wanted = visitors.pick(day, visitor[searching], rng.random(len(searching)))
    shown = np.repeat(np.flatnonzero((rng.random(len(visitor)) < config.impressions) & ~robot), 4)
    listed = visitors.pick(day, visitor[shown], rng.random(len(shown)))
    return [
        Actions.of("search", searching, start[searching] + 1000, item=wanted),
        Actions.of("impression", shown, start[shown] + 1500, item=listed),
    ]


def _shares(
    rng: np.random.Generator,
    config: ShopConfig,
    session: np.ndarray,
    at: np.ndarray,
    item: np.ndarray,
    gap_ms: np.ndarray,
    robot: np.ndarray,
) -> Actions:
    shared = np.flatnonzero((rng.random(len(session)) < config.share) & ~robot[session])
    return Actions.of("share", session[shared], at[shared] + gap_ms[shared] // 3, item=item[shared])


def _orders(
    rng: np.random.Generator,
    config: ShopConfig,
    visitors: Visitors,
    visitor: np.ndarray,
    start: np.ndarray,
    session: np.ndarray,
    at: np.ndarray,
    item: np.ndarray,
    gap_ms: np.ndarray,
    robot: np.ndarray,
) -> list[Actions]:
    """Return what goes into carts, out of them again, and the orders: all lines of an order share one instant."""
    catalogue = visitors.catalogue
    chance = np.minimum(config.cart * visitors.generosity[visitor[session]], 0.9)
    put = np.flatnonzero((rng.random(len(session)) < chance) & ~robot[session])
    out = rng.random(len(put)) < config.uncart
    carts = Actions.of("cart", session[put], at[put] + gap_ms[put] // 2, item=item[put], quantity=np.ones(len(put)))
    back = put[out]
    uncarts = Actions.of(
        "uncart", session[back], at[back] + gap_ms[back] * 3 // 4, item=item[back], quantity=np.ones(len(back))
    )

    buys = rng.random(len(visitor)) < config.checkout
    kept = ~out & buys[session[put]]
    extra = kept & (rng.random(len(put)) < config.complement)
    owner = np.concatenate([session[put][kept], session[put][extra]])
    bought = np.concatenate([item[put][kept], catalogue.complement[item[put][extra]]]).astype(np.int64)
    # a line an item: what was put into the cart twice is ordered once, in larger quantity
    pair, times = np.unique(owner * len(catalogue) + bought, return_counts=True)
    owner, bought = pair // len(catalogue), pair % len(catalogue)
    leader = np.searchsorted(owner, owner)
    last = start.copy()
    np.maximum.at(last, session, at + gap_ms)
    draw = rng.random(len(owner))
    aftermath = np.where(draw < config.refund, 1, np.where(draw < config.refund + config.rating, 2, 0))
    quantity = times * np.minimum(rng.geometric(0.7, len(owner)), 6)
    purchases = Actions.of(
        "purchase",
        owner,
        last[owner] + 500,
        item=bought,
        quantity=quantity,
        line=np.arange(len(owner)) - leader + 1,
        value=aftermath,
    )
    return [carts, uncarts, purchases]
