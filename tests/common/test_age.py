"""Bands of age at their borders, by whole years of the UTC calendar."""

from datetime import UTC, datetime

import pytest

from common.age import BANDS, age_band
from common.features.windows import DAY_MS


def at(day: str) -> int:
    """The first instant of a UTC day."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000


@pytest.mark.parametrize(
    ("birth_date", "day", "band"),
    [
        ("2001-03-02", "2026-03-01", "18-24"),
        ("2001-03-01", "2026-03-01", "25-34"),
        ("1991-03-02", "2026-03-01", "25-34"),
        ("1991-03-01", "2026-03-01", "35-44"),
        ("2008-03-02", "2026-03-01", "under 18"),
        ("2008-03-01", "2026-03-01", "18-24"),
        ("1961-03-02", "2026-03-01", "55-64"),
        ("1961-03-01", "2026-03-01", "65 and over"),
        ("2026-03-01", "2026-03-01", "under 18"),
        # a child of a leap day
        ("2000-02-29", "2025-02-28", "18-24"),
        ("2000-02-29", "2025-03-01", "25-34"),
        ("1996-02-29", "2031-02-28", "25-34"),
        ("1992-02-29", "2020-02-28", "25-34"),
        ("2002-02-29", "2026-03-01", None),
        # no age of anyone
        ("2026-03-02", "2026-03-01", None),
        ("2027-01-01", "2026-03-01", None),
        ("1905-03-02", "2026-03-01", "65 and over"),
        ("1905-03-01", "2026-03-01", None),
        ("0000-01-01", "2026-03-01", None),
    ],
)
def test_whole_years_at_the_day(birth_date: str, day: str, band: str | None) -> None:
    assert age_band(birth_date, at(day)) == band
    assert age_band(birth_date, at(day) + DAY_MS - 1) == band, "to the end of the UTC day"


@pytest.mark.parametrize(
    "text", [None, "", "1990", "1990-1-1", "19900101", "1990-13-01", "1990-02-30", "01/02/1990", " 1990-01-01", "x"]
)
def test_what_is_no_date_has_no_band(text: str | None) -> None:
    assert age_band(text, at("2026-03-01")) is None


def test_every_age_lies_in_one_band() -> None:
    assert [age_band(f"{2026 - start}-01-01", at("2026-03-01")) for start, _ in BANDS] == [name for _, name in BANDS]
