"""What a run has to look at again: the events that came, changed or fell due since a gold table was last made.

A gold table's commit carries a mark: the version of silver/events it has seen, and its cut. The next run for the same
or a later cut asks the change feed what changed in silver since, adds the rows that only waited for their cut, and
recomputes the partitions these touch, in one commit that carries the new mark. So a killed run leaves the table as it
was, and every table equals a recompute. Without a mark, for an earlier cut, or where the contract has other columns
than the table, everything is recomputed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from common.features.windows import DAY_MS, utc_day
from jobs.spark.before import events_before
from jobs.spark.tables import Lake

SOURCE = "silver/events"
CUT = "cut"


@dataclass(frozen=True)
class Seen:
    """What a gold table was made from: a version of silver/events, up to a cut."""

    version: int
    cut_ms: int

    @property
    def mark(self) -> dict[str, int]:
        """As a commit carries it."""
        return {SOURCE: self.version, CUT: self.cut_ms}


def seen(lake: Lake, table: str) -> Seen | None:
    """What the table was made from; None where its commits do not say, or its columns are not the contract's."""
    marks = lake.marks(table)
    if SOURCE not in marks or CUT not in marks or not lake.as_declared(table):
        return None
    return Seen(marks[SOURCE], marks[CUT])


def wanted(lake: Lake, cut_ms: int) -> Seen:
    """What a run for the cut is made from now; raises IncompleteInput where silver has not been made."""
    version = lake.version(SOURCE)
    if version is None:
        lake.read(SOURCE)
    assert version is not None, "reading a table that is not there raises"
    return Seen(version, cut_ms)


def reaches(before: Seen | None, now: Seen) -> bool:
    """Whether a run can go on from there: a cut that lies before cannot be unmade."""
    return before is not None and before.cut_ms <= now.cut_ms and before.version <= now.version


def counted(lake: Lake, now: Seen) -> DataFrame:
    """The events that count at the cut, of that version of silver."""
    return events_before(lake, now.cut_ms, now.version)


def touched(lake: Lake, before: Seen, now: Seen) -> DataFrame:
    """Each image of each event that counts now and has changed, or was not yet counted, since ``before``.

    Rows may come more than once, and some are gone: they name what to recompute.
    """
    counts = (f.col("event_ms") < now.cut_ms) & (f.col("ingest_ms") < now.cut_ms)
    changed = lake.touched(SOURCE, before.version, now.version).where(counts)
    if now.cut_ms == before.cut_ms:
        return changed
    waited = (f.col("event_ms") >= before.cut_ms) | (f.col("ingest_ms") >= before.cut_ms)
    return changed.unionByName(counted(lake, now).where(waited))


def days_between(start_ms: int, end_ms: int) -> set[date]:
    """The UTC days that overlap [start, end)."""
    return {utc_day(at) for at in range(start_ms // DAY_MS * DAY_MS, end_ms, DAY_MS)} if start_ms < end_ms else set()


def days_of(frame: DataFrame, column: str = "event_date") -> set[date]:
    """The distinct days of a column: a run touches few."""
    return {row[0] for row in frame.select(column).distinct().collect()}


def on_days(frame: DataFrame, days: Iterable[date], column: str = "event_date") -> DataFrame:
    """The rows of those days; a literal predicate, so that other partitions are not read."""
    return frame.where(f.col(column).isin(sorted(days))) if days else frame.where(f.lit(False))


def one_of(column: str, values: Iterable[date | str]) -> str:
    """SQL that holds where the partition column, never null, has one of the values; for none it holds nowhere."""
    texts = ", ".join(f"DATE'{v}'" if isinstance(v, date) else f"'{v}'" for v in sorted(values, key=str))
    return f"{column} IN ({texts})" if texts else f"{column} IS NULL"
