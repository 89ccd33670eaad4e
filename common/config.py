"""Configuration: ``conf/base.yaml <- conf/<env>.yaml <- conf/jobs/<job>.yaml <- --set key=value``, typed.

Whoever submits resolves it; a job gets arguments only and never sees this module. Later layers win key by key.
Unknown keys are refused with a suggestion, values are checked against their types and bounds, and each complaint
names the key, the file it came from and the remedy. Secrets never stand here: a key ``..._env`` holds the name of
the environment variable that has it.
"""

import difflib
import graphlib
import json
import os
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from common.errors import ConfigError

CONF_DIR_VARIABLE = "DOVETAIL_CONF"


# ---- kinds of values

_UNSCHEDULED = ("always", "on request")


def _host_port(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("is not HOST:PORT, for example 127.0.0.1:9042")
    return value


def _hosts_ports(value: str) -> str:
    for part in value.split(","):
        _host_port(part)
    return value


def _variable_name(value: str) -> str:
    if value and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):
        raise ValueError("must be the name of an environment variable (A-Z, 0-9, _), never the secret itself")
    return value


def _memory(value: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*[mg]", value):
        raise ValueError("is not an amount of memory such as 512m or 2g")
    return value


def _identifier(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,47}", value):
        raise ValueError("is not a name of small letters, digits and _ that begins with a letter")
    return value


def _schedule(value: str) -> str:
    if value not in _UNSCHEDULED and not re.fullmatch(r"[\d*/,-]+( [\d*/,-]+){4}", value):
        raise ValueError("is neither a crontab's five fields (UTC) nor always nor on request")
    return value


def _not_empty(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    return value


HostPort = Annotated[str, AfterValidator(_host_port)]
HostPorts = Annotated[str, AfterValidator(_hosts_ports)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
Memory = Annotated[str, AfterValidator(_memory)]
Identifier = Annotated[str, AfterValidator(_identifier)]
Text = Annotated[str, AfterValidator(_not_empty)]
Port = Annotated[int, Field(ge=1, le=65535)]
Positive = Annotated[int, Field(ge=1)]
Scalar = str | int | float | bool | None


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


# ---- the keys; what each means and its default is written in conf/base.yaml


class Lake(_Section):
    root: Text
    archive: Text


class Kafka(_Section):
    bootstrap: HostPorts
    events_topic: Text
    rejected_topic: Text
    triggers_topic: Text
    partitions: Positive
    replication: Positive
    retention_days: Positive


class Cassandra(_Section):
    contact: HostPorts
    keyspace: Identifier
    replication: Annotated[int, Field(ge=1, le=9)]
    user_env: VariableName
    password_env: VariableName


class Pseudonym(_Section):
    key_env: VariableName
    key_id: Text


class Size(_Section):
    driver_memory: Memory
    executor_memory: Memory
    executor_cores: Positive
    executors: Positive


class Sizes(_Section):
    small: Size
    medium: Size
    large: Size


class Run(_Section):
    cut: str | None
    generation: str | None
    start: Text
    outputs: str
    savepoint: str | None


class Spark(_Section):
    target: Text
    submit: Text
    master: Text
    python: Text
    jars: tuple[str, ...]
    settings: dict[str, Scalar]
    sizes: Sizes


class Flink(_Section):
    target: Text
    command: Text
    jobmanager: HostPort
    python: Text
    jars: tuple[str, ...]
    parallelism: Positive
    archive_parallelism: Positive
    checkpoints: Text
    settings: dict[str, Scalar]


class Mlflow(_Section):
    tracking_uri: str


class Serving(_Section):
    url: Text
    host: Text
    port: Port


class Local(_Section):
    folder: Text
    kafka_controller_port: Port
    cassandra_storage_port: Port
    cassandra_jmx_port: Port
    flink_rpc_port: Port


class Job(_Section):
    """What ``conf/jobs/<job>.yaml`` says of one job."""

    description: Text
    owner: Text
    engine: Literal["spark", "flink", "python"]
    entry: Text
    schedule: Annotated[str, AfterValidator(_schedule)]
    after: tuple[str, ...] = ()
    resources: Literal["small", "medium", "large"]
    settings: dict[str, Scalar] = Field(default_factory=dict)
    chain: bool = False
    """It runs the scheduled jobs as its steps: what their own files say of their arguments goes along, as ``steps``."""
    arguments: dict[str, Scalar | tuple[str, ...]]


class Config(_Section):
    """All settings of one environment and, where one was asked for, of one job."""

    zip: Text
    run: Run
    lake: Lake
    kafka: Kafka
    cassandra: Cassandra
    pseudonym: Pseudonym
    spark: Spark
    flink: Flink
    mlflow: Mlflow
    serving: Serving
    local: Local
    job: Job | None = None


# ---- layers


@dataclass(frozen=True)
class _Layer:
    source: str
    values: dict[str, Any]


@dataclass
class _Origins:
    """Which layer set which key last, so that a complaint can name it."""

    by_key: dict[str, str] = field(default_factory=dict)

    def of(self, key: str) -> str:
        while key:
            if key in self.by_key:
                return self.by_key[key]
            key = key.rpartition(".")[0]
        return "conf/base.yaml"


class _Loader(yaml.SafeLoader):
    """YAML without surprises: no dates made of text, no key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is not text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def conf_dir() -> Path:
    """Return the folder of the configuration: ``$DOVETAIL_CONF``, else the checkout's, else the installed one."""
    given = os.environ.get(CONF_DIR_VARIABLE)
    here = Path(__file__).resolve().parent
    for folder in [Path(given)] if given else [here.parent / "conf", here / "conf"]:
        if (folder / "base.yaml").is_file():
            return folder
    raise ConfigError(
        f"no base.yaml in {given}: let {CONF_DIR_VARIABLE} name the folder that has it, or unset it"
        if given
        else "conf/base.yaml is missing: run from a checkout, or reinstall dovetail"
    )


def environments(folder: Path | None = None) -> list[str]:
    """Return the names of the environments that ``conf/`` has."""
    return sorted(path.stem for path in (folder or conf_dir()).glob("*.yaml") if path.stem != "base")


def jobs(folder: Path | None = None) -> list[str]:
    """Return the names of the jobs that ``conf/jobs/`` has."""
    return sorted(path.stem for path in ((folder or conf_dir()) / "jobs").glob("*.yaml"))


def in_order(folder: Path | None = None) -> list[str]:
    """Return the scheduled jobs, each after those that its ``after`` names.

    Raises ConfigError where a predecessor is unknown or jobs wait for each other.
    """
    folder = folder or conf_dir()
    known = jobs(folder)
    waits: dict[str, tuple[str, ...]] = {}
    for name in known:
        document = _read(folder / "jobs" / f"{name}.yaml")
        if document.values.get("schedule") in _UNSCHEDULED:
            continue
        waits[name] = tuple(document.values.get("after") or ())
        for before in waits[name]:
            if before not in known:
                raise ConfigError(f"{document.source}: after: there is no job {before!r}{_suggest(before, known)}")
    try:
        order = graphlib.TopologicalSorter(waits).static_order()
        return [name for name in order if name in waits]
    except graphlib.CycleError as error:
        raise ConfigError(
            f"conf/jobs: these jobs wait for each other in a circle: {' > '.join(error.args[1])}"
        ) from None


def load(env: str, job: str | None = None, overrides: Sequence[str] = (), folder: Path | None = None) -> Config:
    """Resolve the settings of environment ``env`` and, if given, of ``job``.

    ``overrides`` are texts ``key=value``, the key dotted (``lake.root=...``, ``job.arguments.top=50``); a value for a
    key that wants text is taken as it is, any other is read as YAML. ``folder`` is that of ``base.yaml``.
    Raises ConfigError with one line that names key, file and remedy.
    """
    folder = folder or conf_dir()
    layers = [_read(folder / "base.yaml"), _read(_existing(folder, env, "environment", environments(folder)))]
    if job is not None:
        path = _existing(folder / "jobs", job, "job", jobs(folder))
        document = _read(path)
        values = document.values
        if values.get("chain") is True:
            own = {**(values.get("arguments") or {}), "steps": json.dumps(_steps(folder), sort_keys=True)}
            values = {**values, "arguments": own}
        layers.append(_Layer(document.source, {"job": values}))
    layers += [_parse_override(text) for text in overrides]

    merged: dict[str, Any] = {}
    origins = _Origins()
    for layer in layers:
        _refuse_unknown(layer, layer.values, Config, "")
        if job is None and "job" in layer.values:
            raise ConfigError(f"{layer.source}: job.* needs a job; leave it out, or name the job")
        _merge(merged, layer.values, layer.source, "", origins)
    return _validate(merged, origins)


def _steps(folder: Path) -> dict[str, dict[str, Any]]:
    """The arguments of each scheduled job that its file gives a value of its own; what refers to a key is left out."""
    found: dict[str, dict[str, Any]] = {}
    for name in in_order(folder):
        given = _read(folder / "jobs" / f"{name}.yaml").values.get("arguments") or {}
        own = {key: value for key, value in given.items() if value not in (None, "") and "${" not in str(value)}
        if own:
            found[name] = own
    return found


def leaves(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Yield each dotted key of the model; a free mapping counts as one."""
    for name, info in model.model_fields.items():
        inner = _model_of(info.annotation)
        if inner is None:
            yield prefix + name
        else:
            yield from leaves(inner, f"{prefix}{name}.")


def _existing(folder: Path, name: str, what: str, known: list[str]) -> Path:
    if name not in known:
        raise ConfigError(f"unknown {what} {name!r}{_suggest(name, known)}; there are: {', '.join(known)}")
    return folder / f"{name}.yaml"


def _suggest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else ""


def _display(path: Path) -> str:
    parts = path.parts
    return "/".join(parts[parts.index("conf") :]) if "conf" in parts else path.name


def _read(path: Path) -> _Layer:
    source = _display(path)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise ConfigError(f"{source} is missing") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{source}{line}: not readable as YAML: {error.problem}") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: must hold keys and values at its top")
    return _Layer(source, values)


def _parse_override(text: str) -> _Layer:
    key, separator, value = text.partition("=")
    source = f"--set {key}"
    if not separator or not all(key.split(".")):
        raise ConfigError(f"--set wants key=value, for example lake.root=/data/lake, not {key!r}")
    parts, wants_text = _walk(key)
    parsed: Any = value
    if not wants_text:
        try:
            parsed = yaml.load(value, Loader=_Loader)
        except yaml.YAMLError:
            raise ConfigError(f"{source}: the value is not readable as YAML; quote it") from None
    for part in reversed(parts):
        parsed = {part: parsed}
    return _Layer(source, parsed)


def _walk(key: str) -> tuple[list[str], bool]:
    """Return the parts of a dotted key and whether it takes text alone, so that ``2026`` or ``no`` stay text.

    What follows the name of a free mapping is one part: ``spark.settings.spark.sql.shuffle.partitions`` has three.
    """
    parts = key.split(".")
    model: type[BaseModel] | None = Config
    annotation: Any = None
    for depth, part in enumerate(parts):
        if model is None:
            return [*parts[:depth], ".".join(parts[depth:])], False
        if part not in model.model_fields:
            return parts, False
        annotation = model.model_fields[part].annotation
        model = _model_of(annotation)
    return parts, annotation is str or set(typing.get_args(annotation)) == {str, type(None)}


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (Union, types.UnionType):
        for choice in typing.get_args(annotation):
            if (inner := _model_of(choice)) is not None:
                return inner
    return None


def _refuse_unknown(layer: _Layer, values: Mapping[str, Any], model: type[BaseModel], prefix: str) -> None:
    for name, value in values.items():
        if name not in model.model_fields:
            close = _suggest(prefix + name, [prefix + known for known in model.model_fields])
            raise ConfigError(
                f"{layer.source}: unknown key {prefix + name!r}{close}"
                f" ({prefix.rstrip('.') or 'the top'} has: {', '.join(model.model_fields)})"
            )
        inner = _model_of(model.model_fields[name].annotation)
        if inner is not None:
            if not isinstance(value, Mapping):
                raise ConfigError(f"{layer.source}: {prefix + name} holds keys of its own, not a value")
            _refuse_unknown(layer, value, inner, f"{prefix}{name}.")


def _merge(into: dict[str, Any], values: Mapping[str, Any], source: str, prefix: str, origins: _Origins) -> None:
    for name, value in values.items():
        key = prefix + name
        if isinstance(value, Mapping):
            below = into.get(name)
            into[name] = below = dict(below) if isinstance(below, Mapping) else {}
            _merge(below, value, source, f"{key}.", origins)
            origins.by_key.setdefault(key, source)
        else:
            into[name] = tuple(value) if isinstance(value, list) else value
            origins.by_key[key] = source


def _validate(values: dict[str, Any], origins: _Origins) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        first = problems[0]
        # A union of types complains once per choice: the key is what precedes the choice.
        key = ".".join(str(part) for part in first["loc"] if "[" not in str(part) and str(part) not in _CHOICES)
        source = origins.of(key)
        where = source if source == f"--set {key}" else f"{source}: {key}"
        if first["type"] == "missing":
            raise ConfigError(f"{where} is missing: give it there, or by --set {key}=...") from None
        # What stands in the place of a variable's name may be the secret itself: it is not repeated.
        plain = isinstance(first["input"], str | int | float | bool) and not key.endswith("_env")
        shown = f" {first['input']!r}" if plain else ""
        message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        if len({problem["loc"][:-1] for problem in problems}) == 1 and len(problems) > 1:
            message = "should be text, a number, true, false or null"
        raise ConfigError(f"{where}:{shown} {message}") from None


_CHOICES = {"str", "int", "float", "bool", "none"}
