"""Makes sure that no process outlives its owner, however the owner ends.

The owner (a test run, the demo) marks its environment with a token which all descendants inherit, and starts one small
watching process that holds the read end of a pipe. When the owner is gone, by return, Ctrl-C or ``kill -9``, the
pipe closes and the watcher kills every process that bears the token. This finds what no process group does: gateway
JVMs, Python workers of a killed TaskManager, daemons in sessions of their own. Linux only: it reads ``/proc``.
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

TOKEN = "DOVETAIL_RUN"

_pipe: int | None = None


def guard() -> str:
    """Mark this process as the owner of all it starts from now on and return its token; a second call does nothing.

    A token found in the environment is extended, so an outer owner (a test that runs the demo) still covers the inner.
    """
    global _pipe
    if _pipe is not None:
        return os.environ[TOKEN]
    outer = os.environ.get(TOKEN)
    own = f"{outer}/{uuid.uuid4().hex[:12]}" if outer else uuid.uuid4().hex[:12]
    os.environ[TOKEN] = own
    read_end, _pipe = os.pipe()
    subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(__file__).resolve()), own, str(read_end)],
        pass_fds=(read_end,),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        env={key: value for key, value in os.environ.items() if key != TOKEN},
    )
    os.close(read_end)
    return own


def bearers(variable: str, value: str) -> list[int]:
    """Return the processes that inherited ``variable=value`` or an extension ``value/...``, this one left out."""
    wanted, found = f"{variable}={value}".encode(), []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = Path(entry.path, "environ").read_bytes().split(b"\0")
            state = Path(entry.path, "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # gone meanwhile, or another user's
            continue
        if state != "Z" and any(item == wanted or item.startswith(wanted + b"/") for item in environment):
            found.append(int(entry.name))
    return found


def sweep(variable: str, value: str, quiet_rounds: int = 3, pause: float = 0.1) -> int:
    """Kill every bearer of ``variable=value`` until none was seen for ``quiet_rounds`` looks; return how many were.

    More than one look, because a process that was forking at the first one shows the variable only after its exec.
    """
    killed: set[int] = set()
    quiet = 0
    while quiet < quiet_rounds:
        alive = bearers(variable, value)
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            except ProcessLookupError:
                continue
        quiet = 0 if alive else quiet + 1
        if quiet < quiet_rounds:
            time.sleep(pause)
    return len(killed)


def _watch(token: str, read_end: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(read_end, 1):
        pass
    sweep(TOKEN, token)


if __name__ == "__main__":
    _watch(sys.argv[1], int(sys.argv[2]))
