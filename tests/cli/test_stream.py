"""The stream's commands against a Flink that answers as told: what they ask of it, and what they refuse."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import cli.applications
from cli.main import main


class Flink(HTTPServer):
    """Jobs by name and state, and what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.jobs: dict[str, str] = {}
        self.asked: list[tuple[str, Any]] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Flink

    def do_GET(self) -> None:
        if self.path == "/jobs/overview":
            jobs = [{"jid": f"id-{name}", "name": name, "state": state} for name, state in self.server.jobs.items()]
            self._say({"jobs": jobs})
        elif self.path.endswith("/savepoints/7"):
            where = self.server.asked[-1][1]["targetDirectory"]
            self._say({"status": {"id": "COMPLETED"}, "operation": {"location": f"{where}/savepoint-1"}})
        elif self.path.endswith("/checkpoints"):
            self._say({"counts": {"completed": 12}, "latest": {"completed": {"state_size": 4096}}})
        elif self.path.endswith("/exceptions"):
            self._say({"exceptionHistory": {"entries": [{}]}})
        else:
            steps = [{"name": "Deduplicate[38]", "parallelism": 2}, {"name": "streaming-writer", "parallelism": 3}]
            self._say({"state": "RUNNING", "vertices": steps})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        self._say({"request-id": "7"})

    def _say(self, body: Any) -> None:
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test's output is enough."""


@pytest.fixture
def flink() -> Iterator[Flink]:
    server = Flink()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The settings of each submission, in place of the submission itself."""
    found: list[tuple[str, ...]] = []

    def note(env: str, overrides: tuple[str, ...]) -> int:
        found.append(overrides)
        return 0

    monkeypatch.setattr(cli.applications, "_submit", note)
    return found


def run(flink: Flink, folder: Path, *words: str) -> int:
    where = ["--set", f"flink.jobmanager={flink.address}", "--set", f"flink.checkpoints={folder}"]
    return main(["stream", *words, *where])


def state(folder: Path, name: str, at: int) -> Path:
    made = folder / name
    made.mkdir(parents=True)
    (made / "_metadata").write_bytes(b"")
    os.utime(made / "_metadata", (at, at))
    return made


def test_status_names_each_generation_of_the_keyspace(flink, tmp_path, capsys) -> None:
    flink.jobs = {"dovetail-speed-g3": "RUNNING", "other-speed-g1": "RUNNING", "dovetail-speed-g2": "CANCELED"}
    assert run(flink, tmp_path, "status") == 0
    assert capsys.readouterr().out == "g3  RUNNING  1 restarts  12 checkpoints  4096 bytes\n"


def test_stop_takes_a_savepoint_in_the_generations_folder(flink, tmp_path, capsys) -> None:
    flink.jobs = {"dovetail-speed-g3": "RUNNING"}
    assert run(flink, tmp_path, "stop") == 0
    (path, body), where = flink.asked[0], (tmp_path / "g3" / "savepoints").as_uri()
    assert (path, body) == ("/jobs/id-dovetail-speed-g3/stop", {"targetDirectory": where, "drain": False})
    assert f"its state is {where}/savepoint-1" in capsys.readouterr().out


def test_resume_goes_on_from_the_newest_state_of_that_generation(flink, tmp_path, submitted) -> None:
    state(tmp_path, "g3/job/chk-8", 1)
    newest = state(tmp_path, "g3/savepoints/savepoint-1", 2)
    state(tmp_path, "g4/job/chk-9", 3)
    (tmp_path / "g3/job/chk-11").mkdir()  # not complete
    assert run(flink, tmp_path, "resume", "g3") == 0
    assert submitted[0][-2:] == ("run.generation=g3", f"run.savepoint={newest.as_uri()}")
    assert run(flink, tmp_path, "resume", "g3", "--from", "s3://elsewhere/chk-1") == 0
    assert submitted[1][-1] == "run.savepoint=s3://elsewhere/chk-1"


def test_rescale_goes_on_with_another_parallelism_and_the_archives_own(flink, tmp_path, submitted, monkeypatch) -> None:
    flink.jobs = {"dovetail-speed-g3": "RUNNING"}
    running = cli.applications.alive
    monkeypatch.setattr(cli.applications, "alive", lambda *a: {} if flink.asked else running(*a))
    assert run(flink, tmp_path, "rescale", "4") == 0
    where = (tmp_path / "g3" / "savepoints").as_uri()
    assert submitted[0][-4:] == (
        "flink.archive_parallelism=3",
        "flink.parallelism=4",
        "run.generation=g3",
        f"run.savepoint={where}/savepoint-1",
    )


@pytest.mark.parametrize(
    ("jobs", "words", "says"),
    [
        ({}, ["stop"], "0 generations run (none): name one"),
        ({"g1": "RUNNING", "g2": "RUNNING"}, ["stop"], "2 generations run (g1, g2): name one"),
        ({"g1": "RUNNING"}, ["stop", "g2"], "generation g2 does not run; there are: g1"),
        ({"g1": "RESTARTING"}, ["resume", "g1"], "generation g1 runs already"),
        ({}, ["resume", "g1"], "generation g1 has no state in"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(flink, tmp_path, capsys, submitted, jobs, words, says) -> None:
    flink.jobs = {f"dovetail-speed-{name}": state for name, state in jobs.items()}
    assert run(flink, tmp_path, *words) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1 and says in err
    assert submitted == [] and flink.asked == []


def test_states_elsewhere_must_be_named(flink, tmp_path, capsys) -> None:
    where = ["--set", f"flink.jobmanager={flink.address}", "--set", "flink.checkpoints=s3://bucket/state"]
    assert main(["stream", "resume", "g1", *where]) == 2
    assert "name a state with --from" in capsys.readouterr().err
