"""History files as raw events: each reader turns its rows into the JSON that the admission gate takes.

A reader returns one row a record, nothing dropped: ``offset`` (the row's number in the data set, from 0, header
lines counted), ``raw`` (the event as JSON; where the row can't be read, its own text, which the gate will refuse
and keep), ``event_ms`` (null where unknown), ``record_ms`` (what stands in for a Kafka timestamp), ``fingerprint``
(equal for rows that are equal in all columns) and ``row`` (its own text, whatever became of it).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

import yaml
from py4j.protocol import Py4JJavaError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, Row, SparkSession, Window
from pyspark.sql import functions as f
from pyspark.sql import types as t

from common.contracts.core import Kind
from common.contracts.events import EVENTS
from common.errors import ConfigError, ContractError, MissingRequirement
from common.features.windows import DAY_MS
from jobs.spark.schema import data_type

WIRE_FIELDS = tuple(name for name in EVENTS.names if name not in ("visitor_id", "ingest_ms"))
"""What a producer may send."""

NUMBERS = frozenset({"int", "long", "double", "decimal"})
"""Kinds of the contract that are numbers."""

INSTANTS = frozenset({"event_ms", "updated_ms"})
DATES = frozenset({"birth_date"})
"""Mapped fields that are times, and days without one."""

_SOURCE = "_source_row"
_CORRUPT = "_corrupt"

NO_COUNTRIES = ("European Community", "Unspecified")
"""What Online Retail says in place of a country; it stays in the properties."""


class FieldMapping(BaseModel):
    """Where one field of the event comes from: a column, a constant, or a Spark SQL expression over the columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str | None = None
    value: str | None = None
    sql: str | None = None
    values: dict[str, str] = Field(default_factory=dict)
    """Replacements of the source's values; others pass unchanged."""
    time: str | tuple[str, ...] | None = None
    """For an instant: ``epoch_s``, ``epoch_ms``, ``epoch_us`` or a pattern such as ``yyyy-MM-dd HH:mm:ss``, read in
    ``zone``; what lies below a millisecond is cut off. Of several, the first that reads the whole text counts.

    Without it a column of Parquet's own times is taken as that, and any other as ``epoch_ms``. For a birth date
    patterns such as ``dd.MM.yyyy``: a text that none reads stays as it is.
    """
    zone: str = "UTC"
    """The zone of times that do not say theirs, such as Europe/Berlin."""
    decimal: Literal[".", ","] | None = None
    """The decimal mark of numbers whose digits may be grouped by threes, with the other mark, blanks or apostrophes: a
    row with other groups is refused. Without it a number has a point and no groups."""
    factor: Annotated[Decimal, Field(gt=0, max_digits=13, decimal_places=6)] | None = None
    """What a number of up to nine decimals is multiplied by, for a price in cents 0.01, for a dwell time in minutes 60;
    a price is then rounded to its decimals, and a row whose count is no longer whole is refused."""


CSV_OPTIONS = (
    "sep",
    "quote",
    "escape",
    "charToEscapeQuoteEscaping",
    "unescapedQuoteHandling",
    "nullValue",
    "emptyValue",
    "ignoreLeadingWhiteSpace",
    "ignoreTrailingWhiteSpace",
    "maxColumns",
    "maxCharsPerColumn",
)
"""The options of Spark's CSV reader that hold line by line."""


class MappingFile(BaseModel):
    """A mapping file: the source's format and, per field of the event, where it comes from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["csv", "json", "parquet"]
    options: dict[str, str] = Field(default_factory=dict)
    """For csv: some of :data:`CSV_OPTIONS`."""
    fields: dict[str, str | FieldMapping]
    properties: list[str] = Field(default_factory=list)
    """Columns kept as properties."""

    @field_validator("options")
    @classmethod
    def _are_known(cls, options: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        known = CSV_OPTIONS if info.data.get("format") == "csv" else ()
        unknown = [name for name in options if name not in known]
        if unknown:
            raise ValueError(f"unknown are {', '.join(unknown)}; known are {', '.join(known) or 'none but of csv'}")
        return options


@dataclass(frozen=True)
class Source:
    """What a reader is told."""

    path: str
    shift_days: int = 0
    mapping: str = ""


def read(spark: SparkSession, kind: str, source: Source) -> DataFrame:
    """The records of a data set as raw events; ``kind`` is a key of :data:`READERS`.

    Raises MissingRequirement where there is no such file, ContractError where a column is missing, ConfigError
    where the mapping is at fault.
    """
    require_file(spark, source)
    return READERS[kind](spark, source)


def require_file(spark: SparkSession, source: Source) -> None:
    """Raise MissingRequirement where the source's path leads nowhere."""
    path = spark.sparkContext._jvm.org.apache.hadoop.fs.Path(source.path)  # type: ignore[union-attr]
    if not path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()).exists(path):
        raise MissingRequirement(f"there is no file {source.path}: correct --path")


# Rows and their numbers


def _numbered(frame: DataFrame) -> tuple[DataFrame, dict[int, str]]:
    """Add ``offset``, the row's number over all files in the order of their paths, and ``_head``, its file's first.

    Beside it the files by their first row's number. A split of a file is read whole by one task, so its rows are
    contiguous; the splits' sizes give each its start.
    """
    rows = frame.withColumns(
        {
            "_file": f.col("_metadata.file_path"),
            "_block": f.col("_metadata.file_block_start"),
            "_id": f.monotonically_increasing_id(),
        }
    )
    sizes = rows.groupBy("_file", "_block").agg(f.min("_id").alias("_first"), f.count("*").alias("_rows")).collect()
    starts, heads, total = [], dict[str, int](), 0
    for size in sorted(sizes, key=lambda r: (r["_file"], r["_block"])):
        head = heads.setdefault(size["_file"], total)
        starts.append((size["_file"], size["_block"], total - size["_first"], head))
        total += size["_rows"]
    table = frame.sparkSession.createDataFrame(starts, "_file string, _block long, _shift long, _head long")
    numbered = rows.join(f.broadcast(table), ["_file", "_block"], how="inner")
    numbered = numbered.withColumn("offset", f.col("_id") + f.col("_shift")).drop("_file", "_block", "_id", "_shift")
    return numbered, {head: file for file, head in heads.items()}


def _lines(spark: SparkSession, path: str) -> tuple[DataFrame, dict[int, str]]:
    """Lines of text files: ``offset``, ``_head``, ``value``, ``_modified``; and the files, see :func:`_numbered`.

    A line that is no UTF-8 is read as ISO 8859-1, in which every byte is a letter: files of two programs mix both.
    """
    latin = f.decode(f.col("value").cast("binary"), "ISO-8859-1")
    value = f.when(f.is_valid_utf8("value"), f.col("value")).otherwise(latin).alias("value")
    text = spark.read.text(path).select(value, "_metadata", _modified())
    lines, files = _numbered(text)
    return lines.drop("_metadata"), files


def _modified() -> Column:
    return f.unix_millis(f.col("_metadata.file_modification_time")).alias("_modified")


def _csv(spark: SparkSession, path: str, options: Mapping[str, str], needed: Sequence[str]) -> list[DataFrame]:
    """Rows of CSV files: their header's columns as text, ``_source_row`` and whether it is ``_corrupt``.

    Each file has a header of its own: files of one header are one frame. A line with too few or too many cells is kept
    and marked. Quoted line breaks are not supported. Raises ContractError where a file lacks a needed column.
    """
    lines, files = _lines(spark, path)
    firsts = lines.where(f.col("offset").isin(list(files))).select("_head", "value").take(len(files))
    if not firsts:
        raise ContractError(f"{path} is empty: a CSV file starts with a header")
    alike: dict[tuple[str, ...], list[Row]] = {}
    for first in sorted(firsts):
        alike.setdefault(_header(spark, first["value"], options), []).append(first)
    frames = []
    for names, heads in alike.items():
        rows = lines.where(f.col("_head").isin([head["_head"] for head in heads]))
        # A header in mid-file is where two files were joined: it is no row either.
        rows = rows.where(~f.col("value").isin(sorted({head["value"] for head in heads})))
        frame = _cells(rows, names, options)
        _require(frame, path if len(files) == 1 else _local(files[heads[0]["_head"]]), needed)
        frames.append(frame)
    return frames


def _local(uri: str) -> str:
    """The path of a file on this machine, the URI of any other."""
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme == "file" else uri


def _header(spark: SparkSession, line: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """The names in a header, by the parser that reads the rows; of equal ones each gets its place's number."""
    text = spark.sparkContext.parallelize([line.lstrip("\ufeff")], 1)
    told = {**options, "ignoreLeadingWhiteSpace": "true", "ignoreTrailingWhiteSpace": "true"}
    return tuple(spark.read.options(**told).csv(text, header=True).columns)  # type: ignore[arg-type]


def _cells(lines: DataFrame, names: Sequence[str], options: Mapping[str, str]) -> DataFrame:
    """The rows of :func:`_csv` of lines that have these columns."""
    schema = ", ".join(f"`{name}` string" for name in (*names, _CORRUPT))
    told = {**options, "mode": "PERMISSIVE", "columnNameOfCorruptRecord": _CORRUPT}
    rows = lines.withColumn("_cells", f.from_csv("value", schema, told))
    return rows.select(
        "offset",
        f.col("value").alias(_SOURCE),
        "_modified",
        f.col(f"_cells.{_CORRUPT}").isNotNull().alias(_CORRUPT),
        *(f.col(f"_cells.`{name}`").alias(name) for name in names),
    )


def _json(spark: SparkSession, path: str, columns: Sequence[str]) -> DataFrame:
    """Rows of JSON lines: the named members as text, ``_source_row`` and whether it is ``_corrupt``.

    Raises ContractError where no row has a member of that name.
    """
    lines, _ = _lines(spark, path)
    require_members(lines, path, columns)
    schema = ", ".join(f"`{name}` string" for name in columns)
    cells = f.from_json("value", f"{schema}, {_CORRUPT} string", {"columnNameOfCorruptRecord": _CORRUPT})
    rows = lines.withColumn("_cells", cells)
    return rows.select(
        "offset",
        f.col("value").alias(_SOURCE),
        "_modified",
        f.col(f"_cells.{_CORRUPT}").isNotNull().alias(_CORRUPT),
        *(f.col(f"_cells.`{name}`").alias(name) for name in columns),
    )


def require_members(lines: DataFrame, path: str, names: Sequence[str]) -> None:
    """Raise ContractError where none of the JSON lines (``value``) has a member of a name; no lines lack nothing."""
    keys = f.json_object_keys("value").alias("keys")
    first = lines.select(keys).take(_MANY_ROWS)
    have = {key for row in first for key in row["keys"] or ()}
    missing = [name for name in names if name not in have]
    if first and missing:
        # A member that is often left out may come late.
        found = lines.select(keys).agg(*(f.max(f.array_contains("keys", name)) for name in missing)).first()
        assert found is not None, "an aggregate without keys has one row"
        missing = [name for name, there in zip(missing, found, strict=True) if not there]
        if missing:
            names = [*sorted(have)[:_MANY_NAMES], *(["..."] if len(have) > _MANY_NAMES else [])]
            raise lacks_columns(path, missing, names)


_MANY_ROWS, _MANY_NAMES = 1_000, 50


def _parquet(spark: SparkSession, path: str) -> DataFrame:
    """Rows of Parquet files in their own types, and ``_source_row`` as JSON."""
    frame = spark.read.parquet(path)
    numbered, _ = _numbered(frame.select("*", "_metadata", _modified()))
    row = f.to_json(f.struct(*frame.columns))
    return numbered.drop("_metadata", "_head").withColumns({_SOURCE: row, _CORRUPT: f.lit(False)})


_CUT_OFF = ("FAILED_READ_FILE", "CANNOT_READ_FILE_FOOTER", "EOFException", "is not a Parquet file")
"""What Spark and Hadoop say where a compressed or a columnar file has lost its end."""


@contextmanager
def to_the_end(path: str) -> Iterator[None]:
    """Raise ContractError in one line where a file that is read in the block ends before its end."""
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        text = str(error)
        if not any(sign in text for sign in _CUT_OFF):
            raise
        raise ContractError(f"{path} can't be read to its end: it is cut off or of another format") from error


def _require(frame: DataFrame, path: str, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        have = [name for name in frame.columns if name not in ("offset", "_modified", _SOURCE, _CORRUPT)]
        raise lacks_columns(path, missing, have)


def lacks_columns(path: str, missing: Sequence[str], have: Sequence[str]) -> ContractError:
    """The error of a file that lacks these columns and has those."""
    return ContractError(f"{path} has no column {', '.join(missing)}; it has {', '.join(have) or 'none'}")


def _all_columns_hash(columns: Sequence[str]) -> Column:
    """128 bits over all columns of the row, null and empty kept apart."""
    cells = [f.coalesce(f.col(f"`{name}`").cast("string"), f.lit("\u0000")) for name in columns]
    return f.substring(f.sha2(f.concat_ws("\u001f", *cells), 256), 1, 32)


def _raw(
    frame: DataFrame, fields: Mapping[str, Column], fingerprint: Column, shift_days: int, properties: Column | None
) -> DataFrame:
    """Assemble the reader's columns; ``fields`` gives the wire's fields in their wire types."""
    event_ms = fields["event_ms"].cast("long") + f.lit(shift_days * DAY_MS)
    columns = {**fields, "event_ms": event_ms}
    cells = [columns[name].alias(name) for name in WIRE_FIELDS if name in columns]
    if properties is not None:
        cells.append(f.map_filter(properties, lambda _, v: v.isNotNull()).alias("properties"))
    unread = f.col(_CORRUPT) | event_ms.isNull()
    return frame.select(
        "offset",
        f.when(unread, f.col(_SOURCE)).otherwise(f.to_json(f.struct(*cells))).alias("raw"),
        f.when(~unread, event_ms).alias("event_ms"),
        f.when(~unread, event_ms).otherwise(f.col("_modified")).alias("record_ms"),
        fingerprint.alias("fingerprint"),
        f.col(_SOURCE).alias("row"),
    )


# Readers


def online_retail(spark: SparkSession, source: Source) -> DataFrame:
    """UCI Online Retail, as Parquet.

    An invoice that starts with C is a refund with a positive quantity. An order has one instant, its first line's;
    its lines are numbered in the file's order, those that cost nothing last, so that line 1 is one that was sold.
    """
    frame = _parquet(spark, source.path)
    names = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
    _require(frame, source.path, names)
    # Rows are known by their cells as they came; a column that came in another type is read as its own.
    typed = {"Quantity": "int", "UnitPrice": "decimal(18,4)", "CustomerID": "long", "InvoiceDate": "timestamp"}
    frame = frame.withColumn("_hash", _all_columns_hash(names))
    frame = frame.withColumns({name: f.col(name).try_cast(kind) for name, kind in typed.items()})
    refund = f.col("InvoiceNo").startswith("C")
    in_file = Window.partitionBy("InvoiceNo").orderBy("offset")
    sold_first = Window.partitionBy("InvoiceNo").orderBy((f.col("UnitPrice") <= 0).cast("int"), "offset")
    frame = frame.withColumns(
        {
            "_line": f.row_number().over(sold_first),
            "_order_ms": f.first(f.unix_millis("InvoiceDate")).over(in_file),
        }
    )
    # Names as they are: the gate knows their codes, but no code for both islands together.
    named = f.when(~f.col("Country").isin(*NO_COUNTRIES), f.col("Country"))
    country = f.when(f.col("Country") == "Channel Islands", "JE").otherwise(named)
    fields = {
        "event_id": f.col("_hash"),
        "event_type": f.when(refund, "refund").otherwise("purchase"),
        "user_id": f.col("CustomerID").cast("string"),
        "item_id": f.col("StockCode"),
        "price": f.col("UnitPrice"),
        "currency": f.lit("GBP"),
        "quantity": f.when(refund, f.abs("Quantity")).otherwise(f.col("Quantity")),
        "order_id": f.col("InvoiceNo"),
        "line": f.col("_line"),
        "event_ms": f.col("_order_ms"),
        "country": country,
        "source": f.lit("online_retail"),
    }
    properties = f.create_map(
        f.lit("title"),
        f.trim("Description"),
        f.lit("country_name"),
        f.when(country.isNull(), f.col("Country")),
    )
    return _raw(frame, fields, f.col("_hash"), source.shift_days, properties)


def rees46(spark: SparkSession, source: Source) -> DataFrame:
    """REES46 multi-category store, as CSV.

    A purchase is one unit; purchases of one session at one instant are one order. The source's own session id is
    kept as the property ``session_id``.
    """
    names = [
        "event_time",
        "event_type",
        "product_id",
        "category_id",
        "category_code",
        "brand",
        "price",
        "user_id",
        "user_session",
    ]
    cells = ["offset", _SOURCE, "_modified", _CORRUPT, *names]
    frame = _together([part.select(*cells) for part in _csv(spark, source.path, {}, names)])
    purchase = f.coalesce(f.col("event_type") == "purchase", f.lit(False))
    order = f.when(purchase, f.concat_ws("/", "user_session", "event_time"))
    lines = Window.partitionBy(f.coalesce(order, f.col("offset").cast("string"))).orderBy("offset")
    frame = frame.withColumns({"_order": order, "_line": f.row_number().over(lines)})
    when = f.try_to_timestamp(f.regexp_replace("event_time", " UTC$", ""), f.lit("yyyy-MM-dd HH:mm:ss"))
    fields = {
        "event_id": f.substring(f.sha2(_SOURCE, 256), 1, 32),
        "event_type": f.when(f.col("event_type") == "remove_from_cart", "uncart").otherwise(f.col("event_type")),
        "user_id": f.col("user_id"),
        "item_id": f.col("product_id"),
        "category": f.col("category_code"),
        "price": f.col("price"),
        "quantity": f.when(purchase, f.lit(1)),
        "order_id": f.md5(f.col("_order")),
        "line": f.when(purchase, f.col("_line")),
        "event_ms": f.unix_millis(when),
        "source": f.lit("rees46"),
    }
    properties = f.create_map(
        f.lit("session_id"), f.col("user_session"), f.lit("brand"), f.col("brand"), f.lit("title"), _rees46_title()
    )
    return _raw(frame, fields, f.md5(_SOURCE), source.shift_days, properties)


def _rees46_title() -> Column:
    """A readable name, since the data has none: the brand and the last part of the category."""
    kind = f.regexp_replace(f.element_at(f.split("category_code", r"\."), -1), "_", " ")
    name = f.trim(f.concat_ws(" ", f.initcap("brand"), kind))
    return f.when(f.length(name) > 0, name)


def events(spark: SparkSession, source: Source) -> DataFrame:
    """Raw events as JSON lines, as the collector takes them and the simulator writes them."""
    if source.shift_days:
        raise ConfigError("--shift-days does not apply to raw events: their bytes go to the gate as they are")
    lines, _ = _lines(spark, source.path)
    event_ms = f.expr("try_cast(get_json_object(value, '$.event_ms') AS BIGINT)")
    return lines.select(
        "offset",
        f.col("value").alias("raw"),
        event_ms.alias("event_ms"),
        f.coalesce(event_ms, f.col("_modified")).alias("record_ms"),
        f.md5("value").alias("fingerprint"),
        f.col("value").alias("row"),
    )


def mapping(spark: SparkSession, source: Source) -> DataFrame:
    """CSV, JSON lines or Parquet by a mapping file (YAML or JSON): see docs/batch.md."""
    declared = load_mapping(source.mapping)
    parts = _mapped_file(spark, source, declared)
    return _together([_mapped_events(part, source, declared) for part in parts])


def _mapped_events(frame: DataFrame, source: Source, declared: Mapping[str, FieldMapping]) -> DataFrame:
    spec = _spec(source.mapping)
    own = [name for name in frame.columns if name not in ("offset", "_modified", _SOURCE, _CORRUPT)]
    hashed = _all_columns_hash(own)
    fields: dict[str, Column] = {"event_id": hashed, "source": f.lit("mapping")}
    unread = f.col(_CORRUPT)
    for name, how in declared.items():
        text = _mapped(how)
        kind = EVENTS.field(name).kind
        typed = _event_time(frame, text, how) if name == "event_ms" else _wire_type(frame, text, kind, how)
        unread = unread | (text.isNotNull() & typed.isNull())
        fields[name] = typed
    frame = frame.withColumn(_CORRUPT, unread)
    pairs = [x for name in spec.properties for x in (f.lit(name), f.col(f"`{name}`").cast("string"))]
    properties = f.create_map(*pairs) if pairs else None
    return _raw(frame, fields, hashed, source.shift_days, properties)


def mapped_text(spark: SparkSession, source: Source, declared: Mapping[str, FieldMapping]) -> DataFrame:
    """The rows of a mapped file that holds no events: each declared field as text, times in epoch milliseconds.

    Beside them ``offset``, ``raw`` (the row as it came), ``modified_ms`` (the file's) and ``unread``: whether the row,
    or a time in it, can't be read. Raises as :func:`read` does.
    """
    return _together([_as_text(part, declared) for part in _mapped_file(spark, source, declared)])


def _as_text(frame: DataFrame, declared: Mapping[str, FieldMapping]) -> DataFrame:
    cells, unread = {}, f.col(_CORRUPT)
    for name, how in declared.items():
        value = _mapped(how)
        if name in INSTANTS:
            cells[name] = _event_time(frame, value, how)
        elif name in DATES:
            cells[name] = _day(value.cast("string"), how)
        else:
            cells[name] = value.cast("string")
        unread = unread | (value.isNotNull() & cells[name].isNull())
    return frame.select(
        "offset",
        f.col(_SOURCE).alias("raw"),
        f.col("_modified").alias("modified_ms"),
        unread.alias("unread"),
        *(cell.alias(name) for name, cell in cells.items()),
    )


def _mapped_file(spark: SparkSession, source: Source, declared: Mapping[str, FieldMapping]) -> list[DataFrame]:
    """The rows of a mapping file's source, with every column that the mapping names; a frame for each set of columns.

    So what a row becomes hangs on its own file, whatever lies in the folder beside it.
    """
    spec = _spec(source.mapping)
    wanted = sorted({m.column for m in declared.values() if m.column} | set(spec.properties))
    if spec.format == "csv":
        return _csv(spark, source.path, spec.options, wanted)
    if spec.format == "json":
        return [_json(spark, source.path, wanted)]
    frame = _parquet(spark, source.path)
    _require(frame, source.path, wanted)
    return [frame]


def _together(frames: Sequence[DataFrame]) -> DataFrame:
    return reduce(DataFrame.unionByName, frames)


def _mapped(how: FieldMapping) -> Column:
    if how.column is not None:
        value = f.col(f"`{how.column}`")
    elif how.sql is not None:
        value = f.expr(how.sql)
    else:
        value = f.lit(how.value)
    if how.values:
        value = value.cast("string")
        known = f.create_map(*(f.lit(x) for pair in how.values.items() for x in pair))
        value = f.coalesce(f.try_element_at(known, value), value)
    return value


def _event_time(frame: DataFrame, value: Column, how: FieldMapping) -> Column:
    if how.time is None:
        kind = frame.select(value).schema[0].dataType
        if isinstance(kind, t.TimestampType):
            return f.unix_millis(value)
        if isinstance(kind, t.TimestampNTZType | t.DateType):
            return f.unix_millis(_in_zone(value.cast("timestamp"), how.zone))
    return f.coalesce(*(_instant(value, pattern, how.zone) for pattern in _patterns(how) or ("epoch_ms",)))


def _patterns(how: FieldMapping) -> tuple[str, ...]:
    if how.time is None:
        return ()
    return (how.time,) if isinstance(how.time, str) else how.time


def _day(text: Column, how: FieldMapping) -> Column:
    """A day as yyyy-MM-dd where one of its patterns reads it, else the text."""
    days = (f.timestamp_millis(_instant(text, pattern, "UTC")) for pattern in _patterns(how))
    return f.coalesce(*(f.date_format(day, "yyyy-MM-dd") for day in days), text)


def _instant(value: Column, pattern: str, zone: str) -> Column:
    if pattern == "epoch_ms":
        return value.try_cast("long")
    if pattern in _TO_MS:
        return f.floor(_exact(value, 33, 17) * f.lit(_TO_MS[pattern])).try_cast("long")
    return f.unix_millis(_in_zone(f.try_to_timestamp(f.trim(value.cast("string")), f.lit(pattern)), zone))


_TO_MS = {"epoch_s": Decimal(1000), "epoch_us": Decimal("0.001")}
"""Milliseconds in the units of other epochs."""


def _exact(value: Column, precision: int, scale: int) -> Column:
    """The number as a decimal of that width; null where it has more decimals, which a cast would round, or is none."""
    whole = value.try_cast(f"decimal({precision},{scale})")
    return f.when(whole == value.try_cast(f"decimal(38,{38 - precision + scale})"), whole)


def _in_zone(clock: Column, zone: str) -> Column:
    """The instant at which a zone's clocks show ``clock``: the session's zone is UTC, in which it was read."""
    return clock if zone == "UTC" else f.to_utc_timestamp(clock, zone)


def _wire_type(frame: DataFrame, value: Column, kind: Kind, how: FieldMapping) -> Column:
    """Numbers as numbers; a price stays text, which the gate reads exactly."""
    if kind.name not in NUMBERS:
        return value.cast(t.StringType())
    if how.decimal is not None and isinstance(frame.select(value).schema[0].dataType, t.StringType):
        value = _ungrouped(value, how.decimal)
    if how.factor is not None:
        # As wide as a product may be, so that it is exact: 24 and 13 digits make no more than 38.
        value = _exact(value, 24, 9) * f.lit(how.factor).cast("decimal(13,6)")
        if kind.name == "decimal":
            value = value.try_cast(data_type(kind))
        elif kind.name != "double":
            value = f.when(value == f.floor(value), value)
    return value.cast(t.StringType()) if kind.name == "decimal" else value.try_cast(data_type(kind))


def _ungrouped(value: Column, mark: str) -> Column:
    """A number's text with a point and no groups; null where it has other groups than of three digits, or is none."""
    group = f"[{_GROUPING}{'.' if mark == ',' else ','}]"
    text = f.btrim(value, f.lit(_BLANKS))
    fits = text.rlike(rf"\A[+-]?(\d+|[1-9]\d{{0,2}}({group})\d{{3}}(\2\d{{3}})*)([{mark}]\d+)?\z")
    plain = f.replace(f.regexp_replace(text, group, ""), f.lit(mark), f.lit("."))
    return f.when(fits, plain)


_BLANKS = " \u00a0\u2009\u202f"
_GROUPING = f"{_BLANKS}'\u2019"
"""What groups digits by threes beside the mark that is not the decimal one."""


def _spec(path: str) -> MappingFile:
    if not path:
        raise ConfigError("a mapping needs --mapping FILE: a YAML or JSON file, see docs/batch.md")
    if not Path(path).is_file():
        raise MissingRequirement(f"there is no mapping file {path}: correct --mapping")
    try:
        body: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return MappingFile.model_validate(body)
    except (yaml.YAMLError, ValidationError) as error:
        faults = [f"{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in getattr(error, "errors", lambda: [])()]
        raise ConfigError(f"mapping file {path}: {'; '.join(faults) or 'not YAML'}") from None


def load_mapping(
    path: str,
    known: Sequence[str] = WIRE_FIELDS,
    needed: Sequence[str] = ("event_type", "event_ms"),
    of: str = "an event",
) -> dict[str, FieldMapping]:
    """The fields of a mapping file; raises ConfigError in one line that names the fault."""
    spec = _spec(path)
    fields = {}
    for name, how in spec.fields.items():
        if name not in known or name == "properties":
            raise ConfigError(f"mapping file {path}: {name} is not a field of {of}; known are {', '.join(known)}")
        found = FieldMapping(column=how) if isinstance(how, str) else how
        if sum(x is not None for x in (found.column, found.value, found.sql)) != 1:
            raise ConfigError(f"mapping file {path}: {name} needs one of column, value and sql")
        idle = [x for x in ("time", "zone", "decimal", "factor") if x in found.model_fields_set - _taken(name)]
        if idle:
            raise ConfigError(f"mapping file {path}: {name} takes no {' and no '.join(idle)}")
        fields[name] = found
    for name in needed:
        if name not in fields:
            raise ConfigError(f"mapping file {path}: {name} is not mapped")
    return fields


def _taken(name: str) -> set[str]:
    """What a field's mapping may tell of the form of its values."""
    if name in INSTANTS:
        return {"time", "zone"}
    if name in DATES:
        return {"time"}
    return {"decimal", "factor"} if name in EVENTS.names and EVENTS.field(name).kind.name in NUMBERS else set()


READERS: dict[str, Callable[[SparkSession, Source], DataFrame]] = {
    "online_retail": online_retail,
    "rees46": rees46,
    "events": events,
    "mapping": mapping,
}
"""Readers by the name of their format."""
