"""Personas: what a segment's card says, the rules behind its words, and the overrides of those who know better.

A card is made from figures of the segment's members. A person may override its words in a YAML file, and says who,
when and why; the card keeps what it said before.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from common.errors import ContractError
from common.lists import read_list


class Share(msgspec.Struct, frozen=True):
    """One value of a dimension with its share of the segment, 0 to 1, and how many times the shop's own share it is."""

    name: str
    share: float
    lift: float


class Basket(msgspec.Struct, frozen=True, kw_only=True):
    """The orders of the members: how many each, their mean value, and their mean number of units."""

    orders_each: float
    value: float
    units: float


class Overridden(msgspec.Struct, frozen=True, kw_only=True):
    """One word of a card that a person set: what it said before, who set it, when, why."""

    field: str
    before: str | int
    by: str
    when: str
    why: str


class Persona(msgspec.Struct, frozen=True, kw_only=True):
    """The card of one segment. Shares are of what its members did in the days before the cut; hours and days are UTC.

    ``churn_days`` without an order are the sign that a member is about to leave; ``hours`` has 24 shares and
    ``weekdays`` seven, from Monday on.
    """

    segment_id: int
    segment: str
    title: str
    summary: str
    size: int
    share: float
    recency_days: float
    frequency: float
    monetary: float
    categories: list[Share]
    basket: Basket
    hours: list[float]
    weekdays: list[float]
    devices: list[Share]
    channels: list[Share]
    churn_days: int
    churn_trigger: str
    action: str
    tone: str
    overrides: list[Overridden] = []


class _Manner(NamedTuple):
    tone: str
    action: str


MANNERS: dict[str, _Manner] = {
    "Loyal Customers": _Manner("Familiar and grateful: they know the shop.", "Early access and thanks, no discount."),
    "Lapsed Customers": _Manner("Warm and short: remind, do not press.", "What is new since then, and one offer."),
    "Newcomers": _Manner("Welcoming and explaining.", "Guide to a second order: what goes with the first."),
    "Big Spenders": _Manner("Personal and attentive.", "Service and the finest of their categories."),
    "Bargain Hunters": _Manner("Plain and quick: the price first.", "Bundles and last pieces."),
    "Occasional Buyers": _Manner("Inspiring, with an occasion.", "Ideas for the season in their categories."),
    "Lapsing Regulars": _Manner("Personal and open: ask what is missing.", "Refill of what they used to buy."),
    "One-time Big Baskets": _Manner("Helpful after the purchase.", "Complements of the one large order."),
}
"""How to speak to a segment, and what to do, by the name that common/centroids.py gave it."""

PLAIN = _Manner("Friendly and matter-of-fact.", "What is popular in their categories.")
"""For a segment whose name no rule knows."""

CHURN_AT_LEAST = 7
"""Days of silence that are no sign yet, however often a segment orders."""


def manner(segment: str) -> _Manner:
    """The tone and action for a segment's name; a number behind the name does not count."""
    known = [m for name, m in MANNERS.items() if segment == name or segment.startswith(f"{name} ")]
    return known[0] if known else PLAIN


def churn_days(gap_days: float | None, recency_days: float) -> int:
    """Days without an order after which a member is about to leave.

    ``gap_days`` is what nine of ten gaps between the members' orders stay within; without any gap, twice the
    days that passed since their last order.
    """
    return max(CHURN_AT_LEAST, round(2 * recency_days if gap_days is None else gap_days))


def summary(size: int, share: float, categories: Sequence[Share], basket: Basket, hours: Sequence[float]) -> str:
    """The card's first words, from its figures."""
    parts = [f"{size:,} visitors, {share:.0%} of those who bought."]
    if categories:
        parts.append(f"They like {spoken(categories[0].name)} best")
        loved = max(categories, key=lambda c: c.lift)
        if loved.lift >= 1.2 and loved.name != categories[0].name:
            parts[-1] += f", and {spoken(loved.name)} {loved.lift:.1f} times as much as others"
        parts[-1] += "."
    if basket.orders_each > 0:
        parts.append(f"{basket.orders_each:.1f} orders each, {basket.value:,.2f} a basket.")
    if any(hours):
        parts.append(f"Most active around {max(range(24), key=lambda h: hours[h])}:00 UTC.")
    return " ".join(parts)


def spoken(category: str) -> str:
    """A category as people say it: the last step of its path."""
    return category.rpartition(".")[2].replace("_", " ")


OTHER = "other"
"""What stands for all values of a dimension beyond the largest: it has a share, but is none of them."""


def shares(counts: Mapping[str, float], shop: Mapping[str, float], most: int) -> list[Share]:
    """The largest values of a dimension, by share, of equals by name; ``shop`` are the counts of all segments."""
    total, whole = sum(counts.values()), sum(shop.values())
    if total <= 0:
        return []
    ordered = sorted(counts.keys() - {OTHER}, key=lambda name: (-counts[name], name))[:most]
    return [
        Share(name, round(counts[name] / total, 4), round(counts[name] / total / (shop[name] / whole), 2))
        for name in ordered
        if counts[name] > 0
    ]


def spread(counts: Mapping[str, float], values: Iterable[str]) -> list[float]:
    """The share of each of the values, in their order; zeros where nothing was counted."""
    found = [counts.get(value, 0.0) for value in values]
    total = sum(found)
    return [round(x / total, 4) if total else 0.0 for x in found]


# Overrides


class Words(BaseModel):
    """The words of a card that a person may set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str | None = Field(None, min_length=1, max_length=80)
    summary: str | None = Field(None, min_length=1, max_length=600)
    tone: str | None = Field(None, min_length=1, max_length=300)
    action: str | None = Field(None, min_length=1, max_length=300)
    churn_trigger: str | None = Field(None, min_length=1, max_length=300)
    churn_days: int | None = Field(None, ge=1, le=3650)


class Override(BaseModel):
    """What a person sets on the card of one segment; ``by``, ``when`` and ``why`` are its provenance."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    segment: str | int
    """The segment's name, or its id, which stays from run to run."""
    by: str = Field(min_length=1, max_length=80)
    when: date
    why: str = Field(min_length=1, max_length=600)
    set: Words


_overrides = TypeAdapter(list[Override])


def read_overrides(path: Path) -> list[Override]:
    """The overrides in a YAML file, a list; raises ConfigError in one line where it is not one."""
    return read_list(path, _overrides, "--overrides")


def overridden(card: Persona, overrides: Iterable[Override]) -> Persona:
    """The card with what the overrides of its segment set; of two on one word the later in the file holds."""
    for override in overrides:
        if override.segment not in (card.segment_id, card.segment):
            continue
        words = override.set.model_dump(exclude_none=True)
        told = [
            Overridden(
                field=field,
                before=getattr(card, field),
                by=override.by,
                when=override.when.isoformat(),
                why=override.why,
            )
            for field in words
        ]
        card = msgspec.structs.replace(card, **words, overrides=[*card.overrides, *told])
    return card


def to_json(card: Persona) -> str:
    """The card as JSON, the same text for the same card."""
    return json.dumps(msgspec.to_builtins(card), ensure_ascii=False)


def from_json(text: str) -> Persona:
    """The inverse of :func:`to_json`; raises ContractError where the text is not a card."""
    try:
        return msgspec.json.decode(text, type=Persona)
    except msgspec.DecodeError as error:
        raise ContractError(f"a card of {len(text)} characters is not a persona: {error}") from error


def card(
    row: Mapping[str, Any],
    *,
    visitors: int,
    counts: Mapping[str, Mapping[str, float]],
    shop: Mapping[str, Mapping[str, float]],
    basket: Basket,
    gap_days: float | None,
) -> Persona:
    """The card of a segment from its figures.

    ``row`` has segment_id, segment, size and the centroid's recency_days, frequency and monetary; ``visitors`` is the
    size of all segments; ``counts`` and ``shop`` are what its members and everyone did, by dimension (category, hour,
    weekday, device, channel) and value.
    """

    def top(dimension: str, most: int) -> list[Share]:
        return shares(counts.get(dimension, {}), shop.get(dimension, {}), most)

    # Rounded once, so that a card says one figure in its words and beside its name.
    share = round(row["size"] / visitors, 4) if visitors else 0.0
    categories, hours = top("category", 5), spread(counts.get("hour", {}), map(str, range(24)))
    days, how = churn_days(gap_days, row["recency_days"]), manner(row["segment"])
    return Persona(
        segment_id=row["segment_id"],
        segment=row["segment"],
        title=row["segment"],
        summary=summary(row["size"], share, categories, basket, hours),
        size=row["size"],
        share=share,
        recency_days=row["recency_days"],
        frequency=row["frequency"],
        monetary=row["monetary"],
        categories=categories,
        basket=basket,
        hours=hours,
        weekdays=spread(counts.get("weekday", {}), map(str, range(7))),
        devices=top("device", 4),
        channels=top("channel", 4),
        churn_days=days,
        churn_trigger=f"No order for {days} days: nine of ten of their orders come sooner after the last."
        if gap_days is not None
        else f"No order for {days} days, twice what has passed since the last.",
        action=how.action,
        tone=how.tone,
    )
