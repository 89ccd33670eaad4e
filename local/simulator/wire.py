"""A timeline's actions as raw events: the JSON that the shop's pages send, with raw ids."""

import msgspec
import numpy as np

from local.simulator.catalogue import CURRENCY, Catalogue
from local.simulator.record import Record
from local.simulator.timeline import Timeline
from local.simulator.traffic import CODE, TYPES
from local.simulator.visitors import COUNTRIES, DEVICES, Visitors

REFERRERS = (None, "https://search.example/", "https://news.example/", "https://social.example/")
SOURCE = "simulator"
OTHER_DEVICE = 0.1
"""Share of sessions on another device than the visitor's usual one."""


class Wire(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A raw event as the shop's pages send it; what is not set is not sent."""

    event_id: str
    event_type: str
    event_ms: int
    user_id: str | None = None
    anonymous_id: str | None = None
    item_id: str | None = None
    category: str | None = None
    price: float | None = None
    currency: str | None = None
    quantity: int | None = None
    order_id: str | None = None
    line: int | None = None
    query: str | None = None
    value: float | None = None
    recommendation_id: str | None = None
    device: str | None = None
    country: str | None = None
    referrer: str | None = None
    source: str | None = None
    properties: dict[str, str] | None = None


class Renderer:
    """Renders the actions of one timeline."""

    def __init__(self, seed: int, catalogue: Catalogue, visitors: Visitors, timeline: Timeline):
        self._seed = seed
        self._catalogue = catalogue
        self._visitors = visitors
        self._encoder = msgspec.json.Encoder()
        self._prices = (catalogue.pence / 100).tolist()
        self._liking = np.rint(2 * np.sqrt(visitors.taste)).astype(int)
        self._names = [f"{d}-{n}" for d, n in zip(timeline.day.tolist(), timeline.number.tolist(), strict=True)]
        self._who = timeline.visitor.tolist()
        self._known = timeline.known.tolist()
        usual = visitors.device[timeline.visitor]
        other = (usual + 1 + (timeline.number % 2)) % len(DEVICES)
        devices = np.where(timeline.device_draw < OTHER_DEVICE, other, usual)
        self._devices = [DEVICES[d] for d in devices.tolist()]
        self._countries = [COUNTRIES[c] for c in visitors.country[timeline.visitor].tolist()]
        self._referrers = [REFERRERS[r] for r in timeline.referrer.tolist()]

    def record(
        self, session: int, serial: int, ms: int, kind: int, item: int, quantity: int, line: int, value: int
    ) -> Record:
        """Return one action as a record; its timestamp is its instant and what the network takes."""
        visitor, name = self._who[session], self._names[session]
        event = Wire(
            event_id=f"{self._seed:x}-{name}-{serial}",
            event_type=TYPES[kind],
            event_ms=ms,
            user_id=self._visitors.user_id(visitor) if self._known[session] else None,
            anonymous_id=self._visitors.anonymous_id(visitor),
            device=self._devices[session],
            country=self._countries[session],
            referrer=self._referrers[session],
            source=SOURCE,
            properties={"session_id": name},
        )
        if kind == CODE["search"]:
            event.query = self._query(item)
        elif kind != CODE["identify"]:
            self._add_item(event, item, quantity)
        if kind == CODE["view"]:
            event.value = value / 1000
        elif kind == CODE["impression"]:
            event.recommendation_id = f"list-{name}"
        elif kind == CODE["purchase"]:
            event.order_id, event.line = f"order-{name}", line
        elif kind == CODE["refund"]:
            event.order_id, event.line = f"order-{self._names[value]}", line
        elif kind == CODE["rate"]:
            event.value, event.quantity = float(3 + self._liking[visitor, self._catalogue.leaf[item]]), None
        key = (event.user_id or event.anonymous_id or "").encode()
        return Record(key, self._encoder.encode(event), ms, ms + 40 + (ms * 31 + serial * 17) % 360)

    def _add_item(self, event: Wire, item: int, quantity: int) -> None:
        event.item_id = self._catalogue.item_ids[item]
        event.category = self._catalogue.categories[item]
        event.price = self._prices[item]
        event.currency = CURRENCY
        event.quantity = quantity if quantity > 0 else None
        assert event.properties is not None
        event.properties["title"] = self._catalogue.titles[item]

    def _query(self, item: int) -> str:
        style, _, noun = self._catalogue.titles[item].split(" No. ")[0].split(" ", 2)
        return f"{style} {noun}".lower()
