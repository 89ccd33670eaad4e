"""Submission: the exact command line of a job, for every place where one can run.

A target is a function from settings to a :class:`Command`, registered under its engine and name and chosen by the
configuration (``spark.target``, ``flink.target``). A new place to run is one more function here and a few keys in an
environment's file; jobs do not change, for they get arguments only. The line that is printed reproduces the run.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config import Config, Job
from common.errors import ConfigError, MissingRequirement


@dataclass(frozen=True)
class Command:
    """A program with its arguments, and the environment variables that must hold secrets where it runs."""

    argv: tuple[str, ...]
    breaks: tuple[int, ...]
    """Positions in ``argv`` that begin a line when shown."""
    files: tuple[str, ...] = ()
    """Files and folders that must exist here; URIs and absolute paths belong to the place where it runs."""
    secrets: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the command as one would paste it into a shell, an option a line."""
        edges = [0, *self.breaks, len(self.argv)]
        lines = [shlex.join(self.argv[begin:end]) for begin, end in zip(edges, edges[1:], strict=False) if begin < end]
        return " \\\n  ".join(lines) + "\n"


class _Line:
    """Collects a command's words and remembers where its lines begin."""

    def __init__(self, program: Sequence[str]) -> None:
        self._words = list(program)
        self._breaks: list[int] = []

    def add(self, *words: str) -> None:
        self._breaks.append(len(self._words))
        self._words += words

    def command(self, files: Sequence[str], secrets: Sequence[str]) -> Command:
        return Command(tuple(self._words), tuple(self._breaks), tuple(files), tuple(secrets))


Target = Callable[[Config, str, Job, Path], Command]
_TARGETS: dict[tuple[str, str], Target] = {}


def target(engine: str, name: str) -> Callable[[Target], Target]:
    """Register a place to run jobs of ``engine`` under ``name``."""

    def register(function: Target) -> Target:
        _TARGETS[engine, name] = function
        return function

    return register


def targets(engine: str) -> list[str]:
    """Return the names of the places where jobs of ``engine`` can run."""
    return sorted(name for kind, name in _TARGETS if kind == engine)


def render(config: Config, name: str, home: Path) -> Command:
    """Return the command that runs job ``name`` as ``config`` has it; ``home`` is the folder it is run from.

    Raises ConfigError where the target is unknown or a setting that an argument needs is not set, and
    MissingRequirement where a pattern for jars matches nothing.
    """
    job = _job(config, name)
    place = {"spark": config.spark.target, "flink": config.flink.target, "python": "local"}[job.engine]
    try:
        function = _TARGETS[job.engine, place]
    except KeyError:
        known = ", ".join(targets(job.engine))
        raise ConfigError(f"{job.engine}.target: there is no target {place!r}; choose one of: {known}") from None
    return function(config, name, job, home)


def submit(command: Command, home: Path, variables: Mapping[str, str] | None = None) -> int:
    """Run the command in ``home``, its output going where ours goes, and return its exit code.

    ``variables`` are laid over this process's environment.

    Raises MissingRequirement where the program, a file or a secret it needs is not there.
    """
    environment = {**os.environ, **(variables or {})}
    program = shutil.which(command.argv[0], path=environment.get("PATH"))
    if program is None:
        raise MissingRequirement(f"{command.argv[0]} is not on PATH: run `make env` and put .venv/bin on PATH")
    for file in command.files:
        if not (home / file).exists():
            remedy = "make zip" if file.endswith(".zip") else "make jars" if file.endswith(".jar") else "a checkout"
            raise MissingRequirement(f"{file} is missing in {home.name}/: it comes from `{remedy}`")
    for variable in command.secrets:
        if not environment.get(variable):
            raise MissingRequirement(f"environment variable {variable} is not set: export it before submitting")
    return subprocess.run(command.argv, executable=program, cwd=home, env=environment, check=False).returncode


def arguments(config: Config, name: str) -> list[tuple[str, ...]]:
    """Return the job's flags and values, in the order of its file: references resolved, empty ones left out.

    A batch job takes ``--flag true``; other programs have bare flags, which ``false`` leaves out.

    ``${key}`` stands for the value of another key, which must be set; ``${key?}`` may be empty. An argument of null
    must be given on submission. Raises ConfigError for what is not set.
    """
    job = _job(config, name)
    values = config.model_dump()
    flags: list[tuple[str, ...]] = []
    for argument, given in job.arguments.items():
        if given is None:
            raise ConfigError(f"job {name}: argument {argument} is not set: add --arg {argument}=...")
        value = _resolve(given, values, f"job {name}: argument {argument}")
        flag = "--" + argument.replace("_", "-")
        if isinstance(value, bool) and job.engine != "spark":
            flags += [(flag,)] if value else []
        elif value is not None and value != "" and value != ():
            flags.append((flag, _as_text(value)))
    return flags


# ---- Spark


@target("spark", "local")
def spark_local(config: Config, name: str, job: Job, home: Path) -> Command:
    """Spark inside one process on this machine."""
    if not config.spark.master.startswith("local"):
        raise ConfigError(f"spark.master: the target local wants local[N], not {config.spark.master}")
    return _spark_submit(config, name, job, home, [])


@target("spark", "standalone")
def spark_standalone(config: Config, name: str, job: Job, home: Path) -> Command:
    """A standalone Spark cluster, the driver running where one submits."""
    if not config.spark.master.startswith("spark://"):
        raise ConfigError(f"spark.master: the target standalone wants spark://HOST:PORT, not {config.spark.master}")
    size = getattr(config.spark.sizes, job.resources)
    return _spark_submit(
        config,
        name,
        job,
        home,
        [
            ("--deploy-mode", "client"),
            ("--executor-memory", size.executor_memory),
            ("--executor-cores", str(size.executor_cores)),
            ("--total-executor-cores", str(size.executor_cores * size.executors)),
        ],
    )


def _spark_submit(config: Config, name: str, job: Job, home: Path, options: list[tuple[str, str]]) -> Command:
    spark = config.spark
    jars = _expand(spark.jars, home)
    settings: dict[str, Any] = {
        "spark.pyspark.python": spark.python,
        "spark.pyspark.driver.python": spark.python,
        **spark.settings,
        **job.settings,
    }
    line = _Line(shlex.split(spark.submit))
    line.add("--master", spark.master)
    line.add("--name", f"dovetail {name}")
    line.add("--driver-memory", getattr(spark.sizes, job.resources).driver_memory)
    for option in options:
        line.add(*option)
    for key, value in sorted(settings.items()):
        if value is not None:
            line.add("--conf", f"{key}={_as_text(value)}")
    if jars:
        line.add("--jars", ",".join(jars))
    line.add("--py-files", config.zip)
    entry = _entry(job, home)
    line.add(entry)
    flags = arguments(config, name)
    for flag in flags:
        line.add(*flag)
    return line.command(_here([*jars, config.zip, entry]), _secrets(flags))


# ---- Flink


@target("flink", "local")
def flink_local(config: Config, name: str, job: Job, home: Path) -> Command:
    """A small Flink cluster inside the client process, until it ends or is interrupted."""
    return _flink_run(config, name, job, home, [("--target", "local")])


@target("flink", "standalone")
def flink_standalone(config: Config, name: str, job: Job, home: Path) -> Command:
    """A standalone Flink cluster; the client returns once the job runs."""
    return _flink_run(config, name, job, home, [("--detached",), ("--jobmanager", config.flink.jobmanager)])


def _flink_run(config: Config, name: str, job: Job, home: Path, options: list[tuple[str, ...]]) -> Command:
    flink = config.flink
    jars = _expand(flink.jars, home)
    line = _Line([*shlex.split(flink.command), "run"])
    for option in options:
        line.add(*option)
    line.add("--parallelism", str(flink.parallelism))
    if config.run.savepoint:
        line.add("--fromSavepoint", config.run.savepoint)
    for key, value in sorted({**flink.settings, **job.settings}.items()):
        if value is not None:
            line.add(f"-D{key}={_as_text(value)}")
    if len(jars) > 1:
        # `flink run` uploads one jar with a Python program; -Dpipeline.jars is overwritten by it.
        raise ConfigError(f"flink.jars: one jar goes with the application, not {len(jars)}: put others on the cluster")
    if jars:
        line.add("--jarfile", jars[0])
    line.add("--pyExecutable", flink.python)
    line.add("--pyClientExecutable", flink.python)
    line.add("--pyFiles", config.zip)
    entry = _entry(job, home)
    line.add("--python", entry)
    flags = arguments(config, name)
    for flag in flags:
        line.add(*flag)
    return line.command(_here([*jars, config.zip, entry]), _secrets(flags))


# ---- Python alone


@target("python", "local")
def python_local(config: Config, name: str, job: Job, home: Path) -> Command:
    """A program without an engine, here, until it ends: the serving layer."""
    line = _Line(["python", "-m", job.entry])
    flags = arguments(config, name)
    for flag in flags:
        line.add(*flag)
    return line.command([], _secrets(flags))


# ---- the parts


def _job(config: Config, name: str) -> Job:
    if config.job is None:
        raise ConfigError(f"the settings of job {name} were not loaded: load them with the job's name")
    return config.job


def _entry(job: Job, home: Path) -> str:
    """Return the job's file: as the configuration names it from a checkout, else where it is installed."""
    if (home / job.entry).is_file():
        return job.entry
    installed = Path(__file__).resolve().parents[1] / job.entry
    return str(installed) if installed.is_file() else job.entry


def _is_uri(path: str) -> bool:
    return "://" in path or path.startswith(("local:", "file:"))


def _expand(patterns: Sequence[str], home: Path) -> list[str]:
    """Return the jars that the patterns stand for, sorted; URIs and absolute paths are taken as they are."""
    jars: list[str] = []
    for pattern in patterns:
        if _is_uri(pattern) or Path(pattern).is_absolute():
            jars.append(pattern)
            continue
        found = sorted(str(path.relative_to(home)) for path in home.glob(pattern))
        if not found:
            raise MissingRequirement(f"no jar matches {pattern}: run `make jars`")
        jars += found
    return jars


def _here(paths: Sequence[str]) -> list[str]:
    return [path for path in paths if not _is_uri(path) and not Path(path).is_absolute()]


def _secrets(flags: Sequence[tuple[str, ...]]) -> list[str]:
    return list(dict.fromkeys(flag[1] for flag in flags if flag[0].endswith("-env")))


_REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)(\??)\}")


def _resolve(given: Any, values: Mapping[str, Any], what: str) -> Any:
    if isinstance(given, tuple):
        return tuple(_resolve(item, values, what) for item in given)
    if not isinstance(given, str):
        return given
    whole = _REFERENCE.fullmatch(given)
    if whole:
        return _look_up(whole[1], bool(whole[2]), values, what)
    return _REFERENCE.sub(lambda match: _as_text(_look_up(match[1], bool(match[2]), values, what)), given)


def _look_up(key: str, optional: bool, values: Mapping[str, Any], what: str) -> Any:
    value: Any = values
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise ConfigError(f"{what} refers to {key}, which conf/base.yaml does not have")
        value = value[part]
    if isinstance(value, Mapping):
        raise ConfigError(f"{what} refers to {key}, which holds keys of its own")
    if value in (None, "") and not optional:
        raise ConfigError(f"{what} needs {key}, which is not set: add --set {key}=...")
    return value


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(_as_text(item) for item in value)
    return str(value)
