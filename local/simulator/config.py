"""Everything the simulated shop depends on. Two shops of equal configuration give the same bytes."""

from dataclasses import dataclass

from common.errors import ConfigError
from common.features.windows import DAY_MS, HOUR_MS

DEFAULT_CUT_MS = 1_793_491_200_000
"""2026-11-01T00:00:00Z."""


@dataclass(frozen=True)
class ShopConfig:
    """The parameters of a shop; shares and probabilities are between 0 and 1."""

    seed: int = 20261101
    """Seed of every random stream."""
    cut_ms: int = DEFAULT_CUT_MS
    """Where history ends and live traffic begins: UTC epoch milliseconds on an hour's border."""
    history_days: int = 30
    """Days of history before the cut."""
    visitors: int = 2_000
    """Visitors over the whole time."""
    items: int = 600
    """Items in the catalogue, spread evenly over its categories."""

    sessions_per_month: float = 8.5
    """Mean sessions of a visitor in 30 days."""
    activity_spread: float = 0.8
    """Sigma of the lognormal over visitors of that mean: few come often, many rarely."""
    views_per_session: float = 4.6
    """Mean views of a session (geometric, at least one)."""
    max_views: int = 40
    """Most views of a session."""
    gap_median_s: float = 25.0
    """Median seconds between two views of a session (lognormal)."""
    gap_spread: float = 1.1
    """Sigma of that lognormal."""
    max_gap_s: float = 900.0
    """Longest pause within a session: well below the 30 minutes that end one."""
    pause_between_sessions_s: float = 2_400.0
    """Shortest pause between two sessions of a visitor: well above those 30 minutes."""

    popularity_exponent: float = 0.9
    """Items' popularity falls with rank to this power: the long tail."""
    taste_concentration: float = 0.10
    """Dirichlet parameter of a visitor's taste over categories; the smaller, the fewer categories one likes."""
    style_concentration: float = 0.30
    """Dirichlet parameter of a visitor's taste over styles, which cut across categories."""
    focus: float = 0.7
    """Share of a session's views that stay in the category it began with."""
    impulse: float = 0.12
    """Share of views that follow popularity alone, whatever the taste."""
    drifting: float = 0.35
    """Share of visitors whose taste moves to another one during the time."""
    drift_days: float = 4.0
    """Time scale in days of that move (logistic)."""

    cart: float = 0.14
    """Probability that a view is followed by putting the item into the cart."""
    uncart: float = 0.10
    """Probability that what was put into the cart is taken out again."""
    checkout: float = 0.60
    """Probability that a session with a filled cart ends in an order."""
    complement: float = 0.25
    """Probability that an ordered item draws its complement into the same order."""
    refund: float = 0.04
    """Probability that an order line is refunded when the visitor comes next."""
    rating: float = 0.08
    """Probability that an order line is rated when the visitor comes next."""
    search: float = 0.30
    """Probability that a session begins with a search."""
    impressions: float = 0.20
    """Probability that a session begins with a shown list of four items."""
    share: float = 0.01
    """Probability that a view is shared."""

    known: float = 0.60
    """Share of visitors who are logged in from the start."""
    anonymous: float = 0.12
    """Share of visitors who never log in; the others do so at some time between start and end of history."""
    robots: int = 2
    """Visitors who once in the history view an item every ten minutes for 33 hours: one session over a day long."""

    def __post_init__(self) -> None:
        if self.cut_ms % HOUR_MS:
            raise ConfigError(f"the simulator's cut_ms {self.cut_ms} does not lie on an hour's border")
        if self.history_days < 7:
            raise ConfigError(f"history_days is {self.history_days}; the simulator needs at least 7")
        if not 0 <= self.robots < self.visitors:
            raise ConfigError("the simulator needs more visitors than robots")
        if self.max_gap_s >= 1_800 or self.pause_between_sessions_s <= 1_800:
            raise ConfigError("max_gap_s must be below, pause_between_sessions_s above the 1,800 s that end a session")
        if self.known + self.anonymous > 1:
            raise ConfigError("the shares known and anonymous sum to more than 1")

    @property
    def start_ms(self) -> int:
        """Where history begins."""
        return self.cut_ms - self.history_days * DAY_MS
