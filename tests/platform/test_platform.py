"""The platform goes up in one process and down from another, beside a second one, and leaves nothing."""

import subprocess
import sys
import textwrap
import time

import pytest
from confluent_kafka.admin import AdminClient

from common.errors import MissingRequirement
from local.flink import FlinkSize
from local.guard import bearers
from local.paths import project_root
from local.process import running
from local.servers import Platform

pytestmark = pytest.mark.platform

UP = """
import sys
from pathlib import Path
from local.flink import FlinkSize
from local.servers import Platform, Ports
Platform(Path(sys.argv[1]), Ports.pick(), FlinkSize(taskmanagers=1, slots=1)).up()
"""


def test_up_in_one_process_and_down_in_another(tmp_path, monkeypatch):
    mark = f"platform-test-{tmp_path.name}"
    monkeypatch.setenv("DOVETAIL_TEST_PLATFORM", mark)
    with pytest.raises(MissingRequirement, match="no platform was started"):
        Platform.load(tmp_path)
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(UP), str(tmp_path)], check=True, timeout=300, cwd=project_root()
    )
    platform = Platform.load(tmp_path)
    names = {server.name for server in running(tmp_path)}
    assert names == {"kafka", "cassandra", "flink-jobmanager", "flink-taskmanager-1", "flink-supervisor"}
    assert platform.flink.rest.overview()["slots-total"] == 1
    topics = AdminClient({"bootstrap.servers": platform.kafka.address}).list_topics(timeout=10).topics
    assert {"events", "events.rejected"} <= set(topics)
    assert len(topics["events"].partitions) == 2

    with pytest.raises(MissingRequirement, match="already runs"):
        platform.up()
    beside = Platform(tmp_path / "other", platform.ports, FlinkSize())
    with pytest.raises(MissingRequirement, match=f"port {platform.ports.kafka} for kafka is taken"):
        beside.up()
    assert len(running(tmp_path)) == 5

    first = platform.flink.taskmanagers[0].pid
    platform.flink.taskmanagers[0].kill()
    deadline = time.monotonic() + 30
    while platform.flink.taskmanagers[0].pid is None:
        assert time.monotonic() < deadline, "waited 30 s for the supervisor to start the TaskManager again"
        time.sleep(0.1)
    assert platform.flink.taskmanagers[0].pid != first
    platform.flink.wait_ready(90)

    platform.down()
    assert running(tmp_path) == []
    assert bearers("DOVETAIL_TEST_PLATFORM", mark) == []


def test_an_interrupted_start_leaves_nothing(tmp_path):
    program = UP.replace(".up()", ".up(stop_at_first_word)")
    program = "def stop_at_first_word(line):\n    raise KeyboardInterrupt\n" + program
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], timeout=300, cwd=project_root(), capture_output=True, text=True
    )
    assert "KeyboardInterrupt" in done.stderr
    assert running(tmp_path) == []
    assert list((tmp_path / "run").glob("*.pid")) == []
