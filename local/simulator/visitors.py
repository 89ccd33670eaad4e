"""Who visits: how often, with which tastes, how these drift, and under which ids."""

from dataclasses import dataclass, field

import numpy as np

from common.features.windows import DAY_MS
from local.simulator.catalogue import STYLES, Catalogue
from local.simulator.config import ShopConfig

DEVICES = ("desktop", "mobile", "tablet")
COUNTRIES = ("GB", "DE", "FR", "NL", "IE", "ES")
NEVER = np.iinfo(np.int64).max
PERIOD_DAYS = 7
"""Tastes are held fixed for a week and move from week to week."""


@dataclass
class Visitors:
    """Every array has one entry a visitor; the preference tables are made a week at a time."""

    config: ShopConfig
    catalogue: Catalogue
    sessions_per_day: np.ndarray
    identified_ms: np.ndarray
    """int64: from when on the visitor is known by a user id."""
    device: np.ndarray
    country: np.ndarray
    generosity: np.ndarray
    """float64: factor on the probability to buy."""
    taste: np.ndarray
    """float64 (visitor, category)."""
    later_taste: np.ndarray
    """float64 (visitor, category): where a drifting taste goes."""
    style: np.ndarray
    """float64 (visitor, style)."""
    drift_day: np.ndarray
    """float64: day of history on which half of the drift is done; infinite for a steady taste."""
    _tables: dict[int, np.ndarray] = field(default_factory=dict)

    def user_id(self, visitor: int) -> str:
        """Return the raw user id."""
        return f"user-{visitor:05d}"

    def anonymous_id(self, visitor: int) -> str:
        """Return the raw id of the visitor's browser."""
        return f"browser-{visitor * 2_654_435_761 % 2**32:08x}"

    def preference(self, day: int) -> np.ndarray:
        """Return the probability with which each visitor picks each item in the week of ``day``: (visitor, item)."""
        moved = 1.0 / (1.0 + np.exp(-(_middle(day) - self.drift_day) / self.config.drift_days))
        taste = self.taste * (1 - moved)[:, None] + self.later_taste * moved[:, None]
        liked = taste[:, self.catalogue.leaf] * (0.05 + self.style[:, self.catalogue.style])
        personal = liked * self.catalogue.popularity**0.6
        personal /= personal.sum(axis=1, keepdims=True)
        return (1 - self.config.impulse) * personal + self.config.impulse * self.catalogue.popularity

    def pick(self, day: int, visitor: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return an item for each visitor of ``visitor`` by its preference; ``u`` is uniform in [0, 1)."""
        return self._find(self._cumulative(day), visitor, u)

    def pick_within(self, day: int, visitor: np.ndarray, leaf: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return an item of category ``leaf`` for each visitor by its preference."""
        table = self._cumulative(day)
        low = self._before(table, visitor, self.catalogue.leaf_start[leaf])
        high = self._before(table, visitor, self.catalogue.leaf_start[leaf + 1])
        found = self._find(table, visitor, low + u * (high - low))
        # the sum's rounding may reach over the border
        return np.clip(found, self.catalogue.leaf_start[leaf], self.catalogue.leaf_start[leaf + 1] - 1)

    def _cumulative(self, day: int) -> np.ndarray:
        """Return row v as v + the running sum of v's preferences: one sorted array of all visitors."""
        period = day // PERIOD_DAYS
        if period not in self._tables:
            table = np.cumsum(self.preference(day), axis=1)
            table /= table[:, -1:]
            self._tables[period] = (table + np.arange(len(table))[:, None]).ravel()
        return self._tables[period]

    def _find(self, table: np.ndarray, visitor: np.ndarray, u: np.ndarray) -> np.ndarray:
        size = len(self.catalogue)
        found = np.searchsorted(table, visitor + u, side="right") - visitor * size
        return np.clip(found, 0, size - 1).astype(np.int32)

    def _before(self, table: np.ndarray, visitor: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Return the visitor's summed preference of all items before ``item``."""
        at = table[visitor * len(self.catalogue) + np.maximum(item, 1) - 1] - visitor
        return np.where(item == 0, 0.0, at)


def _middle(day: int) -> float:
    return day // PERIOD_DAYS * PERIOD_DAYS + PERIOD_DAYS / 2


def make_visitors(config: ShopConfig, catalogue: Catalogue) -> Visitors:
    """Return the visitors of a shop."""
    rng = np.random.default_rng([config.seed, 2])
    count, leaves = config.visitors, len(catalogue.leaves)
    activity = rng.lognormal(-(config.activity_spread**2) / 2, config.activity_spread, count)
    kind = rng.random(count)
    joined = config.start_ms + (rng.random(count) * config.history_days * DAY_MS).astype(np.int64)
    identified = np.where(kind < config.known, 0, np.where(kind < 1 - config.anonymous, joined, NEVER))
    concentration = np.full(leaves, config.taste_concentration)
    drifts = rng.random(count) < config.drifting
    return Visitors(
        config=config,
        catalogue=catalogue,
        sessions_per_day=activity * config.sessions_per_month / 30.0,
        identified_ms=identified.astype(np.int64),
        device=rng.choice(len(DEVICES), count, p=[0.45, 0.45, 0.10]),
        country=rng.choice(len(COUNTRIES), count, p=[0.70, 0.10, 0.07, 0.05, 0.05, 0.03]),
        generosity=rng.lognormal(-0.125, 0.5, count),
        taste=rng.dirichlet(concentration, count),
        later_taste=rng.dirichlet(concentration, count),
        style=rng.dirichlet(np.full(len(STYLES), config.style_concentration), count),
        drift_day=np.where(drifts, rng.uniform(5, config.history_days, count), np.inf),
    )
