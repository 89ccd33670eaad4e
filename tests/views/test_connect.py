"""Connecting: what is wrong is said in one line with its remedy."""

import pytest

from common.errors import ConfigError, ServerUnavailable
from local.cassandra import Cassandra
from local.ports import free_ports
from views.connect import ClusterSpec, connect, disconnect, worker_session
from views.errors import ViewMissing


def test_an_address_is_hosts_and_a_port() -> None:
    spec = ClusterSpec.parse("a.example, b.example:9142", "shop")
    assert (spec.hosts, spec.port, spec.keyspace) == (("a.example", "b.example"), 9142, "shop")
    assert spec.address == "a.example,b.example:9142"


@pytest.mark.parametrize("address", ["", "localhost", ":9042", "localhost:", "localhost:x", "localhost:70000"])
def test_a_bad_address_names_itself(address: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        ClusterSpec.parse(address)


def test_an_absent_server_is_named_with_the_remedy() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(ServerUnavailable, match=f"{address}.*make up"):
        connect(ClusterSpec.parse(address))


def test_an_unset_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET_USER", raising=False)
    with pytest.raises(ConfigError, match="NOT_SET_USER"):
        connect(ClusterSpec.parse("127.0.0.1:1", user_env="NOT_SET_USER", password_env="NOT_SET_PASSWORD"))


@pytest.mark.platform
def test_a_missing_keyspace_is_named(cassandra: Cassandra) -> None:
    with pytest.raises(ViewMissing, match="no keyspace nowhere"):
        connect(ClusterSpec.parse(cassandra.address, "nowhere"))


@pytest.mark.platform
def test_a_worker_connects_once(spec: ClusterSpec) -> None:
    first = worker_session(spec)
    assert worker_session(spec) is first
    disconnect(first)
    again = worker_session(spec)
    assert again is not first
    disconnect(again)
