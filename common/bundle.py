"""The bundle: ``dovetail.zip``, all packages in one file, first on the path of every driver and worker.

The same sources give the same bytes: names are sorted, and times and permissions fixed.
"""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from common.errors import MissingRequirement

PACKAGES = ("common", "views", "jobs", "streaming", "serving", "local", "cli")

_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o100644 << 16
_LEFT_OUT = {"__pycache__"}


def build(home: Path, out: Path) -> Path:
    """Write the bundle of the packages in ``home`` to ``out`` and return it; unchanged sources leave it untouched.

    Raises MissingRequirement where a package is not there.
    """
    for package in PACKAGES:
        if not (home / package / "__init__.py").is_file():
            raise MissingRequirement(f"package {package} is not in {home.name}/: run from a checkout of Dovetail")
    out.parent.mkdir(parents=True, exist_ok=True)
    # of this process alone: two may build at once
    fresh = out.with_name(f".{out.name}.{os.getpid()}.new")
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as bundle:
        for path in sorted(_files(home), key=lambda path: path.relative_to(home).as_posix()):
            entry = zipfile.ZipInfo(path.relative_to(home).as_posix(), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = _FILE_MODE
            bundle.writestr(entry, path.read_bytes())
    if out.is_file() and out.read_bytes() == fresh.read_bytes():
        fresh.unlink()
    else:
        fresh.replace(out)
    return out


def _files(home: Path) -> Iterator[Path]:
    for package in PACKAGES:
        for path in (home / package).rglob("*"):
            if path.is_file() and not _LEFT_OUT.intersection(path.parts) and path.suffix != ".pyc":
                yield path
