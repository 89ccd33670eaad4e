"""Processes: pid files, readiness with a limit, certain ends, and the guard over whatever an owner started."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from common.errors import MissingRequirement, ServerUnavailable
from local.guard import TOKEN, bearers
from local.memory import PeakMemory
from local.paths import project_root
from local.ports import free_ports, is_open, require_free
from local.process import Server, run, running

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
    "print('up', flush=True)\n"
    "time.sleep(600)",
]


def says_up(server: Server):
    return lambda: server.log.read_bytes().startswith(b"up")


def wait_until(condition, limit: float = 10.0) -> bool:
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_server_is_found_and_stopped_by_another_handle(tmp_path):
    first = Server(tmp_path, "sleeper")
    first.start(SLEEP)
    first.wait_ready(says_up(first), 20)
    second = Server(tmp_path, "sleeper")
    assert second.pid == first.pid
    assert [server.name for server in running(tmp_path)] == ["sleeper"]
    with pytest.raises(MissingRequirement, match="already runs"):
        second.start(SLEEP)
    second.stop(grace=5)
    assert first.pid is None
    assert running(tmp_path) == []


def test_stop_ends_what_ignores_sigterm_and_what_it_started_elsewhere(tmp_path):
    server = Server(tmp_path, "stubborn")
    server.start(STUBBORN, env={"DOVETAIL_TEST_STUBBORN": str(tmp_path)})
    server.wait_ready(says_up(server), 20)
    assert len(bearers("DOVETAIL_TEST_STUBBORN", str(tmp_path))) == 2
    server.stop(grace=0.2)
    assert bearers("DOVETAIL_TEST_STUBBORN", str(tmp_path)) == []


def test_a_pid_given_to_somebody_else_is_not_our_server(tmp_path):
    server = Server(tmp_path, "old")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old.pid").write_text(f'{{"pid": {os.getpid()}, "started": 1}}')
    assert server.pid is None
    server.stop()


def test_a_server_that_ends_or_never_gets_ready_says_so_with_its_log(tmp_path):
    dead = Server(tmp_path, "dead")
    dead.start([sys.executable, "-c", "raise ValueError('bad setting')"])
    with pytest.raises(ServerUnavailable, match="dead ended while starting.*bad setting"):
        dead.wait_ready(lambda: False, 20)
    slow = Server(tmp_path, "slow")
    slow.start(SLEEP)
    with pytest.raises(ServerUnavailable, match="waited 0 s for slow"):
        slow.wait_ready(lambda: False, 0.3)
    slow.stop()
    with pytest.raises(MissingRequirement, match="no-such-program"):
        Server(tmp_path, "none").start(["no-such-program"])


def test_run_gives_output_cause_and_ends_in_time(tmp_path):
    assert run([sys.executable, "-c", "print('fine')"], "a program", 20).strip() == "fine"
    with pytest.raises(ServerUnavailable, match="a program failed with code 1: KeyError: 'x'"):
        run([sys.executable, "-c", "{}['x']"], "a program", 20)
    with pytest.raises(ServerUnavailable, match="waited 0 s for a program"):
        run(SLEEP, "a program", 0.3)


OWNER = """
import os, signal, subprocess, sys, time
from local.guard import guard
# whoever runs the tests in the background has it ignored, and that is inherited
signal.signal(signal.SIGINT, signal.default_int_handler)
guard()
grandchild = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
subprocess.Popen([sys.executable, "-c", grandchild], start_new_session=True).wait()
print(os.environ["DOVETAIL_RUN"], flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_survives_an_owner_however_it_ends(how):
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=project_root(),
    )
    assert owner.stdout is not None
    token = owner.stdout.readline().strip()
    # it extends the test run's own token, so that covers it too
    assert token.startswith(os.environ[TOKEN] + "/")
    assert len(bearers(TOKEN, token)) == 1
    owner.send_signal(how)
    owner.wait(10)
    assert wait_until(lambda: bearers(TOKEN, token) == [])


SHARED = """
import os, pathlib, subprocess, sys, time
import pytest

@pytest.mark.parametrize("name", ["a", "b"])
def test_that_starts_a_server_and_hangs(name):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    pathlib.Path(__file__).with_name(name).write_text(os.environ["DOVETAIL_RUN"])
    time.sleep(600)
"""


def test_nothing_survives_a_run_that_two_processes_share(tmp_path):
    (tmp_path / "test_hanging.py").write_text(SHARED)
    pytest_run = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-n", "2", str(tmp_path)]
    owner = subprocess.Popen(pytest_run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=project_root())
    tokens = [tmp_path / "a", tmp_path / "b"]
    assert wait_until(lambda: all(path.exists() and path.read_text() for path in tokens), 60)
    each = {path.read_text() for path in tokens}
    (token, *others) = {one.rpartition("/")[0] for one in each}
    assert len(each) == 2 and not others, "each owns what it started, the run owns both"
    owner.kill()
    owner.wait(10)
    assert wait_until(lambda: bearers(TOKEN, token) == [])


def test_ports_are_different_and_a_taken_one_is_named():
    import socket

    ports = free_ports(5)
    assert len(set(ports)) == 5
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))
        taken.listen()
        assert is_open(ports[0])
        with pytest.raises(MissingRequirement, match=f"port {ports[0]} for Kafka is taken"):
            require_free(ports[0], "Kafka")
    assert not is_open(ports[0])
    require_free(ports[0], "Kafka")


def test_peak_memory_counts_children(tmp_path):
    with PeakMemory(every=0.05) as memory:
        assert wait_until(lambda: memory.gib > 0)
        alone = memory.gib
        code = "x = bytearray(200_000_000); print('up', flush=True); import time; time.sleep(1)"
        run([sys.executable, "-c", code], "a big child", 20)
    assert memory.gib - alone > 0.15
