"""How much each level of agreement weighs, learned without labels.

The model is that of Fellegi and Sunter (1969) with its shares found by expectation-maximisation (Winkler 1988): of
pairs that are one person, a share m of each comparison's pairs stands on each level; of strangers a share u. Between
the two stand the people of one household, who agree on name and address because they live together: where they are
many they would pass for the matches, so they are a class of their own. They agree as strangers do on what is a
person's own, and on what a household shares by shares h.

All is learned from counts of patterns, never from rows: u from random pairs, less the few of other kinds among them;
m and h from candidate pairs. Pairs that no block brought together are counted as strangers, so a class's share is one
of all pairs, and blocking does not bend u.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.errors import IncompleteInput
from common.resolution.comparisons import COMPARISONS, SIZES, Comparison, unpacked

PRIOR = 0.1
"""Pairs that each level is thought to have been seen on beforehand, so that no share is zero."""

Floats = NDArray[np.float64]
Shares = tuple[Floats, ...]
"""Per comparison the share of each level; that of ``missing`` is 0, the others sum to 1."""


@dataclass(frozen=True)
class Tally:
    """How often each pattern was seen: two arrays of equal length."""

    pattern: NDArray[np.int64]
    pairs: Floats


@dataclass(frozen=True)
class Weights:
    """A learned model: how large a share of all pairs matches and households are, and the shares of each level."""

    match_share: float
    household_share: float
    m: Shares
    h: Shares
    u: Shares
    rounds: int

    def of(self, pattern: NDArray[np.int64]) -> Floats:
        """The weight of each pattern in bits: log2 of the odds that the pair is one person; 0 is an even chance."""
        match, household, stranger = _logs(unpacked(pattern), self)
        return match - np.logaddexp2(household, stranger)

    @property
    def bits(self) -> Shares:
        """What each level adds against strangers, in bits; 0 of ``missing``."""
        return tuple(_log2(m) - _log2(u) for m, u in zip(self.m, self.u, strict=True))

    def told(self) -> dict[str, dict[str, list[float]]]:
        """What was learned, for the run's row: per comparison and level m, u and bits."""
        return {
            c.name: {
                level: [round(float(m[i]), 6), float(f"{u[i]:.3g}"), round(float(b[i]), 2)]
                for i, level in enumerate(c.levels)
                if i
            }
            for c, m, u, b in zip(COMPARISONS, self.m, self.u, self.bits, strict=True)
        }


def probability(bits: Floats | float) -> Floats:
    """The probability of a match at a weight in bits."""
    return 1.0 / (1.0 + np.exp2(-np.clip(bits, -1000.0, 1000.0)))


def bits_of(chance: float) -> float:
    """The weight at which a match has the probability ``chance``, which is between 0 and 1."""
    return float(np.log2(chance / (1 - chance)))


def learn(candidates: Tally, random: Tally, all_pairs: float, rounds: int = 500, tolerance: float = 1e-6) -> Weights:
    """Learn the weights from the tally of candidate pairs and that of random pairs among ``all_pairs``.

    Stops when no share moves by more than ``tolerance``. Without random pairs strangers stand on each level alike.
    Raises IncompleteInput where there are no candidates to learn from.
    """
    if not candidates.pairs.sum():
        raise IncompleteInput("no two customers share a block: there is nothing to learn weights from")
    found, drawn = unpacked(candidates.pattern), unpacked(random.pattern)
    u = _shares(drawn, random.pairs)
    m = tuple(_mostly_agreeing(c) for c in COMPARISONS)
    start = min(0.25, 0.25 * float(candidates.pairs.sum()) / all_pairs)
    model = Weights(start, start, m, _household(m, u), u, 0)
    for turn in range(1, rounds + 1):
        matches, households = (candidates.pairs * share for share in _posterior(found, model)[:2])
        strangers = random.pairs * _posterior(drawn, model)[2]
        m, u = _shares(found, matches), _shares(drawn, strangers)
        h = _household(_shares(found, households), u)
        before, model = model, Weights(_share(matches, all_pairs), _share(households, all_pairs), m, h, u, turn)
        if _moved(before, model) < tolerance:
            break
    return model


def _share(pairs: Floats, all_pairs: float) -> float:
    """The share of all pairs; never that of no pair, since a share of zero could not grow again."""
    return float(np.clip(pairs.sum(), PRIOR, 0.5 * all_pairs)) / all_pairs


def _mostly_agreeing(comparison: Comparison) -> Floats:
    """The shares to begin with: nine in ten agree fully, the rest evenly on the other levels."""
    shares = np.full(len(comparison.levels), 0.1 / (len(comparison.levels) - 2))
    shares[[x in ("equal", "both_agree") for x in comparison.levels].index(True)] = 0.9
    shares[0] = 0.0
    return shares


def _household(shared: Shares, u: Shares) -> Shares:
    """The shares of a household: its own where a household shares the field, a stranger's where it does not."""
    return tuple(h if c.shared else other for c, h, other in zip(COMPARISONS, shared, u, strict=True))


def _shares(levels: NDArray[np.int64], pairs: Floats) -> Shares:
    made = []
    for at, size in enumerate(SIZES):
        counts = np.bincount(levels[:, at], weights=pairs, minlength=size) + PRIOR
        counts[0] = 0.0
        made.append(counts / counts.sum())
    return tuple(made)


def _log2(shares: Floats) -> Floats:
    logs = np.zeros(len(shares))
    logs[1:] = np.log2(shares[1:])
    return logs


def _logs(levels: NDArray[np.int64], model: Weights) -> tuple[Floats, Floats, Floats]:
    """log2 of the joint probability of each row of levels with each class: match, household, stranger."""
    classes = (
        (model.match_share, model.m),
        (model.household_share, model.h),
        (1 - model.match_share - model.household_share, model.u),
    )
    made = [
        np.log2(share) + sum(_log2(shares)[levels[:, at]] for at, shares in enumerate(of_class))
        for share, of_class in classes
    ]
    return made[0], made[1], made[2]


def _posterior(levels: NDArray[np.int64], model: Weights) -> tuple[Floats, Floats, Floats]:
    """The probability of each class given the levels."""
    match, household, stranger = _logs(levels, model)
    whole = np.logaddexp2(np.logaddexp2(match, household), stranger)
    return np.exp2(match - whole), np.exp2(household - whole), np.exp2(stranger - whole)


def _moved(before: Weights, after: Weights) -> float:
    """The largest difference of a share."""
    pairs = zip((*before.m, *before.h, *before.u), (*after.m, *after.h, *after.u), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)
