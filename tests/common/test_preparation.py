"""Preparations without Spark: each step by hand, and the file."""

from pathlib import Path

import numpy as np
import pytest

from common.errors import ContractError
from common.preparation import (
    MinMax,
    OneHot,
    Preparation,
    Target,
    ZScore,
    prepare,
    read_preparation,
    write_preparation,
)

MADE = Preparation(
    name="visits",
    table="gold/sessions",
    table_version=3,
    cut_ms=0,
    label="spend > 0",
    steps=[
        MinMax("intent", 0.0, 10.0),
        MinMax("same", 4.0, 4.0),
        ZScore("pages", 3.0, 2.0),
        ZScore("still", 3.0, 0.0),
        OneHot("device", ["desktop", "mobile"]),
        Target("entry", {"a": 0.75}, 0.5),
    ],
)
ROW = {"intent": 12, "same": 9, "pages": 4, "still": 8, "device": "mobile", "entry": "a"}


def test_each_step_by_hand() -> None:
    assert prepare(MADE, ROW).tolist() == [1.2, 0.5, 0.5, 0.0, 0.0, 1.0, 0.0, 0.75]
    unknown = ROW | {"device": None, "entry": None}
    assert prepare(MADE, unknown).tolist()[4:] == [0.0, 0.0, 1.0, 0.5]
    assert prepare(MADE, ROW | {"device": "tv", "entry": "z"}).tolist()[4:] == [0.0, 0.0, 1.0, 0.5]
    assert prepare(MADE, ROW).dtype == np.float64
    assert MADE.names == [
        "intent min_max",
        "same min_max",
        "pages z_score",
        "still z_score",
        "device=desktop",
        "device=mobile",
        "device other",
        "entry target",
    ]


@pytest.mark.parametrize("value", [None, "many", float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(ContractError, match="pages of the row is"):
        prepare(MADE, ROW | {"pages": value})


def test_the_file_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "parameters.json"
    write_preparation(MADE, path)
    assert read_preparation(path) == MADE
    assert [p.name for p in tmp_path.iterdir()] == ["parameters.json"]
    with pytest.raises(ContractError, match="run prepare first"):
        read_preparation(tmp_path / "none.json")
    path.write_text("{}")
    with pytest.raises(ContractError, match="is not a preparation"):
        read_preparation(path)
