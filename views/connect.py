"""Connecting to Cassandra: once per process, inside the process that uses it (the driver is not fork-safe)."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cassandra import AuthenticationFailed, ConsistencyLevel, InvalidRequest, Unauthorized
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import ConstantReconnectionPolicy, DCAwareRoundRobinPolicy, RoundRobinPolicy, TokenAwarePolicy

from common.errors import ConfigError, ServerUnavailable
from views.errors import ViewMissing
from views.schema import create_keyspace, identifier

REQUEST_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class ClusterSpec:
    """Where Cassandra is and who asks. Credentials are the names of environment variables; empty means no login."""

    hosts: tuple[str, ...]
    port: int = 9042
    keyspace: str = "dovetail"
    user_env: str = ""
    password_env: str = ""
    datacenter: str = ""

    @classmethod
    def parse(
        cls,
        address: str,
        keyspace: str = "dovetail",
        user_env: str = "",
        password_env: str = "",
        datacenter: str = "",
    ) -> "ClusterSpec":
        """A spec from ``HOST:PORT``, ``HOST,HOST:PORT`` or ``HOST:PORT,HOST:PORT``; raises ConfigError otherwise.

        All nodes listen on one port.
        """
        hosts, _, port = address.rpartition(":")
        names = tuple(host.strip().removesuffix(f":{port}") for host in hosts.split(",") if host.strip())
        if not names or any(":" in name for name in names) or not port.isdigit() or not 0 < int(port) < 65_536:
            raise ConfigError(f"{address!r} is not a Cassandra address: write HOST:PORT, as in 127.0.0.1:9042")
        return cls(names, int(port), keyspace, user_env, password_env, datacenter)

    @property
    def address(self) -> str:
        """The address as :meth:`parse` takes it."""
        return f"{','.join(self.hosts)}:{self.port}"


def connect(spec: ClusterSpec, with_keyspace: bool = True) -> Session:
    """A new session. End it with :func:`disconnect`.

    Raises ServerUnavailable where no host answers, ConfigError where the login is refused or a
    variable of the credentials is not set, ViewMissing where the keyspace is not there.
    """
    balancing = DCAwareRoundRobinPolicy(spec.datacenter) if spec.datacenter else RoundRobinPolicy()
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(balancing),
        request_timeout=REQUEST_TIMEOUT_S,
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
    )
    cluster = Cluster(
        contact_points=list(spec.hosts),
        port=spec.port,
        auth_provider=_credentials(spec),
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ConstantReconnectionPolicy(0.5, None),
        connect_timeout=CONNECT_TIMEOUT_S,
        control_connection_timeout=CONNECT_TIMEOUT_S,
        # v5 checksums every frame in pure Python: a tenth of a writer's time.
        protocol_version=4,
    )
    try:
        session = cluster.connect()
        if with_keyspace:
            session.set_keyspace(identifier(spec.keyspace))
        return session
    except NoHostAvailable as error:
        cluster.shutdown()
        refused = [e for e in _causes(error) if isinstance(e, AuthenticationFailed | Unauthorized)]
        if refused:
            raise ConfigError(
                f"Cassandra at {spec.address} refused the login: check the variables "
                f"{spec.user_env or '(none)'} and {spec.password_env or '(none)'}"
            ) from error
        raise ServerUnavailable(
            f"Cassandra at {spec.address} does not answer: start it (make up) or correct --cassandra"
        ) from error
    except InvalidRequest as error:
        cluster.shutdown()
        raise ViewMissing(
            f"Cassandra at {spec.address} has no keyspace {spec.keyspace}: create it (dovetail up, or views.tables."
            "create_base) or correct --keyspace"
        ) from error
    except BaseException:
        cluster.shutdown()
        raise


def disconnect(session: Session) -> None:
    """End a session together with its cluster's threads."""
    session.cluster.shutdown()


@contextmanager
def connected(spec: ClusterSpec, with_keyspace: bool = True) -> Iterator[Session]:
    """A session that ends with the block; raises as :func:`connect`."""
    session = connect(spec, with_keyspace)
    try:
        yield session
    finally:
        disconnect(session)


def ensure_keyspace(spec: ClusterSpec, replication_factor: int = 1) -> None:
    """Create the keyspace where it is not there yet."""
    with connected(spec, with_keyspace=False) as session:
        statement = create_keyspace(spec.keyspace, replication_factor, spec.datacenter or None)
        session.execute(statement, timeout=30.0)


_sessions: dict[tuple[int, ClusterSpec], Session] = {}
_lock = threading.Lock()


def worker_session(spec: ClusterSpec) -> Session:
    """The session of this process for that spec, connected on first use: for Spark and Flink workers."""
    key = (os.getpid(), spec)
    with _lock:
        session = _sessions.get(key)
        if session is None or session.is_shutdown:
            session = _sessions[key] = connect(spec)
        return session


def _credentials(spec: ClusterSpec) -> PlainTextAuthProvider | None:
    if not spec.user_env and not spec.password_env:
        return None
    values = []
    for name in (spec.user_env, spec.password_env):
        if not name or name not in os.environ:
            raise ConfigError(f"the environment variable {name or '(no name)'} for Cassandra's login is not set")
        values.append(os.environ[name])
    return PlainTextAuthProvider(*values)


def _causes(error: NoHostAvailable) -> list[BaseException]:
    errors = error.errors
    return list(errors.values()) if isinstance(errors, dict) else list(errors or [])
