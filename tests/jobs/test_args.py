"""A job's command line is its dataclass: unknown, missing and out-of-bounds arguments are refused in one line."""

import importlib
import pkgutil
from dataclasses import fields

import pytest

import jobs
from common.errors import ConfigError
from jobs import import_events, segment, train_als
from jobs.spark.args import build, explained, parse, parse_instant, secret

MODULES = sorted(m.name for m in pkgutil.iter_modules(jobs.__path__) if not m.ispkg)


def test_text_becomes_typed_arguments():
    args = parse(
        train_als.Args, ["--lake", "l", "--cut", "2026-11-20T06:00:00Z", "--rank=8", "--reg", "0.1"], "train_als"
    )
    assert (args.cut, args.rank, args.reg) == (1_795_154_400_000, 8, 0.1)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--lake", "l", "--cut", "0", "--rnak", "8"], "unknown argument --rnak; did you mean --rank"),
        (["--cut", "0"], "required: --lake"),
        (["--lake", "l", "--cut", "yesterday"], "--cut: 'yesterday' is not an instant"),
        (["--lake", "l", "--cut", "1"], "--cut: cut 1 is not on an hour's border"),
        (["--lake", "l", "--cut", "0", "--rank", "0"], "--rank: Input should be greater than or equal to 1"),
        (["--lake", "l", "--cut", "0", "--rank", "many"], "--rank: .*valid integer"),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(argv, message):
    with pytest.raises(ConfigError, match=message) as error:
        parse(train_als.Args, argv, "train_als")
    assert "\n" not in str(error.value)


def test_a_choice_is_closed():
    with pytest.raises(ConfigError, match="--format: .*'rees46'"):
        build(import_events.Args, {"lake": "l", "format": "excel", "path": "p"}, "import_events")


def test_booleans_and_instants_are_read_from_text():
    assert parse_instant("2011-12-10") == parse_instant("2011-12-10T00:00:00+00:00") == 1_323_475_200_000
    assert parse_instant("2011-12-10T02:00:00+02:00") == parse_instant("1323475200000")


def test_a_secret_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    with pytest.raises(ConfigError, match="NOT_SET_HERE is not set"):
        secret("NOT_SET_HERE")


@pytest.mark.parametrize("name", MODULES)
def test_each_job_has_the_four_parts_and_explains_its_arguments(name):
    module = importlib.import_module(f"jobs.{name}")
    assert callable(module.main)
    assert [field.name for field in fields(module.Args) if not explained(module.Args)[field.name]] == []
    assert module.Args.__dataclass_params__.frozen


def test_help_says_what_each_argument_is(capsys):
    with pytest.raises(SystemExit):
        parse(segment.Args, ["--help"], "segment")
    assert "Fewest segments tried" in capsys.readouterr().out
