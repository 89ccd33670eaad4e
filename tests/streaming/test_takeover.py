"""From where on a generation emits what is no view, as text, as a condition, and as the applications' names."""

import pytest

from common.errors import ConfigError
from streaming.names import OUTPUTS, consumer_group, job_name, parts_of, unit, unit_of
from streaming.run import arguments, parse
from streaming.takeover import TakeOver

NEEDED = ["--kafka", "k:9092", "--cassandra", "c:9042", "--generation", "g3"]


def test_a_take_over_is_the_text_that_it_is_written_as() -> None:
    made = TakeOver({1: 7, 0: 12}, 99)
    assert str(made) == "0=12,1=7@99"
    assert TakeOver.parse(str(made)) == made
    assert TakeOver.parse("") == TakeOver() and str(TakeOver()) == "" and not TakeOver()


@pytest.mark.parametrize("text", ["0=12", "0=12@", "0=12@soon", "0@9", "a=1@9"])
def test_what_is_no_take_over_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="PARTITION=OFFSET"):
        TakeOver.parse(text)


def test_a_partition_that_is_not_named_is_new() -> None:
    assert TakeOver({0: 12, 1: 7}, 9).reached() == (
        "(`partition` <> 0 OR `offset` >= CAST(12 AS BIGINT)) AND (`partition` <> 1 OR `offset` >= CAST(7 AS BIGINT))"
    )
    assert TakeOver().reached() == "TRUE"


def test_an_application_with_some_of_the_outputs_has_a_name_of_its_own() -> None:
    assert unit("g3") == "g3" and parts_of("g3") == ("g3", OUTPUTS)
    name = unit("g3", ("archive", "visitors"))
    assert name == "g3-visitors-archive" and parts_of(name) == ("g3", ("visitors", "archive"))
    assert unit_of("shop", job_name("shop", name)) == name and unit_of("other", job_name("shop", name)) is None
    args = arguments(parse([*NEEDED, "--outputs", "archive,visitors", "--checkpoints", "/c"]), "g3", 17)
    assert args.outputs == ("visitors", "archive")
    assert args.raw.group == consumer_group(name) == f"dovetail-speed-{name}"
    assert args.settings.job_name == f"dovetail-speed-{name}" and args.settings.checkpoints == f"/c/{name}"


def test_an_output_that_is_none_is_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        parse([*NEEDED, "--outputs", "visitors,profiles"])
    assert "there is no output profiles" in capsys.readouterr().err
