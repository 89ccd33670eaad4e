"""A keyspace of its own for each test that needs real Cassandra; hypothesis by number of examples, not by the clock."""

import uuid
from collections.abc import Iterator

import pytest
from cassandra.cluster import Session
from hypothesis import HealthCheck, settings

from local.cassandra import Cassandra
from views.connect import ClusterSpec, connect, disconnect, ensure_keyspace
from views.schema import identifier

settings.register_profile("dovetail", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("dovetail")


@pytest.fixture
def spec(cassandra: Cassandra) -> ClusterSpec:
    made = ClusterSpec.parse(cassandra.address, keyspace=f"views_{uuid.uuid4().hex[:10]}")
    ensure_keyspace(made)
    return made


@pytest.fixture
def session(spec: ClusterSpec) -> Iterator[Session]:
    session = connect(spec)
    yield session
    session.execute(f"DROP KEYSPACE {identifier(spec.keyspace)}", timeout=30.0)
    disconnect(session)
