"""The producer keeps keys, order and timestamps, holds its rate, and says so when the broker is away."""

import time

import pytest
from confluent_kafka import Consumer, TopicPartition

from common.errors import ServerUnavailable
from local.producer import EventProducer
from local.simulator.config import ShopConfig
from local.simulator.poison import poisoned
from local.simulator.record import Record
from local.simulator.shop import Shop

pytestmark = pytest.mark.platform


def stored(address: str, topic: str, partitions: int = 2) -> list[Record]:
    """Every record of a topic, partition by partition, in the order of offsets."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "none", "enable.auto.commit": False})
    found = []
    for partition in range(partitions):
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        consumer.assign([TopicPartition(topic, partition, low)])
        while low < high:
            for message in consumer.consume(1000, timeout=5):
                assert message.error() is None
                low = (message.offset() or 0) + 1
                found.append(Record(message.key(), message.value(), 0, message.timestamp()[1]))
    consumer.close()
    return found


def test_a_past_day_is_replayed_with_its_keys_order_and_timestamps(kafka, new_topic):
    topic = new_topic()
    cut = int(time.time()) // 3_600 * 3_600_000 - 24 * 3_600_000
    shop = Shop(ShopConfig(cut_ms=cut, visitors=200, items=120, history_days=7))
    records = list(shop.live(cut + 6 * 3_600_000))
    with EventProducer(kafka.address, topic) as producer:
        sent = producer.replay(records)
    assert sent.records == len(records) > 0
    got = stored(kafka.address, topic)
    assert {(r.key, r.value, r.timestamp_ms) for r in got} == {(r.key, r.value, r.timestamp_ms) for r in records}
    for key in {record.key for record in records}:
        assert [r.value for r in got if r.key == key] == [r.value for r in records if r.key == key]


def test_poison_of_every_size_is_taken_by_the_broker(kafka, new_topic):
    topic = new_topic()
    bad = [one.record for one in poisoned(40, [int(time.time() * 1000)])]
    with EventProducer(kafka.address, topic) as producer:
        producer.replay(bad)
    assert sorted(len(r.value or b"") for r in stored(kafka.address, topic)) == sorted(len(r.value or b"") for r in bad)


def test_a_rate_spreads_records_over_time(kafka, new_topic):
    topic = new_topic()
    records = [Record(b"k", b"v", 0, 1)] * 100
    with EventProducer(kafka.address, topic) as producer:
        sent = producer.replay(records, rate=100.0, as_now=True)
    assert sent.seconds >= 0.98
    times = [record.timestamp_ms for record in stored(kafka.address, topic)]
    assert max(times) - min(times) >= 900


def test_a_broker_that_is_away_is_an_error_with_a_limit():
    producer = EventProducer("127.0.0.1:1")
    producer.send(b"k", b"v")
    with pytest.raises(ServerUnavailable, match="waited 1 s for Kafka at 127.0.0.1:1 to take 1 records"):
        producer.flush(limit=1.0)
