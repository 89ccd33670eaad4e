"""The bundle: complete, importable, and the same bytes from the same sources."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from common import bundle
from common.errors import MissingRequirement


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for package in bundle.PACKAGES:
        (tmp_path / package / "__pycache__").mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text(f'"""{package}"""\n')
        (tmp_path / package / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"")
    (tmp_path / "serving" / "static").mkdir()
    (tmp_path / "serving" / "static" / "page.html").write_text("<p>")
    return tmp_path


def test_it_holds_all_packages_with_their_data_and_no_leftovers(house: Path) -> None:
    names = zipfile.ZipFile(bundle.build(house, house / "dist" / "x.zip")).namelist()
    assert set(names) == {f"{package}/__init__.py" for package in bundle.PACKAGES} | {"serving/static/page.html"}
    assert names == sorted(names)


def test_the_same_sources_give_the_same_bytes(house: Path) -> None:
    first = bundle.build(house, house / "a.zip").read_bytes()
    os.utime(house / "cli" / "__init__.py", (0, 0))
    (house / "cli" / "__init__.py").chmod(0o600)
    assert bundle.build(house, house / "b.zip").read_bytes() == first


def test_unchanged_sources_leave_the_bundle_untouched(house: Path) -> None:
    out = bundle.build(house, house / "a.zip")
    os.utime(out, (1_000, 1_000))
    assert bundle.build(house, out).stat().st_mtime == 1_000
    (house / "cli" / "more.py").write_text("")
    assert bundle.build(house, out).stat().st_mtime > 1_000


def test_it_can_be_imported(house: Path) -> None:
    out = bundle.build(house, house / "a.zip")
    code = "import cli, common; print(cli.__doc__, common.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(out)}
    printed = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd="/", capture_output=True, text=True, check=True
    ).stdout
    assert printed.startswith("cli ") and str(out) in printed


def test_a_missing_package_is_named(house: Path) -> None:
    (house / "views" / "__init__.py").unlink()
    with pytest.raises(MissingRequirement, match="package views"):
        bundle.build(house, house / "a.zip")
