"""The servers themselves: they serve, keep their data over a restart and leave nothing behind."""

import time

import pytest
from confluent_kafka import Consumer, Producer

from common.errors import ServerUnavailable
from local.guard import bearers
from local.ports import is_open
from local.process import MARK, Server
from views.connect import connect, disconnect

pytestmark = pytest.mark.platform


def read_all(address: str, topic: str, count: int, limit: float = 30.0) -> list[bytes]:
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": f"read-{time.monotonic_ns()}", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    values: list[bytes] = []
    deadline = time.monotonic() + limit
    while len(values) < count and time.monotonic() < deadline:
        values += [message.value() or b"" for message in consumer.consume(count, timeout=0.5) if not message.error()]
    consumer.close()
    return values


def left_behind(server: Server) -> list[int]:
    return bearers(MARK, f"{server.folder.resolve()}#{server.name}")


def test_kafka_keeps_its_records_over_a_restart(kafka, new_topic):
    topic = new_topic()
    producer = Producer({"bootstrap.servers": kafka.address})
    sent = {f"value {n}".encode() for n in range(1000)}
    for value in sent:
        producer.produce(topic, value)
    assert producer.flush(30) == 0
    kafka.stop()
    assert left_behind(kafka.server) == []
    assert not is_open(kafka.port)
    kafka.start()
    kafka.wait_ready(120)
    assert set(read_all(kafka.address, topic, len(sent))) == sent


def test_kafka_creates_a_topic_once_with_its_retention(kafka, new_topic):
    topic = new_topic(partitions=3)
    kafka.create_topic(topic, partitions=3)
    producer = Producer({"bootstrap.servers": kafka.address})
    assert len(producer.list_topics(topic, timeout=10).topics[topic].partitions) == 3


def test_cassandra_keeps_its_rows_over_a_restart(cassandra, cluster_spec):
    session = connect(cluster_spec)
    session.execute("CREATE TABLE kept (k int PRIMARY KEY, v vector<float, 3>)", timeout=30.0)
    session.execute("INSERT INTO kept (k, v) VALUES (%s, %s)", (1, [0.5, 1.0, 2.0]))
    disconnect(session)
    cassandra.stop()
    assert left_behind(cassandra.server) == []
    cassandra.start()
    cassandra.wait_ready(180)
    session = connect(cluster_spec)
    assert list(session.execute("SELECT v FROM kept WHERE k = 1").one().v) == [0.5, 1.0, 2.0]
    disconnect(session)


def test_nodetool_reaches_the_node(cassandra):
    assert "UN  127.0.0.1" in cassandra.nodetool("status")


PROGRAM = """
import pandas as pd
from pyflink.table import DataTypes, EnvironmentSettings, TableEnvironment
from pyflink.table.udf import udf

t_env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
t_env.get_config().set("execution.checkpointing.interval", "500 ms")


@udf(result_type=DataTypes.BIGINT(), func_type="pandas")
def plus_one(x: pd.Series) -> pd.Series:
    return x + 1


t_env.create_temporary_function("plus_one", plus_one)
t_env.execute_sql("CREATE TEMPORARY TABLE numbers (x BIGINT) WITH ('connector'='datagen', 'rows-per-second'='50')")
t_env.execute_sql("CREATE TEMPORARY TABLE done (x BIGINT) WITH ('connector'='blackhole')")
t_env.execute_sql("INSERT INTO done SELECT plus_one(x) FROM numbers")
"""


def test_flink_runs_python_survives_a_lost_taskmanager_and_leaves_nothing(flink_cluster, tmp_path):
    rest = flink_cluster.rest
    assert rest.overview()["taskmanagers"] == 2
    assert rest.overview()["slots-total"] == 4
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    job = flink_cluster.submit(program)
    rest.wait_running(job, 120)
    rest.wait_checkpoint(job)

    busy = [tm for tm in flink_cluster.taskmanagers if len(left_behind(tm)) > 1]
    busy[0].kill()
    # either the spare TaskManager takes over or the returned one does
    flink_cluster.start_taskmanager(flink_cluster.taskmanagers.index(busy[0]) + 1)
    flink_cluster.wait_ready(120)
    deadline = time.monotonic() + 90
    while rest.restarts(job) == 0 and time.monotonic() < deadline:
        time.sleep(0.5)
    rest.wait_running(job, 120)
    assert rest.restarts(job) >= 1
    # tasks that are about to be cancelled run still: a checkpoint shows that they are the new ones
    rest.wait_checkpoint(job, 120)

    rest.stop(job, flink_cluster.savepoints)
    assert rest.wait_finished(job, 30) == "FINISHED"
    assert list(flink_cluster.savepoints.glob("savepoint-*/_metadata"))

    flink_cluster.stop()
    assert [pid for server in flink_cluster.taskmanagers for pid in left_behind(server)] == []
    assert left_behind(flink_cluster.jobmanager) == []
    flink_cluster.start()
    flink_cluster.wait_ready(180)


def test_a_program_that_fails_says_why_in_one_line(flink_cluster, tmp_path):
    program = tmp_path / "wrong.py"
    program.write_text("from pyflink.table import TableEnvironment\nraise ValueError('no such thing')\n")
    with pytest.raises(ServerUnavailable, match="flink run wrong.py failed .* ValueError: no such thing"):
        flink_cluster.submit(program)
    with pytest.raises(ServerUnavailable, match="404"):
        flink_cluster.rest.state("0" * 32)
