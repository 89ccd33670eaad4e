"""Logging: one line an event, for people or as JSON, without personal data."""

import io
import json
import logging

import pytest

from common import log
from common.errors import ConfigError


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def test_json_lines_carry_message_and_fields(stream: io.StringIO) -> None:
    log.setup("json", stream=stream)
    log.event(log.get("publish"), "published", version="v20261120_1", rows=3)
    line = json.loads(stream.getvalue())
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "dovetail.publish",
        "message": "published",
        "version": "v20261120_1",
        "rows": 3,
    }


def test_human_lines_are_one_line(stream: io.StringIO) -> None:
    log.setup("human", stream=stream)
    log.event(log.get("land"), "waiting", level=logging.WARNING, files=2)
    assert stream.getvalue().endswith("dovetail.land: warning: waiting files=2\n")


def test_an_exception_keeps_its_trace_in_json(stream: io.StringIO) -> None:
    log.setup("json", stream=stream)
    try:
        raise RuntimeError("defect")
    except RuntimeError:
        log.get("x").exception("failed")
    assert "RuntimeError: defect" in json.loads(stream.getvalue())["exception"]


@pytest.mark.parametrize("field", ["user_id", "visitor_id", "email", "raw", "ip"])
def test_personal_data_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        log.event(log.get("x"), "seen", logging.INFO, **{field: "value"})


def test_an_unknown_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(log.FORMAT_VARIABLE, "xml")
    with pytest.raises(ConfigError, match="DOVETAIL_LOG"):
        log.setup()
