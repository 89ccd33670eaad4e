"""Import customers: rows of a file become rows of silver/customers, their ids and contacts keyed pseudonyms.

A customer's id becomes the pseudonym that the events of the same user carry; e-mail address and telephone number are
hashed with the same key, so that equal ones stay equal and none can be read. Of a customer that comes again the newer
row stays. A row that can't be read or has no id goes to bronze/rejections as it is, with the reason.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f
from pyspark.sql.pandas.types import to_arrow_schema

from common.admission import MAX_ID, PLACEHOLDER_IDS, Policy, Reason, policy_from_env
from common.codes import country_code
from common.contracts.customers import CUSTOMERS, PERSONAL
from jobs.spark.args import ARGUMENTS, EnvName, LakeArgs, Share
from jobs.spark.readers import Source, load_mapping, mapped_text, require_file, to_the_end
from jobs.spark.refused import require_most_accepted
from jobs.spark.run import run
from jobs.spark.schema import struct_type
from jobs.spark.tables import Lake

KNOWN = ("customer_id", *(x.name.removesuffix("_hash") for x in PERSONAL), "updated_ms")
"""What a mapping file may name."""


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(LakeArgs):
    """Import customers from a file."""

    path: Annotated[str, Field(min_length=1)]
    """The file, or a folder of files."""

    mapping: Annotated[str, Field(min_length=1)]
    """The mapping file, YAML or JSON: which column is which field."""

    dataset: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$")]
    """Name of the data set: the source of its customers."""

    most_rejected: Share = 0.5
    """Largest share of the rows that may be rejected; above it the run fails, though all rows were filed."""

    pseudonym_key_env: EnvName = "DOVETAIL_PSEUDONYM_KEY"
    """Environment variable that holds the key of the pseudonyms."""

    pseudonym_key_id: Annotated[str, Field(pattern=r"^[a-z0-9]{1,16}$")] = "k1"
    """Id of that key, kept in each pseudonym."""


def judged(rows: DataFrame) -> DataFrame:
    """The rows with the ``reason`` to refuse them, null where a row is good; empty texts become null."""
    said = [
        f.nullif(f.trim(x), f.lit("")).alias(x) if x != "updated_ms" else f.col(x) for x in rows.columns if x in KNOWN
    ]
    clean = rows.select("offset", "raw", "modified_ms", "unread", *said)
    named = f.col("customer_id")
    reason = (
        f.when(f.col("unread"), f.lit(Reason.INVALID_TEXT))
        .when(named.isNull(), f.lit(Reason.MISSING_FIELD))
        .when(named.isin(*PLACEHOLDER_IDS), f.lit(Reason.PLACEHOLDER_ID))
        .when(f.length(named) > MAX_ID, f.lit(Reason.TOO_LONG))
    )
    return clean.withColumn("reason", reason)


def accepted(good: DataFrame, source: str, policy: Policy) -> DataFrame:
    """Rows of silver/customers, several of a customer included."""
    given = set(good.columns)
    columns = []
    for name in (x.name for x in CUSTOMERS.fields):
        bare = name.removesuffix("_hash")
        if name == "source":
            column = f.lit(source)
        elif name == "updated_ms":
            column = f.coalesce(name, "modified_ms") if name in given else f.col("modified_ms")
        elif bare not in given:
            column = f.lit(None).cast("string")
        else:
            column = contact(bare)
        columns.append(column.alias(name))
    schema = struct_type(CUSTOMERS)
    arrow = to_arrow_schema(schema)

    def pseudonymise(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            cells = dict(zip(batch.schema.names, batch.columns, strict=True))
            cells["country"] = pa.array([x and country_code(x) for x in cells["country"].to_pylist()], pa.string())
            for name, kind in (("customer_id", "user"), ("email_hash", "email"), ("phone_hash", "phone")):
                raw = cells[name].to_pylist()
                cells[name] = pa.array([None if x is None else policy.pseudonym(kind, x) for x in raw], pa.string())
            yield pa.RecordBatch.from_arrays([cells[x].cast(arrow.field(x).type) for x in arrow.names], schema=arrow)

    return good.select(*columns).mapInArrow(pseudonymise, schema)


def contact(name: str) -> Column:
    """A field as it is compared: e-mail in lower case, a telephone number's digits, anything else as it is."""
    if name == "email":
        return f.lower(name)
    if name == "phone":
        return f.nullif(f.regexp_replace(name, r"\D+", ""), f.lit(""))
    return f.col(name)


def rejected(bad: DataFrame, source: str) -> DataFrame:
    """Rows of bronze/rejections; a data set's next file has another time, so its rows have a topic of their own."""
    return bad.select(
        "reason",
        f.when(f.col("reason") != Reason.INVALID_TEXT, "customer_id").alias("field"),
        f.concat(f.lit("a customer's row of length "), f.length("raw").cast("string")).alias("detail"),
        f.encode("raw", "utf-8").alias("raw"),
        f.octet_length("raw").cast("long").alias("size"),
        f.sha2("raw", 256).alias("sha256"),
        f.concat(f.lit(f"customers:{source}:"), f.col("modified_ms").cast("string")).alias("topic"),
        f.lit(0).alias("partition"),
        "offset",
        f.col("modified_ms").alias("kafka_ms"),
    )


def order(alias: str = "") -> str:
    """SQL of a row's place among the rows of its customer: the greatest stays, whatever order they come in."""
    cells = ", ".join(f"{alias}`{name}`" for name in CUSTOMERS.names)
    return f"struct({alias}`updated_ms`, xxhash64({cells}))"


def newest(customers: DataFrame) -> DataFrame:
    """One row a customer."""
    rank = f.row_number().over(Window.partitionBy("customer_id").orderBy(f.expr(order()).desc()))
    return customers.withColumn("_rank", rank).where("_rank = 1").drop("_rank")


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Read, judge, hash, merge; every row in is accepted or rejected."""
    lake = Lake(spark, args.lake)
    policy = policy_from_env(args.pseudonym_key_env, args.pseudonym_key_id)
    declared = load_mapping(args.mapping, KNOWN, ("customer_id",), "a customer")
    source = Source(args.path, mapping=args.mapping)
    require_file(spark, source)
    with to_the_end(args.path):
        rows = judged(mapped_text(spark, source, declared)).persist(StorageLevel.MEMORY_AND_DISK)
        counts = {row["reason"]: row["count"] for row in rows.groupBy("reason").count().collect()}
    try:
        turned_away = sum(count for reason, count in counts.items() if reason is not None)
        bad = rows.where(f.col("reason").isNotNull())
        kept = lake.insert_new("bronze/rejections", rejected(bad, args.dataset)) if turned_away else None
        good = newest(accepted(rows.where(f.col("reason").isNull()), args.dataset, policy))
        merged = lake.upsert("silver/customers", good, replace_if=f"{order('s.')} > {order('t.')}")
    finally:
        rows.unpersist()
    told = {
        "rows_in": sum(counts.values()),
        "accepted": counts.get(None, 0),
        "rejected": turned_away,
        "new_rejections": kept.inserted if kept else 0,
        "new_customers": merged.inserted,
        "updated_customers": merged.updated,
        "reasons": {reason: count for reason, count in sorted(counts.items(), key=str) if reason is not None},
    }
    require_most_accepted(told, args.most_rejected, f"customers:{args.dataset}:...")
    return told


if __name__ == "__main__":
    run(main, Args)
