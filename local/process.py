"""A server as a child process: log file, pid file, readiness with a limit, and an end that is certain."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from common.errors import MissingRequirement, ServerUnavailable
from local.guard import sweep

MARK = "DOVETAIL_SERVER"
"""Environment variable by which what a server left behind is found, even after the server itself was killed."""


@dataclass(frozen=True)
class Identity:
    """One process for all time: a pid alone may have been given to somebody else since."""

    pid: int
    started: int
    """Clock ticks after boot, field 22 of ``/proc/<pid>/stat``."""


def identity(pid: int) -> Identity | None:
    """Return who ``pid`` is now, or ``None`` if there is no such process or only its zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else Identity(pid, int(fields[19]))


class Server:
    """One server process under a work folder: ``<folder>/run/<name>.pid`` and ``<folder>/logs/<name>.log``.

    The same object is made again from another process with the same folder and name: what runs is on disk.
    The process leads a session of its own, so Ctrl-C in the terminal reaches its owner first.
    """

    def __init__(self, folder: Path, name: str):
        self.name = name
        self.folder = folder
        self.log = folder / "logs" / f"{name}.log"
        self._mark = f"{folder.resolve()}#{name}"
        self._pid_file = folder / "run" / f"{name}.pid"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
        """Start ``command`` with ``env`` laid over this process's environment; the log is appended to.

        Raises ``MissingRequirement`` if it runs already or the program is not there.
        """
        if (running := self.pid) is not None:
            raise MissingRequirement(f"{self.name} already runs as process {running} in {self.folder}: stop it first")
        sweep(MARK, self._mark, quiet_rounds=1)
        for path in (self.log, self._pid_file):
            path.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            try:
                self._child = subprocess.Popen(
                    list(command),
                    env={**os.environ, **(env or {}), MARK: self._mark},
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                raise MissingRequirement(f"{self.name} needs the program '{error.filename}' on PATH") from error
        who = identity(self._child.pid)
        if who is not None:
            self._pid_file.write_text(json.dumps(asdict(who)))

    @property
    def pid(self) -> int | None:
        """The pid of the running process, whoever started it last, or ``None``."""
        if self._child is not None:
            self._child.poll()  # no zombie is left of a child that ended
        try:
            known = Identity(**json.loads(self._pid_file.read_text()))
        except FileNotFoundError:
            return None
        return known.pid if identity(known.pid) == known else None

    def wait_ready(self, ready: Callable[[], bool], limit: float, every: float = 0.2) -> float:
        """Wait until ``ready()`` and return the seconds since the call; an ``OSError`` in it means not yet.

        Raises ``ServerUnavailable`` with the end of the log when the process ends or ``limit`` seconds pass.
        """
        begun = time.monotonic()
        while True:
            if self.pid is None:
                raise ServerUnavailable(f"{self.name} ended while starting; see {self.log}: {self.last_line()}")
            try:
                if ready():
                    return time.monotonic() - begun
            except OSError:
                pass  # nobody listens yet
            if time.monotonic() - begun > limit:
                raise ServerUnavailable(
                    f"waited {limit:.0f} s for {self.name} to be ready; see {self.log}: {self.last_line()}"
                )
            time.sleep(every)

    def stop(self, grace: float = 10.0) -> None:
        """End the server and all it started: SIGTERM, ``grace`` seconds, then SIGKILL. Does nothing if it is gone."""
        self.send(signal.SIGTERM)
        self.wait_gone(grace)
        sweep(MARK, self._mark, quiet_rounds=1)
        self.wait_gone(10.0)
        self._pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """End the server without warning, as a crash would (SIGKILL), and wait until it is gone."""
        self.send(signal.SIGKILL)
        self.wait_gone(10.0)

    def pause(self) -> None:
        """Freeze the server, as a network cut would look from outside; ``resume`` thaws it."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self.send(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the server runs."""
        if (pid := self.pid) is not None:
            _kill(pid, number)

    def wait_gone(self, limit: float) -> bool:
        """Wait up to ``limit`` seconds for the process to end; return whether it has."""
        deadline = time.monotonic() + limit
        while self.pid is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def last_line(self) -> str:
        """Return the last line of the log that looks like a cause, for an error message."""
        if not self.log.exists():
            return "(no log)"
        with self.log.open("rb") as handle:
            handle.seek(max(0, self.log.stat().st_size - 16_384))
            lines = [line.strip() for line in handle.read().decode("utf-8", "replace").splitlines() if line.strip()]
        causes = [line for line in lines if "Exception" in line or "ERROR" in line or "rror:" in line]
        return (causes or lines or ["(empty log)"])[-1][:300]


def running(folder: Path) -> list[Server]:
    """Return the servers of a work folder that run, whoever started them."""
    servers = [Server(folder, path.stem) for path in sorted((folder / "run").glob("*.pid"))]
    return [server for server in servers if server.pid is not None]


def run(
    command: Sequence[str], what: str, limit: float, env: Mapping[str, str] | None = None, log: Path | None = None
) -> str:
    """Run a command that ends by itself and return what it printed (both streams), appended to ``log`` if given.

    Raises ``ServerUnavailable`` when it fails or takes longer than ``limit`` seconds; its whole session is ended then.
    """
    child = subprocess.Popen(
        list(command),
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired as error:
        raise ServerUnavailable(f"waited {limit:.0f} s for {what}") from error
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as handle:
            handle.write(output)
    if child.returncode != 0:
        where = f"; see {log}" if log is not None else ""
        raise ServerUnavailable(f"{what} failed with code {child.returncode}{where}: {_cause(output)}")
    return output


def _cause(output: str) -> str:
    """Return the line of a failed command's output that most likely says why."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if told:  # a program of this project said it in its own line
        return told[-1][:400]
    named = [line for line in lines if not line.startswith("at ") and ("Exception" in line or "Error" in line)]
    # Flink's launcher wraps what the program said in a line that says nothing
    named = [line for line in named if "Python process exits" not in line]
    return (named or lines or ["(no output)"])[-1][:400]


def descendants(root: int) -> list[Identity]:
    """Return the living processes below ``root``, children before grandchildren."""
    children: dict[int, list[Identity]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] not in "ZX":
                children.setdefault(int(fields[1]), []).append(Identity(int(entry.name), int(fields[19])))
    found: list[Identity] = []
    level = children.get(root, [])
    while level:
        found += level
        level = [below for who in level for below in children.get(who.pid, [])]
    return found


def _kill(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
