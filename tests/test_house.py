"""Guards of the house: names, doors and tracked files. The package names are plain, so these must hold."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from setuptools import find_packages

from conftest import group_of

ROOT = Path(__file__).parents[1]
ROOMS = ("common", "views", "jobs", "streaming", "serving", "local", "cli")


def tracked_files() -> list[Path]:
    """Return what the repository holds, or would hold: tracked files and new ones that are not ignored."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a checkout: this test reads the list of tracked files")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return [ROOT / name for name in os.fsdecode(listed.stdout).split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("room", ROOMS)
def test_no_other_distribution_claims_our_package_names(room: str) -> None:
    owners = set(importlib.metadata.packages_distributions().get(room, ()))
    assert owners <= {"dovetail"}, f"{room} is also claimed by {sorted(owners - {'dovetail'})}: uninstall it"


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_bears_a_standard_library_name(room: str) -> None:
    """`spark-submit jobs/x.py` puts jobs/ first on the path: a jobs/queue.py would then be everybody's `queue`."""
    modules = {path.stem: path for path in (ROOT / room).rglob("*.py") if path.stem != "__init__"}
    modules |= {path.parent.name: path.parent for path in (ROOT / room).rglob("__init__.py")}
    clashes = {str(path.relative_to(ROOT)) for name, path in modules.items() if name in sys.stdlib_module_names}
    assert not clashes, f"rename {sorted(clashes)}: the standard library has modules of these names"


def test_setup_lists_exactly_the_packages_that_exist() -> None:
    listed = re.search(r"^PACKAGES = \[(.*?)\]", (ROOT / "setup.py").read_text(), re.S | re.M)
    assert listed is not None
    declared = set(re.findall(r'"([\w.]+)"', listed[1]))
    assert declared == set(find_packages(str(ROOT), include=[f"{room}*" for room in ROOMS]))


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


def test_the_tests_are_no_packages() -> None:
    """tests/common/__init__.py would shadow common."""
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_import_rules_hold() -> None:
    command = shutil.which("lint-imports", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert command is not None, "lint-imports is missing: pip install -c requirements.lock -e '.[test]'"
    result = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


# Written in pieces, so that this file does not find itself.
MACHINE_PATH = re.compile(r"(?:^|[^\w.$<)}\]-])/(?:wor" + r"k|roo" + r"t|farm|home/\w)" + r"(?:/|\b)|/tm" + r"p/[a-z]")
REGISTRY_HOST = re.compile(
    r"https?://[\w.-]*(?:maven|pypi|artifactory|nexus|docker\.io|ghcr\.io|quay\.io)[\w.-]*", re.I
)
XML_NAMESPACE = re.compile(r"https?://maven\.apache\.org/(?:POM|xsd|SETTINGS)/[\w./-]+")
BINARY = {".png", ".ico", ".woff2", ".parquet", ".arrow", ".zip"}


def test_no_machine_path_and_no_registry_host_in_tracked_files() -> None:
    found = []
    for path in tracked_files():
        if path.suffix in BINARY or path.name == "requirements.lock":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            text = XML_NAMESPACE.sub("", line)
            if MACHINE_PATH.search(text) or REGISTRY_HOST.search(text):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, "paths of one machine or registry hosts; each wants a setting:\n" + "\n".join(found)


def test_no_large_file_is_tracked() -> None:
    large = [str(path.relative_to(ROOT)) for path in tracked_files() if path.stat().st_size > 1 << 20]
    assert not large, "data and jars do not belong in the repository"


def test_files_that_need_an_engine_share_it_in_one_process() -> None:
    """A file that is no part of a named group would start Spark, Flink or servers a second time."""
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    engines = [
        name
        for path in files
        if re.search(r"pytest\.mark\.(spark|flink|platform)\b", path.read_text(encoding="utf-8"))
        and group_of(name := path.relative_to(ROOT).as_posix()) == name
    ]
    assert engines == [], f"name a group for {engines} in conftest.py"
