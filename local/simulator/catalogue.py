"""What the shop sells: items in dotted categories, with styles that cut across them, titles, prices and complements."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from local.simulator.config import ShopConfig

CURRENCY = "GBP"

# leaf category: (noun, typical price)
LEAVES: dict[str, tuple[str, float]] = {
    "kitchen.mugs": ("mug", 7.5),
    "kitchen.teapots": ("teapot", 24.0),
    "kitchen.baking": ("cake tin", 11.0),
    "kitchen.storage": ("storage jar", 9.0),
    "living.candles": ("candle", 6.5),
    "living.cushions": ("cushion", 16.0),
    "living.lamps": ("table lamp", 42.0),
    "living.frames": ("picture frame", 12.0),
    "garden.pots": ("plant pot", 14.0),
    "garden.tools": ("hand trowel", 10.0),
    "garden.lights": ("garden lantern", 19.0),
    "garden.birds": ("bird feeder", 13.0),
    "paper.cards": ("greeting card", 2.2),
    "paper.notebooks": ("notebook", 5.5),
    "paper.wrapping": ("wrapping paper", 3.4),
    "paper.calendars": ("wall calendar", 9.5),
    "toys.puzzles": ("puzzle", 12.5),
    "toys.dolls": ("doll", 21.0),
    "toys.games": ("board game", 26.0),
    "toys.blocks": ("building blocks", 18.0),
    "bags.totes": ("tote bag", 8.0),
    "bags.lunch": ("lunch bag", 6.0),
    "bags.purses": ("purse", 15.0),
    "bags.travel": ("weekend bag", 48.0),
}
STYLES = ("Nordic", "Retro", "Botanical", "Marine", "Rustic", "Modern")
MATERIALS = ("red", "blue", "ivory", "oak", "copper", "linen", "spotted", "striped", "woven", "enamel")
ENDINGS = np.array([0.0, 0.25, 0.50, 0.95, 0.99])


@dataclass(frozen=True)
class Catalogue:
    """Items ordered by category; every array has one entry an item."""

    item_ids: list[str]
    titles: list[str]
    categories: list[str]
    leaf: np.ndarray
    """int32: index of the category in ``leaves``."""
    style: np.ndarray
    """int32: index in ``STYLES``."""
    pence: np.ndarray
    """int64: price in hundredths."""
    popularity: np.ndarray
    """float64, sums to 1."""
    complement: np.ndarray
    """int32: the item that is often ordered along with this one, of the same style in another category."""
    leaf_start: np.ndarray
    """int64, one more than there are categories: items of category k are leaf_start[k] up to leaf_start[k + 1]."""
    leaves: list[str]

    def __len__(self) -> int:
        return len(self.item_ids)

    def price(self, item: int) -> Decimal:
        """Return an item's price."""
        return Decimal(int(self.pence[item])).scaleb(-2)

    def table(self, updated_ms: int) -> pa.Table:
        """Return the catalogue in the contract ``items``."""
        return pa.table(
            {
                "item_id": self.item_ids,
                "title": self.titles,
                "category": self.categories,
                "price": pa.array([self.price(i) for i in range(len(self))], pa.decimal128(18, 4)),
                "currency": [CURRENCY] * len(self),
                "updated_ms": pa.array([updated_ms] * len(self), pa.int64()),
            }
        )

    def write(self, path: Path, updated_ms: int) -> Path:
        """Write the catalogue as a Parquet file and return its path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(self.table(updated_ms), path)
        return path


def make_catalogue(config: ShopConfig) -> Catalogue:
    """Return the catalogue of a shop."""
    rng = np.random.default_rng([config.seed, 1])
    leaves = list(LEAVES)
    leaf = np.sort(np.arange(config.items) % len(leaves)).astype(np.int32)
    style = rng.integers(len(STYLES), size=config.items).astype(np.int32)
    nouns = [LEAVES[leaves[k]][0] for k in leaf]
    typical = np.array([LEAVES[leaves[k]][1] for k in leaf])
    spread = typical * rng.lognormal(0.0, 0.35, config.items)
    pence = np.maximum(49, np.rint(100 * (np.floor(spread) + rng.choice(ENDINGS, config.items)))).astype(np.int64)
    weight = 1.0 / (rng.permutation(config.items) + 4.0) ** config.popularity_exponent
    return Catalogue(
        item_ids=[f"{10_000 + i}" for i in range(config.items)],
        titles=_titles(rng, style, nouns),
        categories=[leaves[k] for k in leaf],
        leaf=leaf,
        style=style,
        pence=pence,
        popularity=weight / weight.sum(),
        complement=_complements(rng, leaf, style),
        leaf_start=np.searchsorted(leaf, np.arange(len(leaves) + 1)),
        leaves=leaves,
    )


def _titles(rng: np.random.Generator, style: np.ndarray, nouns: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    titles = []
    for index, noun in enumerate(nouns):
        plain = f"{STYLES[style[index]]} {MATERIALS[rng.integers(len(MATERIALS))]} {noun}"
        seen[plain] = seen.get(plain, 0) + 1
        titles.append(plain if seen[plain] == 1 else f"{plain} No. {seen[plain]}")
    return titles


def _complements(rng: np.random.Generator, leaf: np.ndarray, style: np.ndarray) -> np.ndarray:
    """Pair each item with one of its own style and department, in another category if there is one."""
    department = leaf // 4
    chosen = np.empty(len(leaf), np.int32)
    for item in range(len(leaf)):
        near = (department == department[item]) & (leaf != leaf[item])
        candidates = np.flatnonzero(near & (style == style[item]))
        if len(candidates) == 0:
            candidates = np.flatnonzero(leaf != leaf[item])
        chosen[item] = candidates[rng.integers(len(candidates))]
    return chosen
