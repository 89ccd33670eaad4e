"""Scaling and encoding of a table's columns: a saved Spark ML pipeline, its parameters as JSON, and the features.

The parameters are what serving applies to one row (common/preparation.py). The features that a model is trained on
hold each target-encoded text as its label's mean in the other folds: a row never tells of its own label.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass
from pyspark.errors import AnalysisException
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import (
    MinMaxScaler,
    OneHotEncoder,
    StandardScaler,
    StringIndexer,
    TargetEncoder,
    TargetEncoderModel,
    VectorAssembler,
)
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as f

from common.errors import ConfigError, IncompleteInput
from common.preparation import MinMax, OneHot, Preparation, Step, Target, ZScore, write_preparation
from jobs.impute import with_fills
from jobs.spark.args import ARGUMENTS, JobArgs, Names
from jobs.spark.columns import columns_of, row_key
from jobs.spark.models import models_folder
from jobs.spark.run import run
from jobs.spark.tables import Lake

LABEL = "_label"


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class Args(JobArgs):
    """Scale and encode columns of a table."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
    """What the preparation is called, and its folder under preparations/ beside the lake's models."""

    table: str
    """The table to prepare, such as gold/sessions."""

    min_max: Names = ()
    """Numbers to bring to [0, 1], separated by commas."""

    z_score: Names = ()
    """Numbers to standardise, separated by commas."""

    one_hot: Names = ()
    """Texts to spread over a column for each value, separated by commas."""

    target: Names = ()
    """Texts to encode by the mean of the label, separated by commas."""

    fills: bool = False
    """Whether what gold/fills has for the table stands in where a column lacks a value."""

    label: str = ""
    """The label as a Spark SQL expression over the table's columns; needed where something is target-encoded."""

    folds: Annotated[int, Field(ge=2, le=50)] = 5
    """Folds of the target encoding."""

    smoothing: Annotated[float, Field(ge=0)] = 10.0
    """Rows' worth of the overall mean that each text's mean is drawn by."""


def stages(args: Args) -> list[Any]:
    """The pipeline: each step from its column to an output column, then all of them side by side."""
    made: list[Any] = []
    for column in args.min_max:
        made += [_vector(column), MinMaxScaler(inputCol=f"{column}_v", outputCol=f"{column}_min_max")]
    for column in args.z_score:
        scaler = StandardScaler(inputCol=f"{column}_v", outputCol=f"{column}_z_score", withMean=True, withStd=True)
        made += [_vector(column), scaler] if column not in args.min_max else [scaler]
    for column in dict.fromkeys((*args.one_hot, *args.target)):
        order = "alphabetAsc"  # ties in frequency would leave the order of labels to the partitions
        made.append(
            StringIndexer(inputCol=column, outputCol=f"{column}_i", handleInvalid="keep", stringOrderType=order)
        )
    for column in args.one_hot:
        made.append(OneHotEncoder(inputCol=f"{column}_i", outputCol=f"{column}_one_hot", dropLast=False))
    for column in args.target:
        made.append(
            TargetEncoder(
                inputCol=f"{column}_i",
                outputCol=f"{column}_target",
                labelCol=LABEL,
                targetType="continuous",
                smoothing=args.smoothing,
                handleInvalid="keep",
            )
        )
    return [*made, VectorAssembler(inputCols=outputs(args), outputCol="features")]


def _vector(column: str) -> VectorAssembler:
    return VectorAssembler(inputCols=[column], outputCol=f"{column}_v")


def outputs(args: Args) -> list[str]:
    """The columns that make the features, in their order."""
    kinds = {"min_max": args.min_max, "z_score": args.z_score, "one_hot": args.one_hot, "target": args.target}
    return [f"{column}_{kind}" for kind, columns in kinds.items() for column in columns]


def parameters(model: PipelineModel, args: Args) -> list[Step]:
    """What the fitted stages know, in the order of the features."""
    by_output: dict[str, Any] = {stage.getOutputCol(): stage for stage in model.stages}  # type: ignore[attr-defined]
    steps: list[Step] = []
    for column in args.min_max:
        scaler = by_output[f"{column}_min_max"]
        steps.append(MinMax(column, float(scaler.originalMin[0]), float(scaler.originalMax[0])))
    for column in args.z_score:
        standard = by_output[f"{column}_z_score"]
        steps.append(ZScore(column, float(standard.mean[0]), float(standard.std[0])))
    for column in args.one_hot:
        steps.append(OneHot(column, list(by_output[f"{column}_i"].labels)))
    for column in args.target:
        labels = list(by_output[f"{column}_i"].labels)
        spark = SparkSession.active()
        # The encoder is asked for each of its texts, and for what is none of them: it does not tell its table.
        asked = spark.createDataFrame([(float(i),) for i in range(len(labels) + 1)], f"`{column}_i` double")
        told = by_output[f"{column}_target"].transform(asked).collect()
        means = {int(row[0]): float(row[1]) for row in told}
        steps.append(Target(column, {text: means[i] for i, text in enumerate(labels)}, means[len(labels)]))
    return steps


def out_of_fold(rows: DataFrame, column: str, folds: int, smoothing: float) -> DataFrame:
    """The rows with ``<column>_target``: the encoding by the rows of the other folds alone.

    Rows have ``row_key``, whose hash is the fold, and the label. A text is (sum + smoothing x mean) / (count +
    smoothing) over the other folds, and their mean where it is not in them.
    """
    folded = rows.withColumn("_fold", f.pmod(f.xxhash64("row_key"), f.lit(folds)).cast("int"))
    found = {row[0]: (row[1], row[2]) for row in folded.groupBy("_fold").agg(f.sum(LABEL), f.count("*")).collect()}
    total, count = sum(s for s, _ in found.values()), sum(n for _, n in found.values())
    if max(n for _, n in found.values()) == count:
        raise IncompleteInput(f"{count} rows are all in one fold of {folds}: too few to encode {column}")
    means = [(total - s) / (count - n) for s, n in (found.get(i, (0.0, 0)) for i in range(folds))]
    mean = f.element_at(f.array(*(f.lit(float(m)) for m in means)), f.col("_fold") + 1)
    text, same = Window.partitionBy(column), Window.partitionBy(column, "_fold")
    others = f.count("*").over(text) - f.count("*").over(same)
    sums = f.sum(LABEL).over(text) - f.sum(LABEL).over(same)
    encoded = f.when(others == 0, mean).otherwise((sums + f.lit(smoothing) * mean) / (others + f.lit(smoothing)))
    return folded.withColumn(f"{column}_target", encoded).drop("_fold")


def training(model: PipelineModel, rows: DataFrame, args: Args) -> DataFrame:
    """row_key, features and label of the rows, as a model is trained on them."""
    for column in args.target:
        rows = out_of_fold(rows, column, args.folds, args.smoothing)
    stages = [stage for stage in model.stages if not isinstance(stage, TargetEncoderModel)]
    features = vector_to_array(f.col("features")).alias("features")
    return PipelineModel(stages).transform(rows).select("row_key", features, f.col(LABEL).alias("label"))


def main(spark: SparkSession, args: Args) -> dict[str, Any]:
    """Fit on the whole table, save the pipeline and its parameters, write the features of its rows."""
    if not outputs(args):
        raise ConfigError("there is nothing to prepare: give --min-max, --z-score, --one-hot or --target")
    if args.target and not args.label:
        raise ConfigError("--target needs a --label to encode by, such as --label 'spend > 0'")
    lake = Lake(spark, args.lake)
    numbers, texts = {*args.min_max, *args.z_score}, {*args.one_hot, *args.target}
    frame = columns_of(lake, args.table, numbers | texts)
    if args.fills:
        frame = with_fills(frame, args.table, lake.read("gold/fills"))
    rows = (
        labelled(frame, args)
        .select(
            row_key(args.table).alias("row_key"),
            *(f.col(c).cast("double").alias(c) for c in sorted(numbers)),
            *(f.col(c).cast("string").alias(c) for c in sorted(texts)),
            LABEL,
        )
        .persist()
    )
    try:
        refuse_missing(rows, args, [*sorted(numbers), *([LABEL] if args.target else [])])
        model = Pipeline(stages=stages(args)).fit(rows)
        folder = folder_of(args)
        model.write().overwrite().save(str(folder / "pipeline"))
        preparation = Preparation(
            name=args.name,
            table=args.table,
            table_version=lake.version(args.table) or 0,
            cut_ms=args.cut,
            label=args.label,
            steps=parameters(model, args),
        )
        write_preparation(preparation, folder / "parameters.json")
        made = training(model, rows, args).withColumns({"name": f.lit(args.name), "cut_ms": f.lit(args.cut)})
        made = made.withColumn("cut_ms", f.col("cut_ms").cast("long"))
        written = lake.replace("gold/prepared", made, f"name = '{args.name}'")
    finally:
        rows.unpersist()
    return {"rows": written.inserted, "features": len(preparation.names), "folder": str(folder)}


def labelled(frame: DataFrame, args: Args) -> DataFrame:
    """The rows with their label, a double, null without one; raises ConfigError where the expression is at fault."""
    try:
        label = f.expr(args.label) if args.label else f.lit(None)
        return frame.withColumn(LABEL, label.cast("double"))
    except AnalysisException as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(f"--label does not read as Spark SQL over {args.table}: {first}") from None


def folder_of(args: Args) -> Path:
    """Where the pipeline and its parameters are: beside the lake's models."""
    return models_folder(args.lake).parent / "preparations" / args.name


def refuse_missing(rows: DataFrame, args: Args, columns: list[str]) -> None:
    """Raise IncompleteInput where a number is missing in any row, or there are no rows."""
    counts = rows.agg(f.count("*"), *(f.count_if(f.col(c).isNull() | f.isnan(c)) for c in columns)).first()
    assert counts is not None
    if counts[0] == 0:
        raise IncompleteInput(f"{args.table} has no rows to prepare")
    remedy = (
        "gold/fills has nothing for these: fill them with impute, by another --method where it has run"
        if args.fills
        else "fill them with impute, then prepare with --fills true"
    )
    for column, missing in zip(columns, counts[1:], strict=True):
        if missing:
            name = f"the label {args.label!r}" if column == LABEL else column
            raise IncompleteInput(f"{name} is missing in {missing} of {counts[0]} rows of {args.table}: {remedy}")


if __name__ == "__main__":
    run(main, Args)
