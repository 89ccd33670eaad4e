"""Addresses of Cassandra, in the forms that jobs, stream and service are given."""

import pytest

from common.errors import ConfigError
from views.connect import ClusterSpec


@pytest.mark.parametrize("address", ["a,b:9042", "a:9042,b:9042", "a:9042, b:9042"])
def test_several_nodes_share_a_port(address: str) -> None:
    spec = ClusterSpec.parse(address)
    assert (spec.hosts, spec.port) == (("a", "b"), 9042)


@pytest.mark.parametrize("address", ["a", "a:", ":9042", "a:x", "a:0", "a:9042,b:9043"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="not a Cassandra address"):
        ClusterSpec.parse(address)
