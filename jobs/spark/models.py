"""Where models are: a folder under the lake for each, found by the cut they were trained at."""

from pathlib import Path
from urllib.parse import urlparse

from common.embedding import Manifest, read_manifest
from common.errors import ConfigError, IncompleteInput


def models_folder(lake: str) -> Path:
    """The folder of the lake's models; raises ConfigError where the lake is not a mounted path.

    The speed layer and serving read models as files, so they need a path that all machines see.
    """
    where = urlparse(lake)
    if where.scheme not in ("", "file"):
        raise ConfigError(f"models need a mounted path, and the lake is {where.scheme}://: give --lake as a path")
    return Path(where.path).absolute() / "models"


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
