"""A small shop's raw events with everything that can be wrong with them, from one seed."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

from common.features.windows import DAY_MS, HOUR_MS, MINUTE_MS

CUT_MS = 1_772_330_400_000
"""2026-03-01T02:00:00Z: not on a day's border, so the last day tile is a part of a day."""

CATEGORIES = ("tea.green", "tea.black", "cups", "pots", "sweets")


@dataclass(frozen=True)
class Shop:
    """The file, and what is in it."""

    path: Path
    lines: int
    broken: int
    """Lines that are no event."""
    free: int
    """Sales at a price of nothing."""
    twice: int
    """Lines that repeat another one."""


def write(path: Path, seed: int = 7, visitors: int = 40, days: int = 8) -> Shop:
    """Write the shop's history as JSON lines, some hours beyond the cut."""
    rng = random.Random(seed)
    taste = {v: rng.sample(range(25), 6) for v in range(visitors)}
    lines: list[str] = []
    free = 0
    for visitor in range(visitors):
        for session in range(rng.randint(1, 7)):
            at = CUT_MS + 6 * HOUR_MS - rng.randrange(days * DAY_MS)
            order = None
            for step in range(rng.randint(1, 9)):
                at += rng.choice((rng.randrange(1, 5 * MINUTE_MS), 30 * MINUTE_MS, 30 * MINUTE_MS + 1))
                item = rng.choice(taste[visitor]) if rng.random() < 0.85 else rng.randrange(25)
                kind = rng.choices(("view", "cart", "purchase", "search", "refund"), (60, 15, 15, 5, 2))[0]
                event: dict = {
                    "event_id": f"e-{visitor}-{session}-{step}",
                    "event_type": kind,
                    ("user_id" if visitor % 3 else "anonymous_id"): f"v{visitor}",
                    "event_ms": at,
                    "device": rng.choice(("mobile", "desktop", None)),
                    "properties": {"title": f"Item {item}"},
                }
                if kind == "search":
                    event["query"] = "tea"
                else:
                    event |= {"item_id": f"i{item}", "category": CATEGORIES[item % 5], "price": 1.25 + item}
                if kind in ("purchase", "refund"):
                    order = order or f"o-{visitor}-{session}"
                    event |= {"quantity": rng.randint(1, 3), "order_id": order, "line": rng.randint(1, 2)}
                    if rng.random() < 0.1:
                        event["price"] = 0
                        free += 1
                lines.append(json.dumps({k: v for k, v in event.items() if v is not None}))
    # A session that is still open at the cut.
    near = {
        "event_id": "e-near",
        "event_type": "view",
        "user_id": "v1",
        "item_id": "i1",
        "event_ms": CUT_MS - MINUTE_MS,
    }
    lines.append(json.dumps(near))
    repeated = rng.sample(lines, 60)
    broken = [
        "{",
        "",
        "[1]",
        '{"event_type": "view"}',
        '{"event_id": "x", "event_type": "dance", "event_ms": 1772000000000}',
    ]
    free += sum('"price": 0,' in line or '"price": 0}' in line for line in repeated)
    lines += repeated
    rng.shuffle(lines)
    for line in broken:
        lines.insert(rng.randrange(len(lines)), line)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Shop(path, len(lines), len(broken), free, len(repeated))
