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
"""The passes by equal columns, sounds (Soundex) among them; MinHash bands over character trigrams come on top."""


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
