"""A job started twice by mistake is found on the cluster that the submission goes to."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from common.errors import ServerUnavailable
from streaming.flink.running import running

JOBS = [
    {"jid": "a", "name": "dovetail-speed-g1", "state": "CANCELED"},
    {"jid": "b", "name": "dovetail-speed-g2", "state": "RESTARTING"},
    {"jid": "c", "name": "other-speed-g1", "state": "RUNNING"},
]


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
    assert running(settings, "dovetail-speed-g2") == "b"
    assert running(settings, "dovetail-speed-g1") is None, "it ended"
    assert running(settings, "dovetail-speed-g3") is None


def test_a_local_run_has_no_cluster_to_ask() -> None:
    assert running({"execution.target": "local"}, "dovetail-speed-g2") is None
    assert running({}, "dovetail-speed-g2") is None


def test_a_cluster_that_does_not_answer_is_said() -> None:
    with pytest.raises(ServerUnavailable, match="does not answer"):
        running({"execution.target": "remote", "rest.address": "127.0.0.1", "rest.port": "1"}, "x")
