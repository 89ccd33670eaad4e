"""Jars and Java: fetched once, renewed when the pom changes, and named when they cannot be had."""

import hashlib
import xml.etree.ElementTree as ET

import pytest

from common.errors import MissingRequirement
from local.jars import NAMES, STAMP, fetch, jars, pom
from local.java import java


def coordinates(name: str) -> list[str]:
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    found = ET.parse(pom(name)).getroot().findall("m:dependencies/m:dependency", space)
    return [f"{one.findtext('m:groupId', None, space)}:{one.findtext('m:artifactId', None, space)}" for one in found]


def test_each_coordinate_stands_in_one_place():
    every = [coordinate for name in NAMES for coordinate in coordinates(name)]
    assert every
    assert len(every) == len(set(every))


def test_an_unknown_set_is_refused_with_the_known_ones():
    with pytest.raises(MissingRequirement, match="no set of jars is called 'nope': choose one of kafka, cassandra"):
        fetch("nope")


def test_a_set_whose_pom_has_not_changed_is_taken_as_it_is(tmp_path, monkeypatch):
    folder = tmp_path / "flink"
    folder.mkdir()
    (folder / "b.jar").touch()
    (folder / "a.jar").touch()
    (folder / STAMP).write_text(hashlib.sha256(pom("flink").read_bytes()).hexdigest())
    monkeypatch.setenv("PATH", "")
    assert fetch("flink", tmp_path) == folder
    assert [path.name for path in jars("flink", tmp_path)] == ["a.jar", "b.jar"]


def test_without_maven_a_changed_set_is_an_error_that_names_it_and_keeps_the_old(tmp_path, monkeypatch):
    folder = tmp_path / "flink"
    folder.mkdir()
    (folder / STAMP).write_text("of another pom")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingRequirement, match="Maven .* is not on PATH; .* the flink jars"):
        fetch("flink", tmp_path)
    assert (folder / STAMP).read_text() == "of another pom"


def test_a_missing_java_is_an_error_that_says_where_it_was_sought(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MissingRequirement, match=f"no java in JAVA_HOME .*{tmp_path.name}.*install a Java 17"):
        java()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingRequirement, match="no java in PATH"):
        java()
