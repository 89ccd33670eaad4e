"""The shop on real servers: published views, a small stream of its own, and the service as a process."""

import json
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from cassandra.cluster import Session
from confluent_kafka import Consumer

from common.admission import Event, Policy, admit
from common.embedding import fold_in, history_entry, last_items, load_model, pack_history, pack_recommendations
from common.features.groups import GROUPS
from common.features.previous import with_previous
from common.features.tiles import batch_tiles, fold
from common.features.windows import HOUR_MS, tile_start
from local.ports import free_ports
from local.process import Server
from serving.catalogue import Catalogue
from tests.serving.shop import CATEGORIES, profile_row, shop_event, write_shop_model
from views.mutations import Mutation, Upsert
from views.pointer import Pointer
from views.speed import SpeedRows
from views.versions import BatchVersions, Version
from views.writer import ViewWriter

KEY = b"a key of the serving tests"
POLICY = Policy(KEY, "k1")
KNOWN = "anna@example.org"
LURKER = "no-history@example.org"


def cut_now() -> int:
    """The last full hour."""
    return tile_start(time.time_ns() // 1_000_000, HOUR_MS)


def publish_shop(session: Session, models: Path, cut_ms: int, model_version: str = "m1") -> Pointer:
    """Publish a batch version: one visitor who likes green tea, one with a segment alone, items, popularity."""
    folder = models / model_version
    if not folder.exists():
        write_shop_model(models, model_version, cut_ms)
    catalogue = Catalogue(load_model(folder))
    versions = BatchVersions(session)
    version = versions.claim(cut_ms)
    counts = _fill(session, version, catalogue, cut_ms)
    versions.check(version, counts)
    pointer = versions.flip(version, model_version=model_version, model_uri=str(folder))
    versions.drop_old()
    return pointer


def _fill(session: Session, version: Version, catalogue: Catalogue, cut_ms: int) -> dict[str, int]:
    visitor = POLICY.pseudonym("user", KNOWN)
    seen = [shop_event(f"tea.green-{i}", cut_ms - 2 * HOUR_MS - i, f"h{i}", visitor=visitor) for i in range(4)]
    bought = [shop_event("tea.green-9", cut_ms - 3 * HOUR_MS, "h9", "purchase", visitor=visitor)]
    bought[0] |= {"price": Decimal("7.50"), "quantity": 2, "line": 1}
    rfm = {"recency_days": 1, "frequency": 1, "monetary": Decimal("15.0000"), "rfm": "511"}
    of_segment = {"segment_id": 2, "segment": "Loyal Customers"}
    profiles = [
        profile_row(catalogue, [*seen, *bought], cut_ms, **rfm, **of_segment, visitor_id=visitor),
        profile_row(catalogue, [], cut_ms, **of_segment, visitor_id=POLICY.pseudonym("user", LURKER)),
    ]
    rows: dict[str, list[dict[str, Any]]] = {"profile": [vars(row) for row in profiles]}
    model = catalogue.model
    similar = pack_recommendations([1, 2, 3], [0.9, 0.8, 0.7])
    rows["items"] = [
        {
            "item_id": item,
            "title": model.titles[i],
            "category": model.categories[i],
            "price": Decimal(str(model.prices[i])),
            "similar": similar if i == 0 else None,
            "model_version": model.model_version,
        }
        for i, item in enumerate(model.item_ids)
    ]
    cars = [model.index[f"toys.cars-{i}"] for i in range(5)]
    rows["segments"] = [
        {
            "segment_id": 2,
            "segment": "Loyal Customers",
            "size": 2,
            "centroid": json.dumps({"recency_days": 1, "frequency": 1, "monetary": 15}),
            "recommendations": pack_recommendations(cars, [1.0, 0.9, 0.8, 0.7, 0.6]),
            "model_version": model.model_version,
        }
    ]
    group = GROUPS["popularity"]
    rows["popularity"] = [
        {"item_id": item, "tile_start": tile.start, "n": tile.n} | dict(zip(group.aggregates, tile.values, strict=True))
        for item, tiles in batch_tiles(group, [*seen, *bought], cut_ms).items()
        for tile in (*tiles.ever, *tiles.hours)
    ]
    group = GROUPS["covisits"]
    rows["covisits"] = [
        {group.key: item, "dim": tile.dim, "tile_start": tile.start, "n": tile.n, "mass": tile.values[0]}
        for item, tiles in batch_tiles(group, with_previous([*seen, *bought]), cut_ms).items()
        for tile in (*tiles.ever, *tiles.hours)
    ]
    writer = ViewWriter(session)
    for name, table in version.tables.items():
        writer.write(Upsert(table, tuple(row.get(c) for c in table.view.columns), cut_ms * 1_000) for row in rows[name])
    return {name: len(rows[name]) for name in version.tables}


@dataclass
class SmallStream:
    """What the streaming application does, for one visitor at a time: Kafka -> the gate -> the speed views.

    It keeps all events and folds them anew with each one, so it needs no engine and no state of its own.
    """

    kafka: str
    topic: str
    session: Session
    rows: SpeedRows
    models: Path
    model_version: str = "m1"
    seen: dict[str, Event] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to read the topic from its start."""
        self._thread.start()

    def stop(self) -> None:
        """End, and raise what it failed with."""
        self._ended.set()
        self._thread.join(timeout=30)
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        consumer = Consumer(
            {"bootstrap.servers": self.kafka, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
        )
        try:
            consumer.subscribe([self.topic])
            writer = ViewWriter(self.session)
            while not self._ended.is_set():
                record = consumer.poll(0.05)
                if record is None or record.error():
                    continue
                admitted = admit(record.value(), record.timestamp()[1], POLICY)
                if isinstance(admitted, Event) and admitted.event_id not in self.seen:
                    self.seen[admitted.event_id] = admitted
                    writer.write(self._mutations(admitted.visitor_id))
        except BaseException as error:
            self.failure = error
        finally:
            consumer.close()

    def _mutations(self, visitor: str) -> list[Mutation]:
        every = [_fields(e) for e in self.seen.values()]
        events = [e for e in every if e["visitor_id"] == visitor]
        out: list[Mutation] = []
        of_items = (("popularity", every), ("covisits", with_previous(every)))
        for name, chosen in (("activity", events), ("pulse", events), ("interest", events), *of_items):
            group = GROUPS[name]
            for key, tiles in fold(group, chosen).items():
                for tile in tiles.values():
                    row = {group.key: key, "tile_start": tile.start, "n": tile.n, "dim": tile.dim}
                    out.append(self.rows.tile(group, row | dict(zip(group.aggregates, tile.values, strict=True))))
        history = last_items([entry for e in events if (entry := history_entry(e)) is not None])
        vector = fold_in(load_model(self.models / self.model_version), history).astype("<f4").tobytes()
        embedding: dict[str, Any] = {"visitor_id": visitor, "model_version": self.model_version, "vector": vector}
        embedding |= {"history": pack_history(history), "unknown_items": 0, "updates": len(events)}
        start, end = min(e["event_ms"] for e in events), max(e["event_ms"] for e in events)
        session: dict[str, Any] = {
            "visitor_id": visitor,
            "session_start": start,
            "session_end": end,
            "events": len(events),
        }
        session |= {"pages": len(events), "items": 1, "categories": 1, "spend": Decimal(0), "weight": 1, "intent": 67}
        return [*out, self.rows.embedding(embedding), self.rows.open_session(session | {"suspected_bot": False})]


def _fields(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


@dataclass
class RunningService:
    """``python -m serving`` as a process of its own."""

    server: Server
    url: str

    @classmethod
    def start(cls, folder: Path, arguments: Sequence[str]) -> "RunningService":
        """Start it on a free port and wait until it is ready."""
        port = free_ports(1)[0]
        server = Server(folder, "serving")
        env = {"SERVING_TEST_KEY": KEY.decode()}
        server.start([sys.executable, "-m", "serving", "--port", str(port), *arguments], env)
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            try:
                return httpx.get(f"{url}/healthz", timeout=2).status_code == 200
            except httpx.TransportError:
                return False

        server.wait_ready(answers, 60)
        return cls(server, url)

    def stop(self) -> None:
        """End it."""
        self.server.stop()


def wait_for(condition: Any, what: str, limit: float = 20.0) -> Any:
    """What ``condition`` returns once it is true; fails, saying what it waited for, after ``limit`` seconds."""
    deadline = time.monotonic() + limit
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {limit:.0f} s for {what}"
        time.sleep(0.05)


def event_bytes(item: str, event_type: str = "view", user: str = KNOWN, **more: Any) -> bytes:
    """A raw event as a shop sends it, now."""
    event = {
        "event_id": uuid.uuid4().hex,
        "event_type": event_type,
        "user_id": user,
        "item_id": item,
        "category": next((c for c in CATEGORIES if item.startswith(c)), None),
        "event_ms": time.time_ns() // 1_000_000,
    }
    return json.dumps({k: v for k, v in (event | more).items() if v is not None}).encode()
