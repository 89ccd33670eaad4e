"""The only door to the lake: tables are read, appended, replaced and merged here, each against its contract.

Column statistics go into Delta's log, where an erasure can't follow them: they are kept for numbers and
dates only, never for ids or text. A commit carries the run and the job that made it, with the versions they had
read by then, and what it has seen of its source (its mark), so that the next run reads only what changed; where no mark
is found a run reads everything, which costs more and changes nothing.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from delta import exceptions as conflict
from delta.tables import DeltaTable, DeltaTableBuilder
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.types import StructType

from common.contracts.core import Contract
from common.contracts.registry import ALL
from common.errors import ConcurrentRun, IncompleteInput
from common.features.groups import GROUPS
from jobs.spark.schema import conform, lacking, same_type, struct_type

STATISTICS_KINDS = ("int", "long", "double", "decimal", "date", "epoch_ms")
RUN, JOB, READS, MARK = "dovetail.run", "dovetail.job", "dovetail.reads", "dovetail.mark"
"""The keys of a commit's userMetadata, which is JSON."""

_CREATION_S = 10.0
"""How long another writer may take from a new log's folder to its first commit."""
_HALF_MADE = ("DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION", "DELTA_TABLE_NOT_FOUND")
"""What Delta says where a log's folder has no commit: more than one of its checks meets it."""

CONFLICTS = (
    conflict.ConcurrentAppendException,
    conflict.ConcurrentDeleteDeleteException,
    conflict.ConcurrentDeleteReadException,
    conflict.ConcurrentTransactionException,
    conflict.ConcurrentWriteException,
    conflict.DeltaConcurrentModificationException,
    conflict.MetadataChangedException,
    conflict.ProtocolChangedException,
)
"""What Delta raises where two writers meet; none of them is the parent of the others."""


@dataclass(frozen=True)
class Table:
    """One Delta table of the lake: its contract, the job that makes it, and how it may be read."""

    name: str
    contract: Contract
    made_by: str
    change_feed: bool = False
    """Whether readers may ask for the rows changed since a version."""


TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table("bronze/events", ALL["bronze_events"], "import_events", change_feed=True),
        Table("bronze/rejections", ALL["rejections"], "import_events"),
        Table("silver/cleansed", ALL["bronze_events"], "cleanse", change_feed=True),
        Table("quarantine/events", ALL["quarantined_events"], "cleanse"),
        Table("quarantine/reviews", ALL["quarantine_reviews"], "review_quarantine"),
        Table("silver/events", ALL["silver_events"], "dedup_events", change_feed=True),
        Table("silver/items", ALL["items"], "catalogue"),
        Table("silver/customers", ALL["customers"], "import_customers"),
        Table("silver/verdicts", ALL["verdicts"], "resolve_customers"),
        Table("gold/persons", ALL["persons"], "resolve_customers"),
        Table("gold/person_links", ALL["person_links"], "resolve_customers"),
        Table("gold/review_queue", ALL["review_queue"], "resolve_customers"),
        Table("gold/sessions", ALL["batch_sessions"], "sessionize"),
        Table("gold/orders", ALL["orders"], "rfm"),
        Table("gold/rfm", ALL["rfm"], "rfm"),
        Table("gold/visitor_features", ALL["visitor_features"], "visitor_features"),
        Table("gold/segments", ALL["segments"], "segment"),
        Table("gold/centroids", ALL["segment_view"], "segment"),
        Table("gold/segment_history", ALL["segment_history"], "segment"),
        Table("gold/segment_moves", ALL["segment_moves"], "segment"),
        Table("gold/memberships", ALL["memberships"], "memberships"),
        Table("gold/segment_lift", ALL["segment_lift"], "personas"),
        Table("gold/personas", ALL["personas"], "personas"),
        Table("gold/prepared", ALL["prepared"], "prepare"),
        Table("gold/fills", ALL["fills"], "impute"),
        Table("gold/recommendations", ALL["recommendations"], "recommend"),
        Table("gold/model_metrics", ALL["model_metrics"], "train_als"),
        Table("gold/similar_items", ALL["similar_items"], "similar_items"),
        Table("gold/tuning_trials", ALL["tuning_trials"], "tune_als"),
        Table("gold/items", ALL["item_view"], "recommend"),
        Table("gold/parity", ALL["parity"], "parity"),
        Table("gold/runs", ALL["runs"], "every job"),
        *(Table(f"gold/{g.table}", ALL[f"batch_{g.table}"], "features") for g in GROUPS.values()),
    )
}
"""Every table of the lake by name, which is also its path under the lake's root."""


@dataclass(frozen=True)
class Written:
    """Rows that one commit added and replaced."""

    inserted: int = 0
    updated: int = 0


@dataclass(frozen=True)
class Commit:
    """One version of a table, and the run of a job that made it."""

    table: str
    version: int
    run_id: str
    job: str
    reads: dict[str, int]
    """The versions that the run's job had read by then."""
    at_ms: int


@dataclass
class Ledger:
    """A run of a job, and the versions it has read and written, by table."""

    run_id: str
    job: str
    reads: dict[str, int] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)


_ledger: ContextVar[Ledger | None] = ContextVar("ledger", default=None)


@contextmanager
def recording(run_id: str, job: str) -> Iterator[Ledger]:
    """Collect the versions that any :class:`Lake` reads and writes inside the block; its commits name run and job.

    The block is known to its own thread: another takes it over by ``contextvars.copy_context``.
    """
    ledger = Ledger(run_id, job)
    token = _ledger.set(ledger)
    try:
        yield ledger
    finally:
        _ledger.reset(token)


def under_way() -> Ledger | None:
    """The run under way; None outside any."""
    return _ledger.get()


_session_settings = threading.Lock()
"""Held by the one commit that is told something by the session's settings, which every thread's commits would see."""


def _metadata(mark: Mapping[str, int] | None) -> str:
    """A commit's userMetadata: the run and the job under way, if any, what they have read, and the mark, if any."""
    ledger = _ledger.get()
    said: dict[str, Any] = {}
    if ledger is not None:
        said = {RUN: ledger.run_id, JOB: ledger.job, READS: dict(ledger.reads)}
    return json.dumps(said if mark is None else {**said, MARK: dict(mark)})


def _properties(table: Table) -> dict[str, str]:
    """The table's properties in Delta."""
    contract = table.contract
    statistics = [x.name for x in contract.fields if x.kind.name in STATISTICS_KINDS]
    return {
        "delta.dataSkippingStatsColumns": ",".join(name for name in statistics if name not in contract.partition_by),
        "dovetail.contract": f"{contract.name} v{contract.version}",
        **({"delta.enableChangeDataFeed": "true"} if table.change_feed else {}),
    }


class Lake:
    """The lake under one root folder, through one session."""

    def __init__(self, spark: SparkSession, root: str) -> None:
        self.spark = spark
        self.root = root.rstrip("/")

    def path(self, table: str) -> str:
        """Where the table is; a name that is not declared is a KeyError."""
        return f"{self.root}/{TABLES[table].name}"

    # Reading

    def exists(self, table: str) -> bool:
        """Whether the table has been made."""
        return self.version(table) is not None

    def version(self, table: str) -> int | None:
        """The newest version of the table, from the names in its log; None where it has not been made."""
        newest = None
        for name in self._log_files(table):
            stem, _, ending = name.partition(".")
            if ending == "json" and stem.isdigit():
                newest = int(stem) if newest is None else max(newest, int(stem))
        return newest

    def read(self, table: str, version: int | None = None) -> DataFrame:
        """The table at its newest or a given version, its contract checked and selected.

        A column that the contract got since, and that may be null, is null. Raises IncompleteInput where the table has
        not been made yet, ContractError where it differs from its contract.
        """
        newest = self.version(table) if version is None else version
        if newest is None:
            raise IncompleteInput(f"the lake has no {table}: run {TABLES[table].made_by} first ({self.path(table)})")
        self._note("reads", table, newest)
        frame = self.spark.read.format("delta").option("versionAsOf", newest).load(self.path(table))
        return conform(frame, TABLES[table].contract, table, stored=True)

    def read_or_empty(self, table: str) -> DataFrame:
        """As :meth:`read`; no rows where the table has not been made."""
        if self.exists(table):
            return self.read(table)
        return self.spark.createDataFrame([], struct_type(TABLES[table].contract))

    def as_declared(self, table: str) -> bool:
        """Whether the table as stored has the contract's columns, each of its type, and no others."""
        declared = struct_type(TABLES[table].contract)
        stored = {x.name: x.dataType for x in self._stored(table).fields}
        return stored.keys() == set(declared.names) and all(same_type(stored[x.name], x.dataType) for x in declared)

    def changes(self, table: str, since: int | None) -> tuple[DataFrame, int]:
        """Rows inserted or updated after version ``since`` (all rows where None), and the version they go up to."""
        newest = self.version(table)
        if newest is None or since is None or not TABLES[table].change_feed:
            return self.read(table, newest), newest or 0
        self._note("reads", table, newest)
        if since >= newest:
            return self.spark.createDataFrame([], struct_type(TABLES[table].contract)), newest
        feed = self._feed(table, since, newest).where(f.col("_change_type").isin("insert", "update_postimage"))
        return conform(feed, TABLES[table].contract, table, stored=True), newest

    def touched(self, table: str, since: int, until: int) -> DataFrame:
        """Every image, old and new, of the rows that changed after version ``since``, up to ``until``."""
        if since >= until:
            return self.spark.createDataFrame([], struct_type(TABLES[table].contract))
        return conform(self._feed(table, since, until), TABLES[table].contract, table, stored=True)

    def _feed(self, table: str, since: int, newest: int) -> DataFrame:
        return (
            self.spark.read.format("delta")
            .option("readChangeFeed", "true")
            .option("startingVersion", since + 1)
            .option("endingVersion", newest)
            .load(self.path(table))
        )

    def partitions_added(self, table: str, since: int | None, until: int) -> set[str] | None:
        """The values of the table's first partition column in files added after version ``since``, up to ``until``.

        By the log alone, without reading a row. None where it is not known: of all versions, or of commits whose entry
        is gone.
        """
        if since is None:
            return None
        column, found = TABLES[table].contract.partition_by[0], set()
        for version in range(since + 1, until + 1):
            entries = self._entries(table, version)
            if not entries:
                return None
            found |= {entry["add"]["partitionValues"][column] for entry in entries if "add" in entry}
        return found

    def mark(self, table: str, source: str) -> int | None:
        """The version of ``source`` that the table has seen, from its newest marked commit; None where unknown."""
        return self.marks(table).get(source)

    def marks(self, table: str, version: int | None = None) -> dict[str, int]:
        """All that the newest marked commit, of the table or up to a version, says it has seen; empty where none is."""
        newest = self.version(table) if version is None else version
        if newest is None:
            return {}
        for version in range(newest, max(-1, newest - 50), -1):
            text = self._commit(table, version).get("userMetadata")
            if text and MARK in text:
                seen: dict[str, int] = json.loads(text)[MARK]
                return seen
        return {}

    def commits(self, table: str) -> Iterator[Commit]:
        """The table's versions from the newest back, up to one that names no run or whose entry is gone."""
        newest = self.version(table)
        for version in range(-1 if newest is None else newest, -1, -1):
            info = self._commit(table, version)
            text = info.get("userMetadata")
            if not text or RUN not in text:
                return
            said = json.loads(text)
            yield Commit(table, version, said[RUN], said[JOB], said[READS], info["timestamp"])

    # Writing

    def append(self, table: str, frame: DataFrame, mark: Mapping[str, int] | None = None) -> Written:
        """Add the rows."""
        return self._append(table, self._prepare(table, frame), mark)

    def replace(
        self, table: str, frame: DataFrame, where: str | None = None, mark: Mapping[str, int] | None = None
    ) -> Written:
        """Make the rows the whole table, or the whole of the partitions that meet ``where``, in one commit.

        A whole table whose stored columns are not the contract's any more gets these by the same commit.
        """
        out = self._prepare(table, frame, widen=where is not None)
        if where is None and not self.as_declared(table):
            return self._redefine(table, out, mark)
        writer = out.write.format("delta").mode("overwrite").option("userMetadata", _metadata(mark))
        if where is not None:
            writer = writer.option("replaceWhere", where)
        return self._committed(table, lambda: writer.save(self.path(table)))

    def restore(self, table: str, version: int) -> None:
        """Make the table what it was at a version: one more commit, which says it has seen what that one had.

        Raises IncompleteInput where the version's files are gone.
        """
        mark = self.marks(table, version)
        try:
            with self._carrying(mark):
                self._committed(
                    table, lambda: DeltaTable.forPath(self.spark, self.path(table)).restoreToVersion(version)
                )
        except Py4JJavaError as error:
            if "RESTORE" in str(error.java_exception):
                raise IncompleteInput(f"{table} can't go back to version {version}: its files are gone") from error
            raise

    def insert_new(
        self, table: str, frame: DataFrame, *, within: str | None = None, mark: Mapping[str, int] | None = None
    ) -> Written:
        """Add the rows whose key the table does not have yet.

        ``within`` is a literal predicate on the target (``t``) that holds for every row of the frame: it keeps the
        merge off other partitions. The frame must hold each key once.
        """
        return self._merge(table, frame, within=within, mark=mark, replace_if=None)

    def upsert(
        self,
        table: str,
        frame: DataFrame,
        *,
        replace_if: str = "true",
        within: str | None = None,
        mark: Mapping[str, int] | None = None,
    ) -> Written:
        """Add rows with new keys and replace rows (``t``) of known ones by those (``s``) that meet ``replace_if``."""
        return self._merge(table, frame, within=within, mark=mark, replace_if=replace_if)

    def remove(self, table: str, keys: DataFrame) -> None:
        """Delete the rows whose key is among ``keys``: by a join, since a literal would stay in the log."""
        condition = " AND ".join(f"t.`{k}` <=> s.`{k}`" for k in TABLES[table].contract.key)
        gone = keys.select(*TABLES[table].contract.key)
        merge = DeltaTable.forPath(self.spark, self.path(table)).alias("t").merge(gone.alias("s"), condition)
        with self._carrying(None):
            self._committed(table, merge.whenMatchedDelete().execute)

    def _append(self, table: str, out: DataFrame, mark: Mapping[str, int] | None) -> Written:
        writer = out.write.format("delta").mode("append").option("userMetadata", _metadata(mark))
        with nullcontext() if mark is None else self._carrying(mark):
            return self._committed(table, lambda: writer.save(self.path(table)))

    def _merge(
        self,
        table: str,
        frame: DataFrame,
        *,
        within: str | None,
        mark: Mapping[str, int] | None,
        replace_if: str | None,
    ) -> Written:
        out = self._prepare(table, frame)
        if self.version(table) == 0:
            # Just made: nothing to match. Files come out one a partition, as from a merge.
            columns = TABLES[table].contract.partition_by
            out = out.repartition(*columns) if columns else out
            return self._append(table, out, mark)
        condition = " AND ".join(f"t.`{k}` <=> s.`{k}`" for k in TABLES[table].contract.key)
        if within is not None:
            condition = f"{within} AND {condition}"
        merge = DeltaTable.forPath(self.spark, self.path(table)).alias("t").merge(out.alias("s"), condition)
        if replace_if is not None:
            merge = merge.whenMatchedUpdateAll(condition=replace_if)
        merge = merge.whenNotMatchedInsertAll()
        with self._carrying(mark):
            return self._committed(table, merge.execute)

    def _prepare(self, table: str, frame: DataFrame, widen: bool = True) -> DataFrame:
        out = conform(frame, TABLES[table].contract, table)
        if not self.exists(table):
            self._create(table)
        elif widen:
            self._widen(table)
        return out

    def _create(self, table: str) -> None:
        contract = TABLES[table].contract
        builder = DeltaTable.createIfNotExists(self.spark).location(self.path(table)).addColumns(struct_type(contract))
        for name, value in _properties(TABLES[table]).items():
            builder = builder.property(name, value)
        if contract.partition_by:
            builder = builder.partitionedBy(*contract.partition_by)
        try:
            self._build(builder)
        except CONFLICTS:
            # Another writer made it at the same moment, and it is there: all that was wanted.
            if not self.exists(table):
                raise
        except AnalysisException as error:
            # The log's folder is there: of another writer, about to commit, or of one that was killed before it did.
            if error.getCondition() not in _HALF_MADE:
                raise
            if not self._comes(table):
                self._remove_empty_log(table)
                self._build(builder)

    def _build(self, builder: DeltaTableBuilder) -> None:
        with self._carrying(None):
            builder.execute()

    def _comes(self, table: str) -> bool:
        """Whether the table comes to be within the time that a making under way may take."""
        until = time.monotonic() + _CREATION_S
        while not self.exists(table):
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        return True

    def _remove_empty_log(self, table: str) -> None:
        """Remove a log without a commit, which stands for nothing, and which Delta takes for another's files."""
        path, system = self._located(self._log(table))
        if not self.exists(table):
            system.delete(path, True)

    def _stored(self, table: str) -> StructType:
        # Of a named version: what Delta remembers under a path may be of before another writer made the table.
        frame = self.spark.read.format("delta").option("versionAsOf", self.version(table))
        return frame.load(self.path(table)).schema

    def _widen(self, table: str) -> None:
        """Give the table the columns that its contract got since and that may be null, by a commit of their own.

        Its rows have null there. What is computed must be null for no other reason: its job finds other columns than
        the contract's and replaces the whole table (jobs.spark.increment.seen).
        """
        columns = lacking(self._stored(table), TABLES[table].contract)
        if not columns:
            return
        told = ", ".join(f"`{x.name}` {x.dataType.simpleString()}" for x in columns)
        properties = ", ".join(f"'{name}' = '{value}'" for name, value in _properties(TABLES[table]).items())
        with self._carrying(None):
            self._committed(table, lambda: self._alter(table, f"ADD COLUMNS ({told})"))
            self._committed(table, lambda: self._alter(table, f"SET TBLPROPERTIES ({properties})"))

    def _alter(self, table: str, what: str) -> None:
        self.spark.sql(f"ALTER TABLE delta.`{self.path(table)}` {what}")

    def _redefine(self, table: str, out: DataFrame, mark: Mapping[str, int] | None) -> Written:
        """Replace rows, columns and properties by one commit. Delta then takes every column for one that may be null:
        what must not be is the gate's to see."""
        writer = out.writeTo(f"delta.`{self.path(table)}`").using("delta")
        for name, value in _properties(TABLES[table]).items():
            writer = writer.tableProperty(name, value)
        columns = TABLES[table].contract.partition_by
        if columns:
            writer = writer.partitionedBy(*map(f.col, columns))
        with self._carrying(mark):
            return self._committed(table, writer.replace)

    @contextmanager
    def _carrying(self, mark: Mapping[str, int] | None) -> Iterator[None]:
        """Tell the session what a commit carries, where Delta has no other way: one such commit at a time.

        A DataFrame's writer has an option of its own, which outweighs the session's: it needs no turn.
        """
        settings = {"spark.databricks.delta.commitInfo.userMetadata": _metadata(mark)}
        if mark is not None:
            # A commit that adds no row is left out by default, and the mark with it.
            settings["spark.databricks.delta.skipRecordingEmptyCommits"] = "false"
        with _session_settings:
            for key, value in settings.items():
                self.spark.conf.set(key, value)
            try:
                yield
            finally:
                for key in settings:
                    self.spark.conf.unset(key)

    def _committed(self, table: str, write: Callable[[], Any]) -> Written:
        """Run the write; note its version and return what it did, by the commit's own metrics."""
        before = self.version(table)
        try:
            write()
        except (*CONFLICTS, Py4JJavaError) as error:
            if isinstance(error, Py4JJavaError) and not self._holds_conflict(error.java_exception):
                raise
            raise ConcurrentRun(f"another run wrote {table} at the same moment: start this one again") from error
        after = self.version(table)
        if after is None or after == before:
            return Written()
        self._note("writes", table, after)
        metrics = self._commit(table, after).get("operationMetrics", {})
        if "numTargetRowsInserted" in metrics:
            return Written(int(metrics["numTargetRowsInserted"]), int(metrics.get("numTargetRowsUpdated", 0)))
        return Written(int(metrics.get("numOutputRows", 0)))

    def _holds_conflict(self, thrown: Any) -> bool:
        """Whether a conflict is among the causes: delta.exceptions knows it only where nothing is around it."""
        jvm: Any = self.spark.sparkContext._jvm
        kind = jvm.java.lang.Class.forName("java.util.ConcurrentModificationException")
        return bool(jvm.org.apache.commons.lang3.exception.ExceptionUtils.indexOfType(thrown, kind) >= 0)

    # Delta's log, by its published protocol

    def _log_files(self, table: str) -> Sequence[str]:
        path, system = self._located(self._log(table))
        return [s.getPath().getName() for s in system.listStatus(path)] if system.exists(path) else []

    def _commit(self, table: str, version: int) -> dict[str, Any]:
        entries = self._entries(table, version)
        return next((entry["commitInfo"] for entry in entries if "commitInfo" in entry), {})

    def _entries(self, table: str, version: int) -> list[dict[str, Any]]:
        """A commit's entries; none where its file is gone."""
        path, system = self._located(f"{self._log(table)}/{version:020d}.json")
        if not system.exists(path):
            return []
        stream = system.open(path)
        try:
            jvm: Any = self.spark.sparkContext._jvm
            text = jvm.org.apache.commons.io.IOUtils.toString(stream, jvm.java.nio.charset.StandardCharsets.UTF_8)
        finally:
            stream.close()
        return [json.loads(line) for line in text.splitlines()]

    def _log(self, table: str) -> str:
        return f"{self.path(table)}/_delta_log"

    def _located(self, path: str) -> tuple[Any, Any]:
        """The path as Hadoop knows it, and the file system it is on."""
        context: Any = self.spark.sparkContext
        located = context._jvm.org.apache.hadoop.fs.Path(path)
        return located, located.getFileSystem(context._jsc.hadoopConfiguration())

    def _note(self, kind: str, table: str, version: int) -> None:
        ledger = _ledger.get()
        if ledger is not None:
            getattr(ledger, kind)[table] = version


def wall_clock_ms() -> int:
    """Now, in epoch milliseconds: for rows about runs only, never for data."""
    return time.time_ns() // 1_000_000
