"""The command line of the application: types, bounds, what contradicts."""

import pytest

from common.errors import ConfigError
from common.features.windows import DAY_MS, MINUTE_MS
from common.triggers import RULES
from streaming.flink.environment import Settings, as_uri, asked, defaults
from streaming.run import arguments, main, parse, span

NEEDED = ["--kafka", "k:9092", "--cassandra", "c:9042", "--generation", "g3"]


def test_what_is_not_given_has_its_default() -> None:
    args = arguments(parse(NEEDED), "g3", 17)
    assert (args.lateness_ms, args.gap_ms) == (10 * MINUTE_MS, 30 * MINUTE_MS)
    assert (args.raw.topic, args.raw.group, args.rejected_topic) == ("events", "dovetail-speed-g3", "events.rejected")
    assert (args.target.generation, args.target.created_ms, args.target.ttl_s) == ("g3", 17, 7 * 86_400)
    assert args.archive == "" and args.target.fault is None
    assert (args.triggers_topic, args.rules) == ("", RULES)


def test_rules_are_added_to_the_declared_ones() -> None:
    more = [
        "--triggers-topic",
        "t",
        "--triggers",
        "a: rate not share within 1 hour per item,b: cart not uncart within 9 minutes per visitor",
    ]
    args = arguments(parse([*NEEDED, *more]), "g3", 17)
    assert [rule.name for rule in args.rules] == [*(rule.name for rule in RULES), "a", "b"]


def test_spans_are_words_or_milliseconds() -> None:
    assert (span("10 minutes"), span("500"), span("8 days")) == (10 * MINUTE_MS, 500, 8 * DAY_MS)
    with pytest.raises(SystemExit):
        parse([*NEEDED, "--lateness", "soon"])


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["--lateness", "3 days"], "--lateness"),
        (["--state-ttl", "7 days"], "--state-ttl"),
        (["--view-ttl", "1 day", "--state-ttl", "2 days"], "--state-ttl"),
        (["--flink", "no-value"], "--flink"),
        (["--fault", "seed=1"], "--fault"),
        (["--triggers-topic", "t", "--triggers", "view not cart"], "is no trigger"),
        (["--triggers", "a: rate not share within 1 hour per item"], "--triggers-topic"),
    ],
)
def test_arguments_that_contradict_are_refused(given: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        arguments(parse([*NEEDED, *given]), "g3", 17)


def test_a_missing_key_is_told_before_anything_is_asked_of_a_server(monkeypatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        main([*NEEDED, "--pseudonym-key-env", "NO_SUCH_KEY"])


def test_asked_settings_win_and_defaults_yield() -> None:
    settings = Settings(parallelism=4, checkpoints="/data/checkpoints", overrides={"state.backend.type": "rocksdb"})
    assert asked(settings) == {
        "parallelism.default": "4",
        "execution.checkpointing.dir": "file:///data/checkpoints",
        "state.backend.type": "rocksdb",
    }
    keys = defaults(settings)
    assert keys["table.exec.mini-batch.enabled"] == "false"
    assert keys["table.exec.state.ttl"] == f"{8 * DAY_MS} ms"
    assert keys["restart-strategy.type"] == "fixed-delay"
    assert defaults(Settings(restart_attempts=0))["restart-strategy.type"] == "disable"
    assert "execution.checkpointing.interval" not in defaults(Settings(checkpoint_interval_ms=None))


def test_a_uri_stays_itself() -> None:
    assert as_uri("s3://bucket/x") == "s3://bucket/x"
