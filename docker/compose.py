"""The platform in containers: bring it up, take it down, prove that it works.

    python docker/compose.py up | down | test

With docker, or podman and podman-compose. ``test`` also works where no registry can be reached: it then makes a base
image with debootstrap and stand-ins for Kafka and Cassandra from the jars; the images under test are always those of
docker/Dockerfile, started by docker/compose.yaml.
"""

import json
import os
import resource
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import DovetailError, MissingRequirement, ServerUnavailable, run_main

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "docker" / "compose.yaml"
BUILD = ROOT / "build" / "docker"
KEY = "DOVETAIL_PSEUDONYM_KEY"
OURS = ("spark", "flink", "serving")
SUITE = "bookworm"
DEBIAN_TOOLS = ("podman", "buildah", "runc", "netavark", "aardvark-dns", "iptables", "debootstrap")

# Containers without an init system: crun refuses their cgroups, and limits above the outer ones are refused.
PODMAN = ("--runtime", "runc", "--cgroup-manager=cgroupfs")
ENOUGH = 8192
"""Threads and open files of all containers together; podman lowers its own limits, so a machine's may be too many."""


def podman_limits() -> list[str]:
    """The limits of a container, never above this process's own; threads of all containers count together."""
    words = []
    for name, limit in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
        hard = resource.getrlimit(limit)[1]
        most = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
        words += ["--ulimit", f"{name}={most}:{most}"]
    return words


def say(line: str) -> None:
    """Tell the user what is happening, at once."""
    print(f"[{time.strftime('%H:%M:%S')}] {line}", file=sys.stderr, flush=True)


@dataclass
class Engine:
    """A container engine and the compose command that goes with it."""

    compose: list[str]
    program: str
    variables: dict[str, str] = field(default_factory=dict)
    project: str = "dovetail"

    def run(self, *words: str, limit: float = 600, text: str | None = None, quiet: bool = False) -> str:
        """Run a compose command and return its output; raises ServerUnavailable with its last lines."""
        command = [*self.compose, "--project-name", self.project, "--file", str(COMPOSE), *words]
        return run(command, limit, self.variables, text, quiet)

    def execute(self, service: str, *words: str, limit: float = 300, text: str | None = None) -> str:
        """Run a program in the container of a service and return its output."""
        return self.run("exec", "-T", service, *words, limit=limit, text=text, quiet=True)


def run(
    command: Sequence[str],
    limit: float,
    variables: Mapping[str, str] | None = None,
    text: str | None = None,
    quiet: bool = False,
) -> str:
    """Run a command and return its standard output; raises ServerUnavailable with what it said last."""
    shown = " ".join(command[:6])
    try:
        done = subprocess.run(
            list(command),
            env={**os.environ, **(variables or {})},
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ServerUnavailable(f"waited {limit:.0f} s for {shown} ...") from None
    if done.returncode != 0:
        told = (done.stderr + done.stdout).strip().splitlines()
        raise ServerUnavailable(f"{shown} ... failed with code {done.returncode}: {' | '.join(told[-6:])}")
    if not quiet and done.stdout.strip():
        say(done.stdout.strip().splitlines()[-1])
    return done.stdout


def engine() -> Engine:
    """Return docker with its compose, else podman with podman-compose; raises MissingRequirement."""
    wanted = os.environ.get("DOCKER", "")
    if wanted in ("", "docker") and shutil.which("docker"):
        answered = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
        running = subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
        if answered and running:
            return Engine(["docker", "compose"], "docker")
    if wanted in ("", "podman") and shutil.which("podman") and shutil.which("podman-compose"):
        return Engine(["podman-compose", "--podman-path", str(wrapper()), "--in-pod", "false"], "podman")
    raise MissingRequirement(
        "no container engine: install docker with its compose plugin and start it, or podman "
        f"(Debian: apt-get install {' '.join(DEBIAN_TOOLS)}; podman-compose comes with `make env`)"
    )


def wrapper() -> Path:
    """Return a program that is podman with the options that a machine without an init system needs."""
    path = BUILD / "podman"
    path.parent.mkdir(parents=True, exist_ok=True)
    podman, run_options = shutil.which("podman"), " ".join(podman_limits())
    path.write_text(
        "#!/bin/sh\n"
        f'case "$1" in\n  run|create) verb=$1; shift; exec {podman} {" ".join(PODMAN)} "$verb" {run_options} "$@";;\n'
        f'  *) exec {podman} {" ".join(PODMAN)} "$@";;\nesac\n'
    )
    path.chmod(0o755)
    return path


# ---- up and down


def up() -> None:
    """Build what is missing, start everything, submit the streaming application."""
    platform = engine()
    platform.variables[KEY] = key()
    say(f"building with {platform.program}: the first time takes some minutes")
    platform.run("build", limit=3600)
    start(platform)
    port = os.environ.get("SERVING_PORT", "8000")
    say(f"up: the playground is at http://127.0.0.1:{port}/, Flink at http://127.0.0.1:{flink_port(platform)}/")


def down() -> None:
    """Stop everything and remove the volumes."""
    platform = engine()
    platform.variables[KEY] = "not needed to stop"
    platform.run("down", "--volumes")
    say("down")


def key() -> str:
    """Return the pseudonym key: the environment's, else one made for these containers and kept in build/docker."""
    if given := os.environ.get(KEY):
        return given
    path = BUILD / "pseudonym.key"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text().strip()


def flink_port(platform: Engine) -> str:
    """Return the port of Flink's web page on this machine."""
    return platform.variables.get("FLINK_PORT") or os.environ.get("FLINK_PORT", "8081")


def start(platform: Engine) -> None:
    """Start the containers, wait until each server serves, create the topics and submit the application."""
    platform.run("up", "--detach", "--no-build", limit=900)
    wait("Kafka", lambda: bool(platform.execute("batch", "dovetail", "topics")), 300)
    wait("Cassandra", lambda: bool(platform.execute("batch", "python", "-c", CASSANDRA_ANSWERS)), 300)
    url = f"http://127.0.0.1:{flink_port(platform)}"
    wait("Flink", lambda: fetch(f"{url}/overview")["slots-total"] > 0, 300)
    say("submitting the streaming application")
    platform.execute("flink-jobmanager", "dovetail", "submit", "streaming")
    wait("the streaming application", lambda: runs(url), 300)
    platform.execute("batch", "dovetail", "live")


CASSANDRA_ANSWERS = (
    "from cassandra.cluster import Cluster; Cluster(['cassandra']).connect().execute('select now() from system.local')"
    "; print('ok')"
)


def runs(url: str) -> bool:
    """Return whether Flink has a job all of whose tasks run; raises ServerUnavailable where it failed."""
    jobs = fetch(f"{url}/jobs/overview")["jobs"]
    if any(job["state"] == "FAILED" for job in jobs):
        raise DovetailError("the streaming application failed: see `compose logs flink-jobmanager`")
    return any(job["state"] == "RUNNING" and job["tasks"]["running"] == job["tasks"]["total"] for job in jobs)


def wait(what: str, ready: Callable[[], bool], limit: float) -> None:
    """Poll until ready; an error that may pass is kept and told if the limit does. Raises ServerUnavailable."""
    say(f"waiting for {what}, at most {limit:.0f} s")
    begun, last = time.monotonic(), "not yet"
    while time.monotonic() - begun < limit:
        try:
            if ready():
                say(f"{what}: ready after {time.monotonic() - begun:.0f} s")
                return
        except (ServerUnavailable, OSError, KeyError, ValueError) as error:
            last = str(error)
        time.sleep(2)
    raise ServerUnavailable(f"waited {limit:.0f} s for {what}: {last}")


def fetch(url: str, body: Any = None) -> Any:
    """Return the JSON that the address answers with; ``body`` is posted as JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise ServerUnavailable(f"{url} answered {error.code}: {error.read(300).decode(errors='replace')}") from None


# ---- the proof


def test() -> None:
    """Build the images, bring the compose file up, use every part once, and take it down again."""
    begun = time.monotonic()
    platform = engine()
    platform.project = "dovetail-test"
    ports = {"SERVING_PORT": "18000", "FLINK_PORT": "18081", "SPARK_PORT": "18080"}
    platform.variables = {KEY: secrets.token_hex(32), **ports}
    build(platform)
    try:
        start(platform)
        prove(platform)
    except BaseException:
        with suppress(DovetailError):
            log = BUILD / "test.log"
            log.write_text(platform.run("logs", quiet=True))
            say(f"what the containers said is in {log.relative_to(ROOT)}")
        raise
    finally:
        with suppress(DovetailError):
            platform.run("down", "--volumes")
    say(f"passed in {time.monotonic() - begun:.0f} s")


def build(platform: Engine) -> None:
    """Build our images with docker; with podman build them from a base of our own, and the stand-ins too."""
    if platform.program == "docker":
        platform.run("build", limit=3600)
        return
    base = base_image()
    for target in OURS:
        say(f"building {target}")
        bud("docker/Dockerfile", target, f"localhost/dovetail-{target}", f"BASE={base}")
        platform.variables[f"{target.upper()}_IMAGE"] = f"localhost/dovetail-{target}"
    for target in ("kafka", "cassandra"):
        say(f"building the stand-in for {target}")
        bud("docker/standin/Dockerfile", target, f"localhost/standin-{target}", "BASE=localhost/dovetail-spark")
        platform.variables[f"{target.upper()}_IMAGE"] = f"localhost/standin-{target}"


def bud(dockerfile: str, target: str, tag: str, *arguments: str) -> None:
    """Build one target with buildah; the network's CA bundle, if pip has one here, goes along."""
    words = ["buildah", "bud", "--isolation=chroot", "--layers", "--ulimit", "nofile=1024:1024"]
    if bundle := os.environ.get("PIP_CERT"):
        words += ["-v", f"{bundle}:/etc/host-ca.crt:ro", "--build-arg", "PIP_CERT=/etc/host-ca.crt"]
    for argument in arguments:
        words += ["--build-arg", argument]
    run([*words, "--target", target, "-t", tag, "-f", dockerfile, str(ROOT)], 3600, quiet=True)


def base_image() -> str:
    """Return a Debian with Python 3.11, made by debootstrap once: what python:3.11-slim-bookworm is elsewhere."""
    name = "localhost/dovetail-base"
    if subprocess.run(["podman", *PODMAN, "image", "exists", name], check=False).returncode == 0:
        return name
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        raise MissingRequirement("the base image needs debootstrap and root: apt-get install debootstrap")
    say("making a base image with debootstrap")
    folder = BUILD / "base"
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # debootstrap resolves no virtual packages: python3-distutils is what python3.11-venv means by python3.11-distutils.
    packages = "python3.11,python3.11-venv,python3-distutils,ca-certificates"
    run(["debootstrap", "--variant=minbase", f"--include={packages}", SUITE, str(folder)], 900, quiet=True)
    archive = BUILD / "base.tar"
    run(["tar", "-C", str(folder), "-cf", str(archive), "."], 300, quiet=True)
    run(["podman", *PODMAN, "import", str(archive), name], 300, quiet=True)
    shutil.rmtree(folder)
    archive.unlink()
    return name


def prove(platform: Engine) -> None:
    """Post events, see them in an answer, run a batch job by its own spark-submit, and ask once more."""
    url = f"http://127.0.0.1:{platform.variables['SERVING_PORT']}"
    wait("serving", lambda: bool(fetch(f"{url}/healthz")), 300)
    now = int(time.time() * 1000)
    for number in range(6):
        fetch(f"{url}/v1/events", event(f"docker-test-{number}", f"item-{number % 3}", now - 60_000 + number * 1_000))
    wait("the click in an answer", lambda: bool(fetch(f"{url}/v1/users/visitor-1/recommendations")["items"]), 180)

    say("running a batch job on the Spark cluster")
    history = "".join(
        json.dumps(event(f"history-{n}", f"item-{n % 3}", now - 86_400_000 + n)) + "\n" for n in range(50)
    )
    history += "not an event\n"
    platform.execute("batch", "sh", "-c", "cat > /var/lib/dovetail/history.jsonl", text=history)
    told = platform.execute(
        *("batch", "dovetail", "submit", "import_events"),
        *("--arg", "format=events", "--arg", "path=/var/lib/dovetail/history.jsonl"),
        limit=1200,
    )
    result = json.loads(told.strip().splitlines()[-1])
    say(f"import_events: {result['counts']}")
    if result["outcome"] != "ok":
        raise DovetailError(f"import_events ended as {result['outcome']}")
    answer = fetch(f"{url}/v1/users/visitor-1/recommendations")
    say(f"one answer: {len(answer['items'])} items from {answer['level']}, sources {answer['sources']}")


def event(event_id: str, item: str, event_ms: int) -> dict[str, Any]:
    """Return a raw event, as a shop would post it."""
    return {
        "event_id": event_id,
        "event_type": "view",
        "user_id": "visitor-1",
        "item_id": item,
        "category": "demo.things",
        "price": "9.99",
        "event_ms": event_ms,
    }


def main() -> int:
    """Run the named command."""
    commands = {"up": up, "down": down, "test": test}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        raise MissingRequirement(f"say which: python docker/compose.py {' | '.join(commands)}")
    commands[sys.argv[1]]()
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
