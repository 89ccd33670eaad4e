"""Bands of age: what is told of a customer's date of birth."""

import re
from datetime import date

from common.features.windows import utc_day

BANDS: tuple[tuple[int, str], ...] = (
    (0, "under 18"),
    (18, "18-24"),
    (25, "25-34"),
    (35, "35-44"),
    (45, "45-54"),
    (55, "55-64"),
    (65, "65 and over"),
)
"""The bands, youngest first: the age in whole years that each begins at, and its name."""

OLDEST = 120
"""The highest age in whole years that is believed: above it a date of birth is a mistake or a placeholder."""

DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
"""The form of a date of birth, as a regular expression of the whole text."""


def age_band(birth_date: str | None, at_ms: int) -> str | None:
    """The band of someone born at ``birth_date`` (yyyy-MM-dd), in whole years at the UTC day of ``at_ms``.

    A child of 29 February is a year older on 1 March where the year has no such day. None where the text is missing or
    no date, or the age is below 0 or above :data:`OLDEST`.
    """
    if birth_date is None or not re.fullmatch(DATE, birth_date):
        return None
    try:
        born = date.fromisoformat(birth_date)
    except ValueError:  # a day that no calendar has
        return None
    at = utc_day(at_ms)
    years = at.year - born.year - ((born.month, born.day) > (at.month, at.day))
    if not 0 <= years <= OLDEST:
        return None
    return next(name for start, name in reversed(BANDS) if start <= years)
