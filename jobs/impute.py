"""Imputation: a value where one is missing, by a statistic, by the nearest rows or by a model, each fill recorded.

The table is left as it is; gold/fills has a row for each fill with its method and parameters, and prepare
puts them in with --fills true. A row that the method can say nothing about stays unfilled and is counted.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark.ml import Pipeline
from pyspark.ml.classification import RandomForestClassifier
from pyspark.ml.feature import (
    BucketedRandomProjectionLSH,
    IndexToString,
    OneHotEncoder,
    StandardScaler,
    StringIndexer,
    VectorAssembler,
)
from pyspark.ml.regression import RandomForestRegressor
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f
from pyspark.sql import types as t

from common.errors import ConfigError, IncompleteInput
from jobs.spark.args import ARGUMENTS, JobArgs, Names
from jobs.spark.columns import columns_of, row_key
from jobs.spark.run import run
from jobs.spark.tables import TABLES, Lake

NUMBERS = (t.NumericType, t.BooleanType)


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Fill in the missing values of a column."""

    table: str
    """The table that lacks values, such as silver/items."""

    column: str
    """The column to fill: a number or a text."""

    method: Literal["mean", "median", "mode", "neighbours", "model"] = "median"
    """mean and median for numbers; mode, neighbours (by LSH) and model (a random forest) for texts as well."""

    by: Names = ()
    """Columns within whose values a statistic is taken, separated by commas; empty for the whole table."""

    features: Names = ()
    """Columns that say which rows are alike, or that the model learns from; numbers and texts."""

    neighbours: Annotated[int, Field(ge=1, le=100)] = 5
    """Nearest rows whose values are taken: their mean, or their most frequent text."""

    reach: Annotated[float, Field(gt=0)] = 2.0
    """How far away a neighbour may be, in standard deviations."""

    trees: Annotated[int, Field(ge=1, le=500)] = 20
    """Trees of the model."""

    seed: int = 42
    """Seed of the projections and of the trees."""


Told = dict[str, Any]
"""What a method was told and found, for the record."""


def by_statistic(rows: DataFrame, method: str, by: tuple[str, ...]) -> tuple[DataFrame, Told]:
    """row_key and value of the rows that lack one: mean, median or mode of ``target`` among rows alike in ``by``."""
    statistic = {"mean": f.avg("target"), "median": f.median("target"), "mode": f.mode("target", deterministic=True)}
    known = rows.where(f.col("target").isNotNull())
    if not by:
        found = known.agg(statistic[method].alias("value"))
        return rows.where(f.col("target").isNull()).crossJoin(f.broadcast(found)), {"statistic": method}
    found = known.groupBy(*(f.col(c).alias(f"_{c}") for c in by)).agg(statistic[method].alias("value"))
    alike = [f.col(c).eqNullSafe(f.col(f"_{c}")) for c in by]
    joined = rows.where(f.col("target").isNull()).join(f.broadcast(found), alike, how="left")
    return joined, {"statistic": method, "by": list(by)}


def vectors(rows: DataFrame, features: tuple[str, ...]) -> tuple[DataFrame, list[str]]:
    """The rows with the vector ``features``: numbers standardised, texts spread; and the numbers' names.

    Rows that lack one of the numbers are left out: nothing says what they are like.
    """
    numbers = [c for c in features if isinstance(rows.schema[c].dataType, NUMBERS)]
    texts = [c for c in features if c not in numbers]
    stages: list[Any] = []
    if numbers:
        stages.append(VectorAssembler(inputCols=[f"_{c}" for c in numbers], outputCol="_numbers"))
        stages.append(StandardScaler(inputCol="_numbers", outputCol="_scaled", withMean=True))
    for column in texts:
        stages.append(
            StringIndexer(
                inputCol=column, outputCol=f"_{column}_i", handleInvalid="keep", stringOrderType="alphabetAsc"
            )
        )
        stages.append(OneHotEncoder(inputCol=f"_{column}_i", outputCol=f"_{column}_v", dropLast=False))
    inputs = [*(["_scaled"] if numbers else []), *(f"_{c}_v" for c in texts)]
    stages.append(VectorAssembler(inputCols=inputs, outputCol="features"))
    complete = (
        rows.withColumns({f"_{c}": f.col(c).cast("double") for c in numbers}).dropna(
            subset=[f"_{c}" for c in numbers] or None, how="any"
        )
        if numbers
        else rows
    )
    return Pipeline(stages=stages).fit(complete).transform(complete), numbers


def by_neighbours(rows: DataFrame, args: Args) -> tuple[DataFrame, Told]:
    """row_key and value of the rows that lack one, by the nearest rows that have one, found by random projections."""
    made, _ = vectors(rows, args.features)
    points = made.select("row_key", "target", "features").persist()
    model = BucketedRandomProjectionLSH(
        inputCol="features", outputCol="hashes", bucketLength=args.reach, numHashTables=4, seed=args.seed
    ).fit(points)
    lacking, known = points.where(f.col("target").isNull()), points.where(f.col("target").isNotNull())
    pairs = model.approxSimilarityJoin(lacking, known, args.reach, "distance").select(
        f.col("datasetA.row_key").alias("row_key"),
        f.col("datasetB.row_key").alias("_near"),
        f.col("datasetB.target").alias("_value"),
        "distance",
    )
    nearest = Window.partitionBy("row_key").orderBy("distance", "_near")
    taken = pairs.withColumn("_rank", f.row_number().over(nearest)).where(f.col("_rank") <= args.neighbours)
    number = isinstance(rows.schema["target"].dataType, t.NumericType)
    value = f.avg("_value") if number else f.mode("_value", deterministic=True)
    told = {"neighbours": args.neighbours, "reach": args.reach, "features": list(args.features), "seed": args.seed}
    return taken.groupBy("row_key").agg(value.alias("value")), told


def by_model(rows: DataFrame, args: Args) -> tuple[DataFrame, Told]:
    """row_key and value of the rows that lack one, by a random forest over the features."""
    made, _ = vectors(rows, args.features)
    known = made.where(f.col("target").isNotNull()).orderBy("row_key")
    lacking = made.where(f.col("target").isNull())
    told = {"model": "random forest", "trees": args.trees, "features": list(args.features), "seed": args.seed}
    if isinstance(rows.schema["target"].dataType, t.NumericType):
        forest = RandomForestRegressor(
            labelCol="target", numTrees=args.trees, seed=args.seed, predictionCol="value", featureSubsetStrategy="all"
        )
        return forest.fit(known).transform(lacking), told
    index = StringIndexer(inputCol="target", outputCol="_label", stringOrderType="alphabetAsc").fit(known)
    classifier = RandomForestClassifier(
        labelCol="_label", numTrees=args.trees, seed=args.seed, predictionCol="_predicted"
    )
    # The copy leaves the training's summary behind: it holds the session, which can't travel once it has observed.
    predicted = classifier.fit(index.transform(known)).copy().transform(lacking)
    return IndexToString(inputCol="_predicted", outputCol="value", labels=index.labels).transform(predicted), told


def fills(rows: DataFrame, args: Args) -> tuple[DataFrame, Told]:
    """row_key and value (text) of each fill, and what the method was told."""
    if args.method == "neighbours":
        found, told = by_neighbours(rows, args)
    elif args.method == "model":
        found, told = by_model(rows, args)
    else:
        found, told = by_statistic(rows, args.method, args.by)
    return found.where(f.col("value").isNotNull()).select("row_key", f.col("value").cast("string")), told


def filled(frame: DataFrame, table: str, column: str, found: DataFrame) -> DataFrame:
    """The table's rows with the fills of a column (rows of gold/fills) where it lacks a value."""
    kind = frame.schema[column].dataType
    mine = found.where((f.col("table") == table) & (f.col("column") == column))
    values = mine.select(f.col("row_key").alias("_key"), f.col("value").cast("double" if _number(kind) else "string"))
    value: Column = f.round("value").cast(kind) if isinstance(kind, t.IntegralType) else f.col("value").cast(kind)
    joined = frame.join(values, row_key(table) == f.col("_key"), how="left")
    return joined.withColumn(column, f.coalesce(f.col(column), value)).select(*frame.columns)


def with_fills(frame: DataFrame, table: str, found: DataFrame) -> DataFrame:
    """The table's rows with the fills of every column that gold/fills (``found``) has any for."""
    columns = found.where(f.col("table") == table).select("column").distinct().collect()
    for column in sorted(row["column"] for row in columns):
        frame = filled(frame, table, column, found)
    return frame


def _number(kind: t.DataType) -> bool:
    return isinstance(kind, t.NumericType)


def refuse(args: Args, kind: t.DataType) -> None:
    """Raise ConfigError where the method does not suit the column."""
    if args.method in ("mean", "median") and not _number(kind):
        raise ConfigError(
            f"--method {args.method} takes numbers, and {args.column} is a {kind.simpleString()}: use mode"
        )
    if not (_number(kind) or isinstance(kind, t.StringType)):
        raise ConfigError(f"{args.column} is a {kind.simpleString()}: only numbers and texts can be filled")
    if args.method in ("neighbours", "model") and not args.features:
        raise ConfigError(f"--method {args.method} needs --features: the columns that say which rows are alike")
    if args.column in (*args.features, *args.by, *TABLES[args.table].contract.key):
        raise ConfigError(f"{args.column} cannot be filled from itself, nor a key be filled")


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Find what is missing, fill it in, record each fill."""
    lake = Lake(spark, args.lake)
    frame = columns_of(lake, args.table, {args.column, *args.by, *args.features})
    kind = frame.schema[args.column].dataType
    refuse(args, kind)
    target = f.col(args.column).cast("double" if _number(kind) else "string").alias("target")
    others = sorted({*args.by, *args.features})
    rows = frame.select(row_key(args.table).alias("row_key"), target, *others).persist()
    try:
        counts = rows.agg(f.count("*"), f.count("target")).first()
        assert counts is not None
        total, known = counts
        if known == 0:
            raise IncompleteInput(
                f"{args.table} has no {args.column} in any of {total} rows: nothing says what to fill"
            )
        found, told = fills(rows, args)
        version = lake.version(args.table)
        made = found.select(
            f.lit(args.table).alias("table"),
            f.lit(args.column).alias("column"),
            "row_key",
            f.lit(args.cut).cast("long").alias("cut_ms"),
            f.lit(version).cast("long").alias("table_version"),
            "value",
            f.lit(args.method).alias("method"),
            f.lit(json.dumps(told, sort_keys=True)).alias("parameters"),
        )
        where = f"table = '{args.table}' AND column = '{args.column}'"
        written = lake.replace("gold/fills", made, where)
    finally:
        rows.unpersist()
    return {"rows": total, "missing": total - known, "filled": written.inserted, **told}


if __name__ == "__main__":
    run(main, Args)
