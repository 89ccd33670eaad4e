"""What a serving process takes when pointers move: both layers together, of its own feature groups alone."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common.features.declared import declared
from serving.live import LiveViews, SegmentList
from views.reads import KeyReader

OTHER = {**declared(), "activity": "2:0123456789ab"}


class Pointers:
    """The two rows of the pointer, as a reader gives them."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}

    def flip(self, layer: str, live: str, features: dict[str, str] | None) -> None:
        info = json.dumps({"features": features}) if features is not None else None
        facts = {"cut_ms": 1_795_132_800_000, "model_version": None, "model_uri": None, "updated_ms": 1, "serial": 1}
        self.rows[layer] = SimpleNamespace(name=layer, live=live, previous=None, info=info, **facts)

    async def row(self, table: Any, key: tuple[str], deadline_s: float) -> Any:
        return self.rows.get(key[0])

    async def warm(self, reads: Any) -> None:
        """Every table is there."""


class Views(LiveViews):
    """Without segments, which are read from tables."""

    async def _segments(self, table: Any, catalogue: Any) -> dict[int, SegmentList]:
        return {}


@pytest.fixture
def pointers() -> Pointers:
    made = Pointers()
    made.flip("batch", "v1", declared())
    made.flip("speed", "g1", declared())
    return made


def names(views: LiveViews) -> tuple[str | None, str | None]:
    asyncio.run(views.refresh())
    return views.value.view_version, views.value.generation


def views_of(pointers: Pointers) -> LiveViews:
    return Views(cast(KeyReader, pointers), None, 1.0)


def test_while_a_group_changes_a_process_stays_with_what_its_own_declarations_made(pointers: Pointers) -> None:
    views = views_of(pointers)
    assert names(views) == ("v1", "g1")
    pointers.flip("batch", "v2", OTHER)
    assert names(views) == ("v1", "g1") and views.foreign == ("v2",)
    pointers.flip("speed", "g2", OTHER)
    assert names(views) == ("v1", "g1") and views.foreign == ("v2", "g2")
    pointers.flip("batch", "v3", declared())
    assert names(views) == ("v1", "g1"), "the other layer is still of the other groups"
    pointers.flip("speed", "g1", declared())
    assert names(views) == ("v3", "g1") and views.foreign == ()


def test_a_process_that_starts_before_the_switch_has_nothing_until_both_layers_are_its_own(pointers: Pointers) -> None:
    pointers.flip("batch", "v2", OTHER)
    pointers.flip("speed", "g2", OTHER)
    views = views_of(pointers)
    assert names(views) == (None, None)
    pointers.flip("batch", "v3", declared())
    assert names(views) == (None, None)
    pointers.flip("speed", "g3", declared())
    assert names(views) == ("v3", "g3")


def test_what_never_noted_its_features_is_taken(pointers: Pointers) -> None:
    pointers.flip("batch", "v2", None)
    assert names(views_of(pointers)) == ("v2", "g1")
