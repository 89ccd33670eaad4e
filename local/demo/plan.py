"""What the demo plays: which history, up to where it is batch, and which part is replayed live."""

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from common.errors import MissingRequirement
from common.features.windows import DAY_MS, HOUR_MS

SETTLED_MS = 2 * HOUR_MS
"""The replay ends at least this long ago, so that its sessions are over when present traffic begins."""

ONLINE_RETAIL = frozenset({"InvoiceNo", "StockCode", "InvoiceDate", "CustomerID", "UnitPrice", "Quantity"})
REES46 = frozenset({"event_time", "event_type", "product_id", "price", "user_id", "user_session"})


@dataclass(frozen=True)
class Plan:
    """One run of the demo.

    Events before ``history_cut_ms`` are imported as history; the rest, up to ``cut_ms``, is replayed live and is part
    of the second nightly run. Both cuts are after the shift.
    """

    title: str
    format: str
    """The reader of jobs/import_events."""
    path: Path
    dataset: str
    shift_days: int
    history_cut_ms: int
    cut_ms: int
    catalogue: Path | None = None
    """The catalogue's file; without one the catalogue is derived from events."""


def simulated_cuts(now_ms: int) -> tuple[int, int]:
    """The two cuts of a simulated month: the last whole UTC day that ended at least two hours ago is live."""
    cut = (now_ms - SETTLED_MS) // DAY_MS * DAY_MS
    return cut - DAY_MS, cut


def plan_file(path: Path, now_ms: int) -> Plan:
    """The plan for a real file: its last day is live, or its last hour where it holds less than two days.

    Raises MissingRequirement where the file is not there or its format is not known.
    """
    if not path.is_file():
        raise MissingRequirement(f"DATA={path} is not a file; give the path of a data file, or none for the simulator")
    kind = _format(path)
    first, last = _time_range(path, kind)
    span = HOUR_MS if last - first < 2 * DAY_MS else DAY_MS
    history_cut = last // span * span
    shift_days = (now_ms - SETTLED_MS - (history_cut + span)) // DAY_MS
    shift = shift_days * DAY_MS
    return Plan(
        title=f"{path.name}, shifted by {shift_days:,} whole days",
        format=kind,
        path=path,
        dataset=kind,
        shift_days=shift_days,
        history_cut_ms=history_cut + shift,
        cut_ms=history_cut + span + shift,
    )


def _format(path: Path) -> str:
    if path.suffix == ".parquet":
        columns, kind, needed = set(pq.read_schema(path).names), "online_retail", ONLINE_RETAIL
    elif path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8", errors="replace") as lines:
            columns, kind, needed = set(next(csv.reader(lines), [])), "rees46", REES46
    else:
        raise MissingRequirement(f"DATA={path.name} is neither .parquet nor .csv; {_OTHER}")
    if missing := sorted(needed - columns):
        raise MissingRequirement(f"DATA={path.name} has no column {', '.join(missing)} of {kind}; {_OTHER}")
    return kind


_OTHER = "import your own data with jobs/import_events.py --format mapping (docs/operations.md)"


def _time_range(path: Path, kind: str) -> tuple[int, int]:
    """First and last event of the file, in epoch milliseconds, before any shift."""
    if kind == "online_retail":
        times = pq.read_table(path, columns=["InvoiceDate"]).column(0)
    else:
        # A last line that is cut off has too few columns; the gate counts it, here it is passed over.
        times = pyarrow.csv.read_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(invalid_row_handler=lambda _: "skip"),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=["event_time"], column_types={"event_time": pyarrow.string()}
            ),
        ).column(0)
    bounds = pc.min_max(times).as_py()
    return _epoch_ms(bounds["min"]), _epoch_ms(bounds["max"])


def _epoch_ms(value: datetime | str) -> int:
    moment = datetime.fromisoformat(value.removesuffix(" UTC")) if isinstance(value, str) else value
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
