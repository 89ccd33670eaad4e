"""The Java runtime that the servers run on."""

import os
import shutil
from pathlib import Path

from common.errors import MissingRequirement


def java() -> str:
    """Return the ``java`` program: of JAVA_HOME if that is set, else of PATH; raises ``MissingRequirement``."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    if found is None:
        where = f"JAVA_HOME ({home})" if home else "PATH"
        raise MissingRequirement(f"no java in {where}: install a Java 17 runtime, e.g. openjdk-17-jre-headless")
    return found


def java_home() -> str:
    """Return the home of that runtime, for scripts that insist on JAVA_HOME."""
    return str(Path(java()).resolve().parents[1])


def classpath(folder: Path) -> str:
    """Return the class path entry of all jars of a folder."""
    return str(folder / "*")
