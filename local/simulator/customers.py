"""Customers who are there more than once: a seeded register with typos, moves, marriages and whole households.

Equal configuration gives equal rows. Names, streets and towns are made of syllables; how often each is drawn falls
with its rank, as in a real register, so that namesakes and neighbours are there to be kept apart.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from common.errors import ConfigError

Row = dict[str, str | None]

FIELDS = (
    "given_name",
    "family_name",
    "birth_date",
    "street_address",
    "locality",
    "postal_code",
    "region",
    "email",
    "phone",
)
"""What a row says of a person, all text; null where it says nothing."""

COLUMNS = ("customer", "person", *FIELDS, "updated_ms")
"""The columns of a register; ``person`` is the truth, which a resolver must not see."""

_ONSETS = ("b", "br", "c", "ch", "d", "f", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "r", "s", "st", "t", "v", "w")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ee", "ou")
_CODAS = ("", "", "", "l", "n", "r", "s", "th", "ck", "m")
_WAYS = ("street", "road", "avenue", "close", "lane", "place")
_PROVIDERS = ("post.example", "mail.example", "inbox.example")
_REGIONS = 8
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_FIRST_DAY, _LAST_DAY = np.datetime64("1936-01-01"), np.datetime64("2008-01-01")
_UPDATED_MS = 1_700_000_000_000


@dataclass(frozen=True)
class RegisterConfig:
    """The parameters of a register; shares are between 0 and 1."""

    rows: int = 10_000
    """Rows of the register."""
    duplicates: float = 0.1
    """Share of rows that are a further row of a person who is there already."""
    seed: int = 20_261_121
    """Seed of every random stream."""
    households: float = 0.4
    """Share of persons who live with the one before, under the same address and mostly the same family name."""
    faults: float = 1.6
    """Mean number of faults of a further row, beyond the first (Poisson)."""

    def __post_init__(self) -> None:
        if self.rows < 2 or not 0 <= self.duplicates < 1 or not 0 <= self.households < 1 or self.faults < 0:
            raise ConfigError("a register has at least 2 rows, shares from 0 to below 1 and no negative faults")


def register(config: RegisterConfig) -> pa.Table:
    """The rows in random order; :data:`COLUMNS`, ``person`` and ``updated_ms`` int64, the others text."""
    rng = np.random.default_rng(config.seed)
    extra = round(config.rows * config.duplicates)
    persons = _persons(rng, config.rows - extra, config.households)
    originals = rng.integers(0, len(persons), extra)
    copies = [_faulty(rng, persons[i], config.faults) for i in originals]
    rows = [*persons, *copies]
    truth = np.concatenate([np.arange(len(persons)), originals])
    order = rng.permutation(len(rows))
    cells = {name: pa.array([rows[i][name] for i in order], pa.string()) for name in FIELDS}
    return pa.table(
        {
            "customer": pa.array([f"c{i:09d}" for i in range(len(rows))], pa.string()),
            "person": pa.array(truth[order], pa.int64()),
            **cells,
            "updated_ms": pa.array(_UPDATED_MS + rng.integers(0, 10**10, len(rows)), pa.int64()),
        }
    )


def _words(rng: np.random.Generator, count: int, syllables: tuple[int, int]) -> np.ndarray:
    """Distinct words of ``syllables`` (fewest, most) syllables."""
    found: dict[str, None] = {}
    while len(found) < count:
        parts = rng.integers(syllables[0], syllables[1] + 1)
        word = "".join(_ONSETS[rng.integers(21)] + _VOWELS[rng.integers(8)] for _ in range(parts))
        found[word + _CODAS[rng.integers(10)]] = None
    return np.array(list(found), dtype=object)


def _draw(rng: np.random.Generator, words: np.ndarray, exponent: float, count: int) -> np.ndarray:
    """``count`` words, the one of rank r with a probability that falls with r to the power of ``exponent``."""
    odds = np.arange(1, len(words) + 1, dtype=float) ** -exponent
    return words[rng.choice(len(words), count, p=odds / odds.sum())]


def _persons(rng: np.random.Generator, count: int, households: float) -> list[Row]:
    given = _draw(rng, _words(rng, 1_500, (1, 3)), 0.9, count)
    family = _draw(rng, _words(rng, 12_000, (2, 3)), 0.8, count)
    ways = np.array(_WAYS, dtype=object)[rng.integers(0, len(_WAYS), count)]
    streets = _draw(rng, _words(rng, 4_000, (2, 3)), 0.7, count) + " " + ways
    towns = _words(rng, 600, (2, 4))
    town = _draw(rng, np.arange(len(towns)), 0.8, count)
    postal = 1_000 + town * 13 + rng.integers(0, 6, count)
    number = 1 + rng.exponential(40, count).astype(int)
    days = (_LAST_DAY - _FIRST_DAY).astype(int)
    birth = np.datetime_as_string(_FIRST_DAY + rng.integers(0, days, count)).astype(object)
    digits = rng.integers(0, 1_000, count)
    provider = rng.integers(0, len(_PROVIDERS), count)
    phone = rng.integers(10**8, 10**9, count)
    has_email, has_phone = rng.random(count) < 0.8, rng.random(count) < 0.6
    joins = rng.random(count) < households
    same_name = rng.random(count) < 0.8
    rows: list[Row] = []
    for i in range(count):
        other = rows[-1] if joins[i] and rows else None
        name = other["family_name"] if other is not None and same_name[i] else str(family[i])
        home = {
            "street_address": f"{number[i]} {streets[i]}",
            "locality": str(towns[town[i]]),
            "postal_code": str(postal[i]),
            "region": f"r{town[i] % _REGIONS}",
        }
        if other is not None:
            home = {field: str(other[field]) for field in home}
        rows.append(
            {
                "given_name": str(given[i]),
                "family_name": name,
                "birth_date": str(birth[i]),
                **home,
                "email": f"{given[i]}.{name}{digits[i]}@{_PROVIDERS[provider[i]]}" if has_email[i] else None,
                "phone": f"0{phone[i]}" if has_phone[i] else None,
            }
        )
    return rows


# What goes wrong between two rows of one person


def _typo(rng: np.random.Generator, text: str, letters: str = _LETTERS) -> str:
    """One letter inserted, lost, replaced, or changed with its neighbour."""
    at = int(rng.integers(0, len(text)))
    letter = letters[rng.integers(len(letters))]
    kind = rng.integers(4)
    if kind == 0:
        return text[:at] + letter + text[at:]
    if kind == 1 and len(text) > 2:
        return text[:at] + text[at + 1 :]
    if kind == 2 and at + 1 < len(text):
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + letter + text[at + 1 :]


def _typo_in(field: str, letters: str = _LETTERS) -> Callable[[np.random.Generator, Row], None]:
    def fault(rng: np.random.Generator, row: Row) -> None:
        text = row[field]
        if text:
            row[field] = _typo(rng, text, letters)

    return fault


def _lost(*fields: str) -> Callable[[np.random.Generator, Row], None]:
    def fault(rng: np.random.Generator, row: Row) -> None:
        row[fields[rng.integers(len(fields))]] = None

    return fault


def _initial(rng: np.random.Generator, row: Row) -> None:
    if row["given_name"]:
        row["given_name"] = row["given_name"][:1]


def _names_swapped(rng: np.random.Generator, row: Row) -> None:
    row["given_name"], row["family_name"] = row["family_name"], row["given_name"]


def _married(rng: np.random.Generator, row: Row) -> None:
    row["family_name"] = str(_words(rng, 1, (2, 3))[0])


def _day_and_month_swapped(rng: np.random.Generator, row: Row) -> None:
    if row["birth_date"]:
        year, month, day = row["birth_date"].split("-")
        row["birth_date"] = f"{year}-{day}-{month}" if int(day) <= 12 else row["birth_date"]


def _digit_in_birth(rng: np.random.Generator, row: Row) -> None:
    if row["birth_date"]:
        at = (2, 3, 6, 9)[rng.integers(4)]
        row["birth_date"] = row["birth_date"][:at] + str(rng.integers(10)) + row["birth_date"][at + 1 :]


def _moved(rng: np.random.Generator, row: Row) -> None:
    town = int(rng.integers(600))
    row["street_address"] = f"{rng.integers(1, 200)} {_words(rng, 1, (2, 3))[0]} {_WAYS[rng.integers(6)]}"
    row["locality"] = str(_words(rng, 1, (2, 4))[0])
    row["postal_code"], row["region"] = str(1_000 + town * 13), f"r{town % _REGIONS}"


def _other_email(rng: np.random.Generator, row: Row) -> None:
    row["email"] = f"{_words(rng, 1, (2, 3))[0]}{rng.integers(1_000)}@{_PROVIDERS[rng.integers(3)]}"


def _other_phone(rng: np.random.Generator, row: Row) -> None:
    row["phone"] = f"0{rng.integers(10**8, 10**9)}"


_FAULTS: tuple[tuple[float, Callable[[np.random.Generator, Row], None]], ...] = (
    (0.14, _typo_in("given_name")),
    (0.14, _typo_in("family_name")),
    (0.04, _initial),
    (0.02, _names_swapped),
    (0.03, _married),
    (0.04, _day_and_month_swapped),
    (0.07, _digit_in_birth),
    (0.10, _moved),
    (0.12, _typo_in("street_address")),
    (0.06, _typo_in("locality")),
    (0.05, _typo_in("postal_code", "0123456789")),
    (0.08, _other_email),
    (0.05, _other_phone),
    (0.06, _lost("given_name", "birth_date", "street_address", "postal_code")),
)
"""Each fault with its share; the shares sum to 1."""


def _faulty(rng: np.random.Generator, person: Row, mean: float) -> Row:
    """A further row of a person: one fault, and more by chance."""
    row = dict(person)
    shares = [share for share, _ in _FAULTS]
    for at in rng.choice(len(_FAULTS), 1 + rng.poisson(mean), p=shares):
        _FAULTS[at][1](rng, row)
    if rng.random() < 0.3:
        _lost("email", "phone")(rng, row)
    return row
