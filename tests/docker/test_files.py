"""The container files agree with the configuration and with each other; `make docker-test` proves them for real."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from common import config

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()


def test_every_host_of_the_docker_environment_is_a_service() -> None:
    loaded = config.load("docker")
    addresses = [loaded.kafka.bootstrap, loaded.cassandra.contact, loaded.flink.jobmanager, loaded.spark.master]
    hosts = {re.sub(r"^\w+://", "", address).split(":")[0] for address in [*addresses, loaded.serving.url]}
    assert hosts <= set(COMPOSE["services"])


def test_every_build_names_a_stage_of_the_dockerfile() -> None:
    stages = set(re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE, re.M))
    builds = [service["build"] for service in COMPOSE["services"].values() if "build" in service]
    assert {build["target"] for build in builds} == {"spark", "flink", "serving"} <= stages
    assert all((ROOT / "docker" / build["context"] / build["dockerfile"]).resolve().is_file() for build in builds)


def test_the_base_is_an_argument_and_the_lock_holds() -> None:
    assert "ARG BASE=python:3.11-slim-bookworm" in DOCKERFILE and "ARG PIP_CERT" in DOCKERFILE
    assert "-c requirements.lock -r dependencies.txt" in DOCKERFILE


def test_kafka_and_cassandra_are_the_official_images() -> None:
    images = {name: COMPOSE["services"][name]["image"] for name in ("kafka", "cassandra")}
    assert images == {
        "kafka": "${KAFKA_IMAGE:-apache/kafka:4.2.0}",
        "cassandra": "${CASSANDRA_IMAGE:-cassandra:5.0}",
    }


def test_no_secret_stands_in_the_compose_file() -> None:
    for service in COMPOSE["services"].values():
        key = service.get("environment", {}).get("DOVETAIL_PSEUDONYM_KEY", "${")
        assert key.startswith("${")


def test_the_images_install_what_setup_requires(tmp_path: Path) -> None:
    printed = subprocess.run(
        [sys.executable, "docker/dependencies.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "pyspark==4.1.4" in printed and "apache-flink==2.3.0" in printed
    assert not any(name.startswith(("pytest", "ruff")) for name in printed)


@pytest.mark.parametrize("name", ["common", "views", "jobs", "streaming", "serving", "local", "cli", "conf"])
def test_the_images_hold_every_room(name: str) -> None:
    assert f"COPY {name} {name}\n" in DOCKERFILE
    assert f"!{name}\n" in (ROOT / ".dockerignore").read_text()
