"""Preparation: how columns of a table become the numbers that a model takes, the same in Spark and in serving.

jobs/prepare.py fits a Spark ML pipeline and exports its parameters as a :class:`Preparation`; :func:`prepare` applies
them to one row without Spark, equal to the pipeline to 1e-9.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.errors import ContractError


class MinMax(msgspec.Struct, frozen=True, tag="min_max"):
    """A number brought from [``low``, ``high``] to [0, 1], beyond where it lies beyond; 0.5 where both are equal."""

    column: str
    low: float
    high: float


class ZScore(msgspec.Struct, frozen=True, tag="z_score"):
    """A number's distance to the mean in sample standard deviations; 0 where the deviation is 0."""

    column: str
    mean: float
    deviation: float


class OneHot(msgspec.Struct, frozen=True, tag="one_hot"):
    """A place for each known text, in this order, and a last one for all others and for none at all."""

    column: str
    values: list[str]


class Target(msgspec.Struct, frozen=True, tag="target"):
    """A text as the mean of the label where it stood, drawn to the mean of all; ``other`` for what was never seen."""

    column: str
    values: dict[str, float]
    other: float


Step = MinMax | ZScore | OneHot | Target


class Preparation(msgspec.Struct, frozen=True, kw_only=True):
    """The steps of a preparation, whose outputs follow each other in the features, and what they were fitted on."""

    name: str
    table: str
    table_version: int
    cut_ms: int
    label: str
    steps: list[Step]

    @property
    def names(self) -> list[str]:
        """A name for each feature."""
        names: list[str] = []
        for step in self.steps:
            if isinstance(step, OneHot):
                names += [f"{step.column}={value}" for value in step.values] + [f"{step.column} other"]
            else:
                names.append(f"{step.column} {step.__struct_config__.tag}")
        return names


def prepare(preparation: Preparation, row: Mapping[str, Any]) -> NDArray[np.float64]:
    """The features of a row, in the order of ``preparation.names``.

    Raises ContractError where a number is missing or is none: what fills it is jobs/impute.py's to say.
    """
    features: list[float] = []
    for step in preparation.steps:
        value = row.get(step.column)
        match step:
            case MinMax(column, low, high):
                features.append(0.5 if low == high else (_number(column, value) - low) / (high - low))
            case ZScore(column, mean, deviation):
                features.append((_number(column, value) - mean) / deviation if deviation else 0.0)
            case OneHot(_, values):
                place = values.index(value) if value in values else len(values)
                features += [float(i == place) for i in range(len(values) + 1)]
            case Target(_, values, other):
                features.append(other if value is None else values.get(value, other))
    return np.array(features, dtype=np.float64)


def _number(column: str, value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise ContractError(f"{column} of the row is {type(value).__name__}, not a finite number: fill it first")
    return found


def write_preparation(preparation: Preparation, path: Path) -> None:
    """Write the parameters as JSON; the file is there whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(preparation), indent=2) + b"\n")
    fresh.replace(path)


def read_preparation(path: Path) -> Preparation:
    """The inverse of :func:`write_preparation`; raises ContractError where the file is not there or is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Preparation)
    except FileNotFoundError:
        raise ContractError(f"there is no preparation {path}: run prepare first") from None
    except msgspec.DecodeError as error:
        raise ContractError(f"{path} is not a preparation: {error}") from error
