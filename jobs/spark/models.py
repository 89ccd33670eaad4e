"""Where models are: a folder under the lake for each; and which of them is live at a cut."""

import json
import os
from functools import reduce
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from common.embedding import Manifest, read_manifest
from common.errors import ConfigError, ContractError, IncompleteInput


def models_folder(lake: str) -> Path:
    """The folder of the lake's models; raises ConfigError where the lake is not a mounted path.

    The speed layer and serving read models as files, so they need a path that all machines see.
    """
    where = urlparse(lake)
    if where.scheme not in ("", "file"):
        raise ConfigError(f"models need a mounted path, and the lake is {where.scheme}://: give --lake as a path")
    return Path(where.path).absolute() / "models"


_TRAINING_FILE = "metrics.json"


def read_training(folder: Path) -> dict[str, Any] | None:
    """What the run that trained the model counted; None where there is no whole model in the folder."""
    try:
        read_manifest(folder)
        return json.loads((folder / _TRAINING_FILE).read_text(encoding="utf-8"))
    except (ContractError, FileNotFoundError):
        return None


def write_training(folder: Path, counts: dict[str, Any]) -> None:
    """Keep what a training counted: a model whose folder has it is whole."""
    part = folder / f"{_TRAINING_FILE}.part"
    part.write_text(json.dumps(counts, sort_keys=True), encoding="utf-8")
    os.replace(part, folder / _TRAINING_FILE)


def newest_model(lake: str, cut_ms: int) -> tuple[Path, Manifest]:
    """The model of the newest cut not after ``cut_ms``; of several the one written last.

    Raises IncompleteInput where there is none.
    """
    found = []
    for path in models_folder(lake).glob("*/manifest.json"):
        manifest = read_manifest(path.parent)
        if manifest.cut_ms <= cut_ms:
            found.append((manifest.cut_ms, path.stat().st_mtime_ns, path.parent, manifest))
    if not found:
        raise IncompleteInput(f"no model was trained up to the cut in {models_folder(lake)}: run train_als first")
    _, _, folder, manifest = max(found, key=lambda x: x[:2])
    return folder, manifest


def model_named(lake: str, model_version: str) -> tuple[Path, Manifest]:
    """The model of that version; raises ContractError where it is not there."""
    folder = models_folder(lake) / model_version
    return folder, read_manifest(folder)


def model_of_lists(lake: str, *lists: DataFrame) -> tuple[Path, Manifest]:
    """The model whose item indexes the lists use; raises IncompleteInput where they name none, or different ones."""
    named = reduce(DataFrame.unionAll, (frame.select("model_version") for frame in lists))
    versions = sorted(row[0] for row in named.where(f.col("model_version").isNotNull()).distinct().collect())
    if len(versions) != 1:
        told = f"are of different models ({', '.join(versions)})" if versions else "name no model"
        raise IncompleteInput(f"the lists of visitors and of items {told}: run recommend again")
    return model_named(lake, versions[0])
