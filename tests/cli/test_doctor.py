"""The doctor: each lack is named with its remedy, and no secret is shown."""

import socket
from pathlib import Path

import pytest

from cli import doctor
from cli.doctor import Finding


@pytest.fixture
def empty_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path


def fake_java(folder: Path, version: str) -> None:
    program = folder / "java"
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
    program.chmod(0o755)


@pytest.mark.parametrize(("version", "ok"), [("17.0.15", True), ("21.0.1", False), ("1.8.0_392", False)])
def test_java_must_be_17(empty_machine: Path, version: str, ok: bool) -> None:
    fake_java(empty_machine, version)
    found = doctor.java_runtime()
    assert (found.ok, found.found) == (ok, version)


def test_a_missing_java_is_named_with_its_remedy(empty_machine: Path) -> None:
    found = doctor.java_runtime()
    assert found.ok is False and "no java in PATH" in found.found and "openjdk-17" in found.remedy


def test_maven_is_needed_only_while_jars_are_missing(empty_machine: Path) -> None:
    assert doctor.program("mvn", "Maven", True, "install maven").ok is False
    assert doctor.program("mvn", "Maven", False, "install maven").ok is None


def test_missing_jars_are_listed(tmp_path: Path) -> None:
    (tmp_path / "build/jars/kafka").mkdir(parents=True)
    (tmp_path / "build/jars/kafka/kafka.jar").write_text("")
    found = doctor.jars(tmp_path)
    assert found.ok is False and "kafka" not in found.found and "delta" in found.found
    assert found.remedy == "run `make jars`"


def test_a_taken_port_is_a_note_and_a_free_one_is_ok() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert doctor.port(address, "Kafka").ok is True
        server.listen()
        assert doctor.port(address, "Kafka").ok is None


def test_memory_and_disk_say_what_there_is(tmp_path: Path) -> None:
    assert doctor.memory(0).ok is True and doctor.disk(tmp_path, 0).ok is True
    short = doctor.memory(1 << 20)
    assert short.ok is False and "GiB available" in short.found and short.remedy


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOVETAIL_TEST_SECRET", "hunter2")
    found = doctor.variable("DOVETAIL_TEST_SECRET", "a key", True)
    assert found.ok is True and "hunter2" not in repr(found)
    monkeypatch.delenv("DOVETAIL_TEST_SECRET")
    assert doctor.variable("DOVETAIL_TEST_SECRET", "a key", True).ok is False
    assert doctor.variable("DOVETAIL_TEST_SECRET", "a key", False).ok is None


def test_a_foreign_spark_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_HOME", "/opt/spark")
    assert doctor.no_foreign_spark().ok is False


def test_the_report_counts_faults_and_gives_remedies_for_them_alone() -> None:
    lines: list[str] = []
    findings = [Finding("a", True, "fine", "not said"), Finding("b", False, "gone", "get b"), Finding("c", None, "eh")]
    assert doctor.report(findings, lines.append) == 1
    assert [line.split()[0] for line in lines] == ["ok", "MISSING", "note"]
    assert "not said" not in lines[0] and lines[1].endswith("-> get b")
