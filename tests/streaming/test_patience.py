"""A store that is away is waited for; one that refuses is not."""

import pytest
from cassandra import OperationTimedOut

from common.errors import ConfigError, ServerUnavailable
from streaming.flink import patience
from streaming.flink.patience import patiently


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)


def failing(*errors: Exception):
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "here"

    return call


def test_what_comes_back_in_time_is_waited_for() -> None:
    assert patiently(failing(OperationTimedOut(), ServerUnavailable("away")), deadline_s=5) == "here"


def test_after_the_deadline_the_last_error_is_raised() -> None:
    with pytest.raises(ServerUnavailable, match="away"):
        patiently(failing(*[ServerUnavailable("away")] * 1000), deadline_s=0.01)


def test_a_wrong_login_is_told_at_once() -> None:
    with pytest.raises(ConfigError):
        patiently(failing(ConfigError("refused the login")), deadline_s=5)
