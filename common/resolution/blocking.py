"""Which pairs of customers are compared at all: those that share a block in one of several passes.

A pass names columns; rows that agree on all of them, none empty, are a block. Each pass forgives what the others do
not. A large block costs no more than its size: its rows are sorted, and each meets only its neighbours (the sorted
neighbourhood of Hernández and Stolfo 1995).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pass:
    """One pass: its name, and the columns that the rows of a block agree on."""

    name: str
    columns: tuple[str, ...]


PASSES: tuple[Pass, ...] = (
    Pass("email", ("email",)),
    Pass("phone", ("phone",)),
    Pass("family_and_birth_month", ("family_sound", "birth_month")),
    Pass("given_and_birth", ("given_sound", "birth")),
    Pass("names_and_birth_year", ("both_sounds", "birth_year")),
    Pass("names_and_birthday", ("both_sounds", "birth_day")),
    Pass("birth_and_area", ("birth", "postal_area")),
    Pass("names_and_area", ("both_sounds", "postal_area")),
    Pass("family_and_home", ("family_sound", "postal", "house")),
    Pass("given_and_home", ("given_sound", "postal", "house")),
    Pass("home", ("street", "house", "postal_area")),
)
"""The passes by equal columns, sounds (Soundex) among them; MinHash bands over trigrams come on top."""


def neighbours(blocks: NDArray[np.int64], window: int, fresh: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index pairs (left, right) of rows of one block at most ``window`` rows apart; equal blocks stand together.

    Only pairs whose right row stands at ``fresh`` or later. A block of up to window + 1 rows gives all its pairs, a
    larger one ``window`` pairs a row: its cost grows with its size, not with the square of it.
    """
    ends = np.arange(fresh, len(blocks))
    lefts, rights = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for distance in range(1, window + 1):
        ends = ends[ends >= distance]
        ends = ends[blocks[ends] == blocks[ends - distance]]
        if not len(ends):
            break
        lefts.append(ends - distance)
        rights.append(ends)
    return np.concatenate(lefts), np.concatenate(rights)


def trigram_bands(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], bands: int, rows: int, seed: int
) -> NDArray[np.int64]:
    """MinHash bands (texts, bands) of texts as Arrow keeps them: bytes, and where each text begins and the last ends.

    A band is a hash over ``rows`` minima of random functions over the text's trigrams of bytes (Broder 1997), so two
    texts share it with probability J^rows, J the share of trigrams that both have. Bands of texts below three bytes
    are 0.
    """
    starts, ends = offsets[:-1] - offsets[0], offsets[1:] - offsets[0]
    bytes_ = data[offsets[0] : offsets[-1]].astype(np.uint64)
    made = np.zeros((len(starts), bands), np.uint64)
    long = ends - starts >= 3
    if not long.any():
        return made.view(np.int64)
    trigrams = bytes_[:-2] | bytes_[1:-1] << np.uint64(8) | bytes_[2:] << np.uint64(16)
    # Two positions before each end begin trigrams that run into the next text.
    across = np.unique(np.concatenate([ends - 1, ends - 2]))
    across = across[(across >= 0) & (across < len(trigrams))]
    rng = np.random.default_rng(seed)
    factors = rng.integers(0, 1 << 63, (bands, rows), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    shifts = rng.integers(0, 1 << 63, (bands, rows), dtype=np.uint64)
    for band in range(bands):
        mixed = np.full(int(long.sum()), band + 1, np.uint64)
        for row in range(rows):
            # Multiply-shift hashing: the upper bits of a product modulo 2^64 are the random ones.
            values = (trigrams * factors[band, row] + shifts[band, row]) >> np.uint64(32)
            values[across] = np.iinfo(np.uint64).max
            least = np.minimum.reduceat(values, starts[long])
            mixed = (mixed ^ least) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        made[long, band] = mixed
    return made.view(np.int64)
