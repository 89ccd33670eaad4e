"""The embedding rows follow the live model."""

import random
from pathlib import Path

import numpy as np
import pytest

from common.embedding import HISTORY, HistoryEntry, fold_in, last_items, load_model, unpack_history
from common.errors import ContractError
from streaming.foldin import Embedder
from tests.streaming.models import model
from tests.streaming.oracle import MemoryViews
from views.pointer import Pointer
from views.speed import SpeedRows

EVENTS = last_items(HistoryEntry(f"i{i % 7}", 1 + i % 3, 1_000 + i * 37 % 50, f"e{i}") for i in range(60))


class Pointers:
    """A pointer that moves when told."""

    def __init__(self) -> None:
        self.live: Pointer | None = None

    def get(self) -> Pointer | None:
        return self.live

    def move(self, version: str, uri: str = "") -> None:
        self.live = Pointer("batch", version, model_version=version, model_uri=uri)


@pytest.fixture
def pointers() -> Pointers:
    return Pointers()


def follower(pointers: Pointers, models: Path | None) -> Embedder:
    embedder = Embedder(None, models)
    embedder._pointer = pointers  # type: ignore[assignment]
    return embedder


def test_without_a_model_the_history_is_kept_and_there_is_no_vector(pointers: Pointers) -> None:
    (row,) = follower(pointers, None).rows([EVENTS])
    assert (row["model_version"], row["vector"], row["unknown_items"]) == ("", None, 0)
    assert unpack_history(row["history"]) == EVENTS
    assert row["anchor_ms"] == max(entry.event_ms for entry in EVENTS)


def test_the_vector_is_the_fold_in_of_the_last_items_and_unknown_ones_are_counted(tmp_path, pointers: Pointers) -> None:
    folder = model(tmp_path, "v1")
    pointers.move("v1")
    rows = follower(pointers, tmp_path).rows([EVENTS, EVENTS[:3]])
    assert len(EVENTS) == HISTORY
    want = fold_in(load_model(folder), EVENTS)
    np.testing.assert_allclose(np.frombuffer(rows[0]["vector"], "<f4"), want, rtol=1e-6)
    assert rows[0]["unknown_items"] == sum(entry.item_id in ("i5", "i6") for entry in EVENTS)
    assert [row["model_version"] for row in rows] == ["v1", "v1"]


def test_by_a_model_of_ratings_no_clicks_are_folded_in(tmp_path, pointers: Pointers) -> None:
    model(tmp_path, "v1", mode="explicit")
    pointers.move("v1")
    (row,) = follower(pointers, tmp_path).rows([EVENTS])
    assert (row["model_version"], row["vector"]) == ("v1", None)
    assert row["unknown_items"] == sum(entry.item_id in ("i5", "i6") for entry in EVENTS)
    assert unpack_history(row["history"]) == EVENTS


def test_the_pointer_moves_and_the_next_batch_follows(tmp_path, pointers: Pointers) -> None:
    model(tmp_path, "v1")
    second = model(tmp_path, "v2", items=range(9))
    embedder = follower(pointers, None)
    pointers.move("v1", (tmp_path / "v1").as_uri())
    assert embedder.rows([EVENTS])[0]["model_version"] == "v1"
    pointers.move("v2", str(second))
    row = embedder.rows([EVENTS])[0]
    assert (row["model_version"], row["unknown_items"]) == ("v2", 0)


def test_a_flip_amid_the_stream_loses_no_event_and_mixes_no_models(tmp_path, pointers: Pointers) -> None:
    """Batches of a visitor's growing history while the pointer moves to and fro: each row is of one model, whole."""
    folders = {"v1": model(tmp_path, "v1"), "v22": model(tmp_path, "v22", items=range(7))}
    embedder = follower(pointers, tmp_path)
    rows = SpeedRows("g1", 7_000, ttl_s=0)
    views = MemoryViews()
    order = random.Random(3)
    for end in range(1, len(EVENTS) + 1):
        if end == 1 or order.random() < 0.3:
            pointers.move(order.choice(sorted(folders)))
        (row,) = embedder.rows([EVENTS[:end]])
        views.apply([rows.embedding({"visitor_id": "v", "updates": end, **row})])
    stored = views.rows(rows.tables["user_embedding"])
    assert {version for _, version in stored} == set(folders)
    for _, version, vector, history, _, _ in stored.values():
        want = fold_in(load_model(folders[version]), unpack_history(history))
        np.testing.assert_allclose(np.frombuffer(vector, "<f4"), want, rtol=1e-6)
    merged = [entry for row in stored.values() for entry in unpack_history(row[3])]
    assert last_items(merged) == last_items(EVENTS)


def test_a_model_that_is_not_whole_is_refused(tmp_path, pointers: Pointers) -> None:
    folder = model(tmp_path, "v1")
    (folder / "items.arrow").write_bytes(b"torn")
    pointers.move("v1")
    with pytest.raises(ContractError, match="sha256"):
        follower(pointers, tmp_path).rows([EVENTS])


def test_no_histories_ask_nothing(pointers: Pointers) -> None:
    assert follower(pointers, None).rows([]) == []
