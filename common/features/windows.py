"""Spans of time on which both layers agree: tiles, the horizon, and where a window's tiles begin."""

from datetime import UTC, date, datetime

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

HORIZON_MS = 48 * HOUR_MS
"""How far back the speed layer deduplicates and takes events, and batch keeps hour tiles before the cut."""

EVER = -1
"""``tile_start`` of the tile that holds everything before the cut's horizon."""

_UNITS = {"second": SECOND_MS, "minute": MINUTE_MS, "hour": HOUR_MS, "day": DAY_MS}


def duration_ms(text: str) -> int:
    """Milliseconds of a span such as ``"1 hour"``, ``"30 days"`` or ``"5 minutes"``.

    Raises ValueError where the text is not a whole number and a unit.
    """
    number, _, unit = text.strip().partition(" ")
    unit = unit.strip().removesuffix("s")
    if not number.isdigit() or unit not in _UNITS:
        raise ValueError(f"{text!r} is not a span such as '1 hour' or '30 days'")
    return int(number) * _UNITS[unit]


def tile_start(event_ms: int, tile_ms: int) -> int:
    """The start of the aligned tile that holds the instant."""
    return event_ms // tile_ms * tile_ms


def utc_day(at_ms: int) -> date:
    """The UTC day that holds the instant."""
    return datetime.fromtimestamp(at_ms // SECOND_MS, UTC).date()


def horizon_start(cut_ms: int) -> int:
    """The first instant that hour tiles of a run cover; everything before is in day tiles and ``ever``."""
    return cut_ms - HORIZON_MS


def check_cut(cut_ms: int) -> int:
    """Return the cut, or raise ValueError where it does not lie on an hour's border."""
    if cut_ms % HOUR_MS:
        raise ValueError(f"cut {cut_ms} is not on an hour's border (UTC, epoch milliseconds, a multiple of {HOUR_MS})")
    return cut_ms
