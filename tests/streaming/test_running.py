"""A job started twice by mistake is found on the cluster that the submission goes to."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from common.errors import ServerUnavailable
from streaming.flink.running import running
from streaming.names import OUTPUTS, overlap, unit

JOBS = [
    {"jid": "a", "name": "dovetail-speed-g1", "state": "CANCELED"},
    {"jid": "b", "name": "dovetail-speed-g2", "state": "RESTARTING"},
    {"jid": "c", "name": "other-speed-g1", "state": "RUNNING"},
    {"jid": "d", "name": "dovetail-speed-g4-visitors-archive", "state": "RUNNING"},
]


def writes(generation: str, *outputs: str, shared: tuple[str, ...] = ()) -> Callable[[str], bool]:
    return lambda job: overlap("dovetail", job, unit(generation, outputs or OUTPUTS), shared)


class Overview(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        text = json.dumps({"jobs": JOBS}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is enough."""


@pytest.fixture
def settings() -> Iterator[dict[str, str]]:
    server = HTTPServer(("127.0.0.1", 0), Overview)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {"execution.target": "remote", "rest.address": "127.0.0.1", "rest.port": str(server.server_port)}
    server.shutdown()
    server.server_close()


def test_a_job_that_runs_or_restarts_is_found_by_its_name(settings) -> None:
    assert running(settings, writes("g2")) == ("b", "dovetail-speed-g2")
    assert running(settings, writes("g1")) is None, "it ended"
    assert running(settings, writes("g3")) is None


def test_a_job_with_one_of_the_same_outputs_is_found(settings) -> None:
    found = ("d", "dovetail-speed-g4-visitors-archive")
    assert running(settings, writes("g4")) == running(settings, writes("g4", "items", "archive")) == found
    assert running(settings, writes("g4", "items", "sessions")) is None
    assert running(settings, writes("g2", "triggers")) == ("b", "dovetail-speed-g2"), "that one has all outputs"


def test_a_job_of_another_generation_is_found_where_both_would_archive(settings) -> None:
    assert running(settings, writes("g3", shared=("archive", "rejected"))) == ("b", "dovetail-speed-g2")
    assert running(settings, writes("g3")) is None, "a replay archives nothing"


def test_a_local_run_has_no_cluster_to_ask() -> None:
    assert running({"execution.target": "local"}, writes("g2")) is None
    assert running({}, writes("g2")) is None


def test_a_cluster_that_does_not_answer_is_said() -> None:
    with pytest.raises(ServerUnavailable, match="does not answer"):
        running({"execution.target": "remote", "rest.address": "127.0.0.1", "rest.port": "1"}, writes("g2"))
