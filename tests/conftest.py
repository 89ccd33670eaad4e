"""The engines and servers that tests share: each real, started at its first use, once for the run.

Nothing outlives the run, however it ends: see ``local/guard.py``.
"""

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.guard import guard
from local.paths import project_root
from local.ports import free_ports

PSEUDONYM_KEY_ENV = "DOVETAIL_PSEUDONYM_KEY"
PSEUDONYM_KEY = "a key for tests only, of no value"


def pytest_sessionstart() -> None:
    """End every process that a test started when the run ends, also by Ctrl-C or ``kill -9``.

    Where the run shares its tests among processes, each owns what it started, and the run owns them.
    """
    guard()


@pytest.fixture(scope="session")
def pseudonym_key() -> Iterator[str]:
    """The pseudonym key, set in the environment variable of its usual name for the run and all it starts."""
    patch = pytest.MonkeyPatch()
    patch.setenv(PSEUDONYM_KEY_ENV, PSEUDONYM_KEY)
    yield PSEUDONYM_KEY
    patch.undo()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets: ``DOVETAIL_DATA``, else ``../shared/data`` beside the checkout."""
    given = os.environ.get("DOVETAIL_DATA")
    folder = Path(given) if given else project_root().parent / "shared" / "data"
    if not (folder / "online_retail.parquet").is_file():
        pytest.skip(
            "needs the real data sets (online_retail.parquet, rees46_2019-10-01_head.csv, ...): "
            "set DOVETAIL_DATA to their folder; the documentation says where each comes from"
        )
    return folder


@pytest.fixture(scope="session")
def environment_python() -> Iterator[None]:
    """Put this environment's Python first: Spark's workers run ``python3`` and Flink's ``python`` from PATH."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]))
    patch.setenv("PYSPARK_PYTHON", sys.executable)
    patch.setenv("PYSPARK_DRIVER_PYTHON", sys.executable)
    patch.delenv("SPARK_HOME", raising=False)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def _spark_session(environment_python, pseudonym_key, tmp_path_factory):
    from jobs.spark.session import local_session
    from local.jars import fetch

    session = local_session(
        "dovetail-tests",
        fetch("delta"),
        memory="2g",  # one session for all tests, the 541,909 rows of Online Retail among them
        settings={
            "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse")),
            # it lives long enough for both of Java's compilers to pay
            "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:ReservedCodeCacheSize=384m",
        },
    )
    # without it, ALS with many iterations overflows the stack of its lineage and kills the JVM
    session.sparkContext.setCheckpointDir(str(tmp_path_factory.mktemp("checkpoints")))
    yield session
    session.stop()


@pytest.fixture
def spark(_spark_session):
    """The run's one Spark session (``local[2]``, Delta, UTC); settings, views and caches are reset after each test."""
    before = _spark_session.conf.getAll
    yield _spark_session
    _spark_session.catalog.clearCache()
    for view in _spark_session.catalog.listTables():
        if view.isTemporary:
            _spark_session.catalog.dropTempView(view.name)
    after = _spark_session.conf.getAll
    for key in after.keys() - before.keys():
        _spark_session.conf.unset(key)
    for key, value in before.items():
        if after.get(key) != value:
            _spark_session.conf.set(key, value)


@pytest.fixture(scope="session")
def servers_dir(tmp_path_factory) -> Path:
    """The work folder of the run's servers; their logs are in ``logs/``."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def kafka(servers_dir):
    """A real Kafka broker (:class:`local.kafka.Kafka`); ``kafka.address`` is HOST:PORT. It has no topics."""
    from local.kafka import Kafka

    port, controller = free_ports(2)
    broker = Kafka(servers_dir, port, controller, heap="384m")
    broker.start()
    try:
        broker.wait_ready(120)
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def new_topic(kafka) -> Callable[..., str]:
    """A function that creates a topic of a new name: ``new_topic(partitions=2)``."""

    def create(partitions: int = 2) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        kafka.create_topic(name, partitions)
        return name

    return create


@pytest.fixture(scope="session")
def cassandra(servers_dir):
    """A real Cassandra node without login (:class:`local.cassandra.Cassandra`); ``cassandra.address`` is HOST:PORT."""
    from local.cassandra import Cassandra

    port, storage, jmx = free_ports(3)
    node = Cassandra(servers_dir, port, storage, jmx, heap="512m", quick=True)
    node.start()
    try:
        node.wait_ready(180)
        yield node
    finally:
        node.stop()


@pytest.fixture
def cluster_spec(cassandra):
    """Where to connect (:class:`views.connect.ClusterSpec`): a keyspace of its own for each test, dropped after it."""
    from tests.platform.storm import keyspace

    with keyspace(cassandra, "test") as spec:
        yield spec


@pytest.fixture(scope="session")
def flink_cluster(servers_dir, environment_python, pseudonym_key):
    """A real Flink session cluster of two TaskManagers with two slots each (:class:`local.flink.FlinkCluster`)."""
    from local.flink import FlinkCluster, FlinkSize
    from tests.platform.storm import LONG

    rest, rpc = free_ports(2)
    # the long form's hundred thousand visitors come down to one slot
    size = FlinkSize(task_heap=3_072) if LONG else FlinkSize(quick=True)
    cluster = FlinkCluster(servers_dir, rest, rpc, size)
    cluster.start()
    try:
        cluster.wait_ready(180)
        yield cluster
    finally:
        cluster.stop()
