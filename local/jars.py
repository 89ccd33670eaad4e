"""Jars of the engines, fetched once by Maven from the small poms beside this file.

A coordinate is named in one place only: ``local/poms/<name>/pom.xml``.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import MissingRequirement, run_main
from local.paths import build_dir

POMS = Path(__file__).resolve().parent / "poms"
NAMES = ("kafka", "cassandra", "flink", "delta")
STAMP = ".pom.sha256"


def pom(name: str) -> Path:
    """Return the pom of a set of jars; raises ``MissingRequirement`` for an unknown name."""
    path = POMS / name / "pom.xml"
    if not path.is_file():
        raise MissingRequirement(f"no set of jars is called '{name}': choose one of {', '.join(NAMES)}")
    return path


def fetch(name: str, jars_dir: Path | None = None) -> Path:
    """Return the folder with the jars of ``name``, running Maven if it is not there or the pom has changed.

    Safe beside another process that fetches the same set: the folder appears whole or not at all.
    Raises ``MissingRequirement`` when Maven is missing or fails.
    """
    root = jars_dir if jars_dir is not None else build_dir() / "jars"
    target = root / name
    digest = hashlib.sha256(pom(name).read_bytes()).hexdigest()
    if _is_current(target, digest):
        return target
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / f".{name}.lock"):
        if not _is_current(target, digest):
            _download(name, target, digest)
    return target


def jars(name: str, jars_dir: Path | None = None) -> list[Path]:
    """Return the jars of ``name``, fetched if need be, in the order of their names."""
    return sorted(fetch(name, jars_dir).glob("*.jar"))


def _is_current(target: Path, digest: str) -> bool:
    stamp = target / STAMP
    return stamp.is_file() and stamp.read_text().strip() == digest


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _download(name: str, target: Path, digest: str) -> None:
    if shutil.which("mvn") is None:
        raise MissingRequirement(
            f"Maven (mvn) is not on PATH; it is needed once to fetch the {name} jars: install maven"
        )
    print(f"jars: fetching {name} with Maven ...", file=sys.stderr, flush=True)
    begun = time.monotonic()
    fresh = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    try:
        command = ["mvn", "-q", "-B", "-f", str(pom(name)), "dependency:copy-dependencies"]
        options = [f"-DoutputDirectory={fresh}", "-DincludeScope=runtime"]
        done = subprocess.run(command + options, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        found = sorted(fresh.glob("*.jar"))
        if done.returncode != 0 or not found:
            reason = next((line for line in done.stdout.splitlines() if "ERROR" in line), done.stderr or "no jars came")
            raise MissingRequirement(f"Maven could not fetch the {name} jars of {pom(name).name}: {reason[:300]}")
        (fresh / STAMP).write_text(digest + "\n")
        # mkdtemp makes it private to this user; the folder replaces one that anybody may read
        fresh.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        size = sum(path.stat().st_size for path in found) / 1e6
        os.rename(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    seconds = time.monotonic() - begun
    print(f"jars: {name}: {len(found)} jars, {size:.0f} MB, {seconds:.0f} s", file=sys.stderr, flush=True)


def main(names: list[str]) -> None:
    """Fetch the named sets of jars, or all of them."""
    for name in names or NAMES:
        fetch(name)


if __name__ == "__main__":
    sys.exit(run_main(lambda: main(sys.argv[1:])))
