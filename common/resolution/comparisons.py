"""How two customers are compared: a level of agreement per comparison, and the levels of a pair as one number.

Everything is vectorised over pairs. Level 0 is always ``missing``: nothing can be said, and it weighs nothing. The
others go from ``differs`` upwards; each has a name, which the review queue shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import OSA, JaroWinkler

Texts = NDArray[np.object_]
"""Texts (n,), normalised; an empty text where nothing is known."""

Levels = NDArray[np.int64]
"""Levels (n,) of one comparison."""

Columns = Mapping[str, Texts]
"""Columns of rows, by name; all of equal length."""

FIELDS = (
    "given",
    "family",
    "birth",
    "house",
    "street",
    "extended",
    "locality",
    "postal",
    "email",
    "phone",
)
"""The normalised columns that are compared; see ``standardised`` in jobs/resolve_customers.py."""

NEAR, CLOSE = 0.80, 0.90
"""Jaro-Winkler similarities from which texts are near or close."""

CROSSED = 0.85
"""Jaro-Winkler similarity from which two fields are taken for each other's."""


@dataclass(frozen=True)
class Comparison:
    """One comparison: its name and the names of its levels, ``missing`` first."""

    name: str
    levels: tuple[str, ...]
    shared: bool
    """Whether people of one household agree on it."""


_TEXT = ("missing", "differs", "near", "close", "equal")

COMPARISONS: tuple[Comparison, ...] = (
    Comparison("given_name", (*_TEXT, "crossed"), shared=False),
    Comparison("family_name", _TEXT, shared=True),
    Comparison(
        "birth_date", ("missing", "differs", "two_edits", "one_edit", "day_month_swapped", "equal"), shared=False
    ),
    Comparison("house_number", ("missing", "differs", "one_edit", "equal"), shared=True),
    Comparison("street", (*_TEXT, "crossed"), shared=True),
    Comparison("extended_address", _TEXT, shared=True),
    Comparison(
        "place", ("missing", "differs", "one_similar", "postal_code_equal", "both_similar", "both_agree"), shared=True
    ),
    Comparison("email", ("missing", "differs", "equal"), shared=True),
    Comparison("phone", ("missing", "differs", "equal"), shared=True),
)
"""Every comparison, in the order of a pattern's digits.

Where given and family name, or street and extended address, stand in each other's place, the first of the two says
``crossed`` and the second ``missing``, so that one mistake is weighed once. Postal code and locality are one
comparison, since each follows from the other.
"""

SIZES = tuple(len(c.levels) for c in COMPARISONS)
"""Levels of each comparison: the radices of a pattern."""


def patterns(left: Columns, right: Columns) -> NDArray[np.int64]:
    """The pattern of each pair: its levels as digits of a mixed-radix number; columns as in :data:`FIELDS`."""
    given, family = crossing_levels(left["given"], left["family"], right["given"], right["family"])
    street, extended = crossing_levels(left["street"], left["extended"], right["street"], right["extended"])
    levels = (
        given,
        family,
        birth_levels(left["birth"], right["birth"]),
        code_levels(left["house"], right["house"]),
        street,
        extended,
        place_levels(left["locality"], right["locality"], left["postal"], right["postal"]),
        equal_levels(left["email"], right["email"]),
        equal_levels(left["phone"], right["phone"]),
    )
    packed = np.zeros(len(given), np.int64)
    for digit, size in zip(reversed(levels), reversed(SIZES), strict=True):
        packed = packed * size + digit
    return packed


def unpacked(packed: NDArray[np.int64]) -> NDArray[np.int64]:
    """The levels (n, comparisons) of patterns (n,): the inverse of :func:`patterns`."""
    digits = np.empty((len(packed), len(SIZES)), np.int64)
    rest = np.asarray(packed, np.int64)
    for at, size in enumerate(SIZES):
        digits[:, at] = rest % size
        rest = rest // size
    return digits


# Levels


def similarity(left: Texts, right: Texts) -> NDArray[np.float64]:
    """Jaro-Winkler similarity of each pair (Winkler 1990), 0 to 1, prefix weight 0.1."""
    return process.cpdist(left, right, scorer=JaroWinkler.normalized_similarity, dtype=np.float64)


def edits(left: Texts, right: Texts, cutoff: int) -> NDArray[np.int64]:
    """Edit distance of each pair, a transposition one edit (optimal string alignment); cutoff + 1 where it is more."""
    return process.cpdist(left, right, scorer=OSA.distance, score_cutoff=cutoff, dtype=np.int64)


def _known(left: Texts, right: Texts) -> NDArray[np.bool_]:
    return (left != "") & (right != "")


def _scored(left: Texts, right: Texts) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Whether both are known, and their similarity (0 where not)."""
    known = _known(left, right)
    score = (known & (left == right)).astype(np.float64)
    open_ = np.flatnonzero(known & (score == 0))
    score[open_] = similarity(left[open_], right[open_])
    return known, score


def _text_levels(known: NDArray[np.bool_], equal: NDArray[np.bool_], score: NDArray[np.float64]) -> Levels:
    levels = 1 + (score >= NEAR).astype(np.int64) + (score >= CLOSE) + equal
    return np.where(known, levels, 0)


def crossing_levels(first: Texts, second: Texts, other_first: Texts, other_second: Texts) -> tuple[Levels, Levels]:
    """Levels of two text fields that people enter into each other's place."""
    known_first, score_first = _scored(first, other_first)
    known_second, score_second = _scored(second, other_second)
    levels_first = _text_levels(known_first, first == other_first, score_first)
    levels_second = _text_levels(known_second, second == other_second, score_second)
    unlike = known_first & known_second & (score_first < CLOSE) & (score_second < CLOSE)
    at = np.flatnonzero(unlike)
    crossed = np.minimum(similarity(first[at], other_second[at]), similarity(second[at], other_first[at])) >= CROSSED
    levels_first[at[crossed]] = 5
    levels_second[at[crossed]] = 0
    return levels_first, levels_second


def birth_levels(left: Texts, right: Texts) -> Levels:
    """Levels of birth dates as digits ``yyyymmdd``, which need be no dates: typing errors make days that are not."""
    known = _known(left, right)
    levels = np.choose(edits(left, right, 2), (5, 3, 2, 1))
    one, other = _digits(left), _digits(right)
    swapped = (one[:, _DAY_MONTH] == other).all(axis=1) & (levels < 5)
    return np.where(known, np.where(swapped, 4, levels), 0)


_DAY_MONTH = (0, 1, 2, 3, 6, 7, 4, 5, 8)


def _digits(dates: Texts) -> NDArray[np.uint32]:
    """The first nine characters of each text as code points (n, 9), zeros behind its end: eight are a date."""
    return dates.astype("U9").view(np.uint32).reshape(len(dates), 9)


def code_levels(left: Texts, right: Texts) -> Levels:
    """Levels of short codes: missing, differs, one edit, equal."""
    return np.where(_known(left, right), np.choose(edits(left, right, 1), (3, 2, 1)), 0)


def equal_levels(left: Texts, right: Texts) -> Levels:
    """Levels of hashes: missing, differs, equal."""
    return np.where(_known(left, right), 1 + (left == right), 0)


def place_levels(locality: Texts, other_locality: Texts, postal: Texts, other_postal: Texts) -> Levels:
    """Levels of locality and postal code together."""
    known, score = _scored(locality, other_locality)
    code = code_levels(postal, other_postal)
    town = known & (score >= CROSSED)
    levels = np.select(
        [(code == 3) & town, (code == 2) & town, code == 3, (code == 2) | town],
        [5, 4, 3, 2],
        default=1,
    )
    return np.where(known | (code > 0), levels, 0)
