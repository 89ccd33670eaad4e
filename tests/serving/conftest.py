"""The shop: its model for pure tests, and all of it on real servers, each made once for the run."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cassandra.cluster import Session

from common.embedding import load_model
from serving.catalogue import Catalogue
from tests.serving.platform import KNOWN, RunningService, SmallStream, cut_now, publish_shop
from tests.serving.shop import write_shop_model
from views.connect import ClusterSpec, connect, disconnect, ensure_keyspace
from views.speed import SpeedRows
from views.versions import Generations


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return Catalogue(load_model(write_shop_model(tmp_path_factory.mktemp("models"))))


@dataclass
class Shop:
    """The running whole: the service's URL, what stands behind it, and a client."""

    service: RunningService
    client: httpx.Client
    session: Session
    spec: ClusterSpec
    kafka: str
    events_topic: str
    rejected_topic: str
    models: Path
    stream: SmallStream
    arguments: list[str]


@pytest.fixture(scope="session")
def shop(cassandra, kafka, servers_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Published views, a generation that a small stream fills, and ``python -m serving`` before them."""
    folder = tmp_path_factory.mktemp("serving")
    mark = uuid.uuid4().hex[:10]
    spec = ClusterSpec.parse(cassandra.address, keyspace=f"serving_{mark}")
    events_topic, rejected_topic = f"events-{mark}", f"events.rejected-{mark}"
    for topic in (events_topic, rejected_topic):
        kafka.create_topic(topic, 2)
    ensure_keyspace(spec)
    session = connect(spec)
    generations = Generations(session)
    generation = generations.create()
    publish_shop(session, folder / "models", cut_now())
    generations.make_live(generation.name)
    rows = SpeedRows(generation.name, generation.created_ms)
    stream = SmallStream(kafka.address, events_topic, session, rows, folder / "models")
    stream.start()
    visitors = folder / "visitors.json"
    visitors.write_text(json.dumps([{"id": KNOWN, "kind": "user", "label": "Anna"}, {"id": "new", "label": "New"}]))
    arguments = ["--cassandra", cassandra.address, "--keyspace", spec.keyspace, "--kafka", kafka.address]
    arguments += ["--events-topic", events_topic, "--rejected-topic", rejected_topic]
    arguments += ["--pseudonym-key-env", "SERVING_TEST_KEY", "--playground-visitors", str(visitors)]
    arguments += ["--trending-refresh", "0.5"]
    service = RunningService.start(servers_dir / f"serving-{mark}", arguments)
    try:
        with httpx.Client(base_url=service.url, timeout=10) as client:
            yield Shop(
                service=service,
                client=client,
                session=session,
                spec=spec,
                kafka=kafka.address,
                events_topic=events_topic,
                rejected_topic=rejected_topic,
                models=folder / "models",
                stream=stream,
                arguments=arguments,
            )
    finally:
        service.stop()
        stream.stop()
        disconnect(session)
