"""Which model lists were made with."""

from typing import Any

import numpy as np
import pytest

from common.embedding import write_model
from common.errors import IncompleteInput
from jobs.spark.models import model_of_lists, models_folder

pytestmark = pytest.mark.spark


def test_lists_of_one_model_name_it_and_others_are_refused(spark, tmp_path):
    folder = models_folder(str(tmp_path)) / "m"
    columns: dict[str, Any] = {"item_ids": ["i"], "categories": ["c"], "titles": ["t"], "prices": [None]}
    write_model(folder, model_version="m", cut_ms=1, alpha=1, reg=0.1, factors=np.ones((1, 2)), **columns)

    def lists(*versions: str | None):
        return spark.createDataFrame([(version,) for version in versions], "model_version string")

    assert model_of_lists(str(tmp_path), lists(), lists("m", "m", None))[0] == folder
    with pytest.raises(IncompleteInput, match=r"are of different models \(m, n\)"):
        model_of_lists(str(tmp_path), lists("n"), lists("m"))
    with pytest.raises(IncompleteInput, match="name no model"):
        model_of_lists(str(tmp_path), lists(), lists(None))
