"""``dovetail doctor``: what this machine has, what is missing, and the remedy for each."""

import importlib.metadata
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from cli.options import home, settings
from common import config
from common.config import Config
from common.errors import MissingRequirement
from local.jars import NAMES as JAR_SETS
from local.java import java

NEEDED_MEMORY_GIB = 8
NEEDED_DISK_GIB = 6

# What each engine's wheel must be, so that driver, workers and jars agree.
WHEELS = ("pyspark", "delta-spark", "apache-flink", "cassandra-driver")


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: ``ok`` None is a hint, not a fault."""

    what: str
    ok: bool | None
    found: str
    remedy: str = ""


def python() -> Finding:
    """Python 3.11, the newest that PyFlink's Beam takes."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python 3.11", sys.version_info[:2] == (3, 11), version, "install Python 3.11 and run `make env`")


def java_runtime() -> Finding:
    """Java 17, on which all four engines run."""
    remedy = "install a Java 17 runtime (Debian: openjdk-17-jre-headless) or let JAVA_HOME name one"
    try:
        told = subprocess.run([java(), "-version"], capture_output=True, text=True, check=False).stderr
    except MissingRequirement as error:
        return Finding("Java 17", False, str(error).partition(":")[0], remedy)
    match = re.search(r'version "([\d._]+)', told)
    version = match[1] if match else "unknown"
    return Finding("Java 17", version.split(".")[0] == "17", version, remedy)


def program(name: str, what: str, needed: bool, remedy: str) -> Finding:
    """A program on PATH; where it is not needed its lack is a hint."""
    found = shutil.which(name)
    return Finding(what, True if found else (False if needed else None), found or "not on PATH", remedy)


def wheels() -> Finding:
    """The engines' wheels, at the versions that setup.py pins."""
    if _installed("dovetail") is None:
        return Finding("engines", False, "dovetail is not installed in this Python", "run `make env`")
    pins = dict(
        requirement.split("==") for requirement in importlib.metadata.requires("dovetail") or () if "==" in requirement
    )
    have = {name: _installed(name) for name in WHEELS}
    wrong = [
        f"{name} {version or 'missing'}, wants {pins[name]}" for name, version in have.items() if version != pins[name]
    ]
    right = ", ".join(f"{name} {version}" for name, version in have.items())
    return Finding("engines", not wrong, "; ".join(wrong) or right, "run `make env`")


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def jars(folder: Path) -> Finding:
    """The engines' jars, which Maven fetches once."""
    missing = [name for name in JAR_SETS if not any((folder / "build" / "jars" / name).glob("*.jar"))]
    told = f"missing: {', '.join(missing)}" if missing else ", ".join(JAR_SETS)
    return Finding("jars", not missing, told, "run `make jars`")


def bundle(folder: Path, zip_path: str) -> Finding:
    """The bundle of all packages; a stale one is rebuilt by make."""
    there = (folder / zip_path).is_file()
    return Finding("bundle", there, zip_path if there else f"no {zip_path}", "run `make zip`")


def memory(needed_gib: int = NEEDED_MEMORY_GIB) -> Finding:
    """Memory that is free to use now, swap left out."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            gib = int(line.split()[1]) / 2**20
            return Finding(
                f"memory {needed_gib} GiB",
                gib >= needed_gib,
                f"{gib:.1f} GiB available",
                "end other programs, or give the machine more: the whole platform runs at once",
            )
    return Finding(f"memory {needed_gib} GiB", None, "unknown", "")


def disk(folder: Path, needed_gib: int = NEEDED_DISK_GIB) -> Finding:
    """Room for jars, lake and the servers' data, all below build/."""
    gib = shutil.disk_usage(folder).free / 2**30
    remedy = f"make room: build/ holds jars, lake and the servers' data, up to {needed_gib} GiB"
    return Finding(f"disk {needed_gib} GiB", gib >= needed_gib, f"{gib:.1f} GiB free", remedy)


def port(address: str, what: str) -> Finding:
    """A port of a server that `dovetail up` starts: free, or already answering."""
    host, _, number = address.rpartition(":")
    with socket.socket() as probe:
        probe.settimeout(1)
        taken = probe.connect_ex((host, int(number))) == 0
    remedy = f"if it is not Dovetail's {what}, choose another port in conf/local.yaml"
    return Finding(f"port {number}, {what}", None if taken else True, "in use" if taken else "free", remedy)


def variable(name: str, what: str, needed: bool) -> Finding:
    """An environment variable that holds a secret; its value is never shown."""
    there = bool(os.environ.get(name))
    remedy = f"export it: {what}" if needed else "one is made for this machine when it is first needed"
    return Finding(f"${name}", True if there else (False if needed else None), "set" if there else "not set", remedy)


def no_foreign_spark() -> Finding:
    """A SPARK_HOME from elsewhere wins over the wheel, and other versions then meet our jars."""
    given = os.environ.get("SPARK_HOME")
    return Finding("SPARK_HOME", not given, given or "not set", "unset SPARK_HOME: the pyspark wheel brings its own")


def examine(settings: Config, folder: Path) -> Iterable[Finding]:
    """Yield what is found, in the order in which one would mend it."""
    jars_there = jars(folder).ok
    yield python()
    yield java_runtime()
    yield program("make", "make", True, "install make")
    yield program("mvn", "Maven", not jars_there, "install maven: it fetches the jars, once")
    yield wheels()
    yield jars(folder)
    yield bundle(folder, settings.zip)
    yield no_foreign_spark()
    yield memory()
    yield disk(folder)
    on_this_machine = settings.spark.target == "local"
    if on_this_machine:
        for address, what in local_addresses(settings):
            yield port(address, what)
    for name, what in secrets(settings):
        yield variable(name, what, needed=not on_this_machine)


def local_addresses(settings: Config) -> list[tuple[str, str]]:
    """Return the addresses where `dovetail up` lets its servers listen."""
    inner = [
        (settings.local.kafka_controller_port, "Kafka's controller"),
        (settings.local.cassandra_storage_port, "Cassandra's storage"),
        (settings.local.cassandra_jmx_port, "Cassandra's JMX"),
        (settings.local.flink_rpc_port, "Flink's RPC"),
        (settings.serving.port, "serving"),
    ]
    return [
        (settings.kafka.bootstrap, "Kafka"),
        (settings.cassandra.contact, "Cassandra"),
        (settings.flink.jobmanager, "Flink"),
        *((f"127.0.0.1:{number}", what) for number, what in inner),
    ]


def secrets(settings: Config) -> list[tuple[str, str]]:
    """Return the environment variables that the environment's settings name, each with what it is for."""
    named = [
        (settings.pseudonym.key_env, "the key that turns ids into pseudonyms, 16 bytes or more"),
        (settings.cassandra.user_env, "the user's name for Cassandra"),
        (settings.cassandra.password_env, "the password for Cassandra"),
    ]
    return [(name, what) for name, what in named if name]


def report(findings: Iterable[Finding], say: Callable[[str], None] = click.echo) -> int:
    """Print a line for each finding and return how many are faults."""
    faults = 0
    for finding in findings:
        mark = {True: "ok      ", False: "MISSING ", None: "note    "}[finding.ok]
        remedy = f"  -> {finding.remedy}" if finding.ok is not True and finding.remedy else ""
        say(f"{mark}{finding.what:<24}{finding.found}{remedy}")
        faults += finding.ok is False
    return faults


@click.command("doctor")
@settings
def doctor_command(env: str, overrides: tuple[str, ...]) -> None:
    """Check what this machine has, and say what is missing and the remedy; exit code 2 if something is."""
    faults = report(examine(config.load(env, None, overrides), home()))
    if faults:
        raise MissingRequirement(f"{faults} of the things above are missing: each line says the remedy")
    click.echo("everything needed is here")
