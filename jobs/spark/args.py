"""Arguments of a job: a frozen dataclass is the parser.

Each field is typed and bounded with pydantic and explained by the docstring under it; its flag is its name
with hyphens. The submitter resolves configuration to these flags, so the printed command reproduces the run.
"""

import argparse
import dataclasses
import difflib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from common.errors import ConfigError
from common.features.windows import check_cut
from views.connect import ClusterSpec

ARGUMENTS = ConfigDict(use_attribute_docstrings=True, extra="forbid", validate_default=True)
"""The pydantic configuration of every job's ``Args``."""


def parse_instant(value: object) -> int:
    """Epoch milliseconds of ``2026-11-20``, ``2026-11-20T06:00:00Z`` or digits; text without a zone is UTC."""
    if isinstance(value, int):
        return value
    text = str(value).strip()
    if text.lstrip("-").isdigit():
        return int(text)
    try:
        instant = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"{text!r} is not an instant such as 2026-11-20T06:00:00Z or epoch milliseconds") from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return round(instant.timestamp() * 1000)


def _comma_list(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _whole_path(value: str) -> str:
    """A path from the root on, since Delta takes ``a/b`` for a table's name; a URI as it is."""
    return value if "://" in value else os.path.abspath(value)


Instant = Annotated[int, BeforeValidator(parse_instant)]
"""An instant in epoch milliseconds, read from ISO 8601 (UTC) or digits."""

Cut = Annotated[int, BeforeValidator(parse_instant), AfterValidator(check_cut)]
"""The instant a run covers up to, exclusive; on an hour's border."""

Names = Annotated[tuple[str, ...], BeforeValidator(_comma_list)]
"""A list of names, separated by commas."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole, from 0 to 1."""

EnvName = Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")]
"""The name of an environment variable that holds a secret; empty for none."""


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class LakeArgs:
    """What every job takes."""

    lake: Annotated[str, Field(min_length=1), AfterValidator(_whole_path)]
    """Root folder of the lake: a path or a URI of a file system that Spark knows."""


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class JobArgs(LakeArgs):
    """What every job of the nightly chain takes."""

    cut: Cut
    """The instant the run covers up to, exclusive: UTC, on an hour's border."""


@dataclass(frozen=True, kw_only=True, config=ARGUMENTS)
class CassandraArgs:
    """Where the views are."""

    cassandra: Annotated[str, Field(pattern=r"^[^:\s]+:\d+(,[^:\s]+:\d+)*$")] = "127.0.0.1:9042"
    """HOST:PORT of a Cassandra node; several are separated by commas."""

    keyspace: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")] = "dovetail"
    """Keyspace of the views."""

    cassandra_user_env: EnvName = ""
    """Environment variable that holds the user's name; empty for no login."""

    cassandra_password_env: EnvName = ""
    """Environment variable that holds the password; empty for no login."""


def cluster_spec(args: CassandraArgs) -> ClusterSpec:
    """Where the views are; raises ConfigError where the address is none."""
    return ClusterSpec.parse(args.cassandra, args.keyspace, args.cassandra_user_env, args.cassandra_password_env)


def secret(env_name: str) -> str:
    """The secret in an environment variable, or an empty text for an empty name.

    Raises ConfigError where a named variable is not set.
    """
    if not env_name:
        return ""
    value = os.environ.get(env_name, "")
    if not value:
        raise ConfigError(f"environment variable {env_name} is not set: export it before starting the job")
    return value


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; see --help")


def parse(args_class: type[Any], argv: Sequence[str], prog: str) -> Any:
    """An instance of the arguments' dataclass from a command line.

    Raises ConfigError in one line where a flag is unknown (with the nearest known one), missing or out of bounds.
    """
    parser = _Parser(prog=prog, description=(args_class.__doc__ or "").strip(), allow_abbrev=False)
    flags = {}
    told = explained(args_class)
    for field in dataclasses.fields(args_class):
        flag = "--" + field.name.replace("_", "-")
        flags[flag] = field.name
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        text = told[field.name] if required else f"{told[field.name]} Default: {field.default!r}."
        parser.add_argument(flag, dest=field.name, required=required, default=None, help=text.replace("%", "%%"))
    for word in argv:
        flag = word.split("=", 1)[0]
        if flag.startswith("--") and flag not in flags and flag != "--help":
            near = difflib.get_close_matches(flag, flags, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(flags))}"
            raise ConfigError(f"{prog}: unknown argument {flag}{hint}")
    given = {k: v for k, v in vars(parser.parse_args(argv)).items() if v is not None}
    return build(args_class, given, prog)


def explained(args_class: type[Any]) -> dict[str, str]:
    """The docstring under each field, inherited ones too."""
    found: dict[str, str] = {}
    for owner in reversed(args_class.__mro__):
        for name, field in getattr(owner, "__pydantic_fields__", {}).items():
            if field.description:
                found[name] = field.description
    return {field.name: found.get(field.name, "") for field in dataclasses.fields(args_class)}


def build(args_class: type[Any], values: dict[str, Any], prog: str) -> Any:
    """An instance of the arguments' dataclass from a mapping; raises ConfigError in one line."""
    try:
        return TypeAdapter(args_class).validate_python(values)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            name = ".".join(str(part) for part in fault["loc"]) or "arguments"
            faults.append(f"--{name.replace('_', '-')}: {fault['msg'].removeprefix('Value error, ')}")
        raise ConfigError(f"{prog}: {'; '.join(faults)}") from None
