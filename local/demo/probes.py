"""Probes: a click goes in by HTTP, and the list is asked for until it has changed because of it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

LIST = 50
"""Items asked for: after many purchases a click moves every score, but may leave the first twenty in their order."""
LIMIT_S = 10.0
PAUSE_S = 0.01


@dataclass(frozen=True)
class Visitor:
    """Whom a probe clicks as."""

    raw_id: str
    kind: str

    @property
    def path(self) -> str:
        """Where the visitor's list is."""
        return f"/v1/users/{self.raw_id}/recommendations?kind={self.kind}&n={LIST}&explain=true"

    @property
    def id_field(self) -> str:
        """The field of a raw event that holds the id."""
        return "user_id" if self.kind == "user" else "anonymous_id"


@dataclass(frozen=True)
class Clicked:
    """An item that a probe may click, with what a shop sends along."""

    item_id: str
    category: str


@dataclass
class Probed:
    """What the probes saw."""

    milliseconds: list[float] = field(default_factory=list)
    """From the moment the event is posted to the answer whose scores and order it has moved."""
    unmoved: list[str] = field(default_factory=list)
    """What came instead."""


def probe(
    base_url: str, visitors: Sequence[Visitor], items: Sequence[Clicked], count: int, lanes: int, seed: int
) -> Probed:
    """Make ``count`` probes in ``lanes`` lanes side by side; visitors take turns, so two probes never share one."""
    return asyncio.run(_probe(base_url, visitors, items, count, lanes, seed))


async def _probe(
    base_url: str, visitors: Sequence[Visitor], items: Sequence[Clicked], count: int, lanes: int, seed: int
) -> Probed:
    probed = Probed()
    async with httpx.AsyncClient(base_url=base_url, timeout=5.0) as client:

        async def lane(number: int) -> None:
            rng = np.random.default_rng([seed, number])
            own = visitors[number::lanes]
            for turn in range(number, count, lanes):
                visitor = own[(turn // lanes) % len(own)]
                await _one(client, visitor, items, rng, f"probe-{seed}-{turn}", probed)

        await asyncio.gather(*(lane(number) for number in range(lanes)))
    return probed


async def _one(
    client: httpx.AsyncClient,
    visitor: Visitor,
    items: Sequence[Clicked],
    rng: np.random.Generator,
    event_id: str,
    probed: Probed,
) -> None:
    before = (await client.get(visitor.path)).json()
    known = {row["item_id"] for row in (before.get("explanation") or {}).get("history", [])} | set(_order(before))
    fresh = next(items[i] for i in rng.permutation(len(items)) if items[i].item_id not in known)
    event = {
        "event_id": event_id,
        "event_type": "cart",
        visitor.id_field: visitor.raw_id,
        "item_id": fresh.item_id,
        "category": fresh.category,
        "event_ms": int(time.time() * 1000),
        "source": "demo",
    }
    begun = time.perf_counter()
    posted = await client.post("/v1/events", json=event)
    if posted.status_code != 202:
        probed.unmoved.append(f"POST /v1/events answered {posted.status_code}")
        return
    while time.perf_counter() - begun < LIMIT_S:
        after = (await client.get(visitor.path)).json()
        if _moved(before, after, event):
            probed.milliseconds.append((time.perf_counter() - begun) * 1000)
            return
        await asyncio.sleep(PAUSE_S)
    probed.unmoved.append(f"no change within {LIMIT_S:.0f} s")


def _moved(before: dict[str, Any], after: dict[str, Any], event: dict[str, Any]) -> bool:
    """Whether the answer rests on the event, and its scores and its order differ from before.

    Popularity and decay move scores by themselves, so the event itself must be in the history that the visitor's
    vector was folded in from, and the order of the list must be another one.
    """
    history = (after.get("explanation") or {}).get("history", [])
    folded = any(row["item_id"] == event["item_id"] and row["event_ms"] == event["event_ms"] for row in history)
    return folded and _order(before) != _order(after) and _scores(before) != _scores(after)


def _order(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def _scores(answer: dict[str, Any]) -> list[float]:
    return [item["score"] for item in answer["items"]]
