"""Fold-in against a naive solve and the normal equations; histories as a monoid; artefact and blobs round-trip."""

import json
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.embedding import (
    HISTORY,
    HistoryEntry,
    ItemFactors,
    Manifest,
    fold_in,
    fold_in_arrays,
    fold_in_batch,
    history_entry,
    item_weights,
    last_items,
    load_model,
    merge_last_items,
    pack_history,
    pack_recommendations,
    read_manifest,
    unpack_history,
    unpack_recommendations,
    write_model,
)
from common.errors import ContractError

ITEMS = 30
Mode = Literal["implicit", "explicit"]


def model(
    dimension: int = 6, seed: int = 1, alpha: float = 8.0, reg: float = 0.1, mode: Mode = "implicit"
) -> ItemFactors:
    rng = np.random.default_rng(seed)
    return ItemFactors(
        manifest=Manifest(
            model_version="v1", dimension=dimension, alpha=alpha, reg=reg, items=ITEMS, sha256="", cut_ms=0, mode=mode
        ),
        item_ids=tuple(f"i{i}" for i in range(ITEMS)),
        categories=("c",) * ITEMS,
        prices=np.ones(ITEMS),
        titles=("t",) * ITEMS,
        factors=rng.normal(size=(ITEMS, dimension)).astype(np.float32),
    )


entries = st.lists(
    st.builds(
        HistoryEntry,
        item_id=st.integers(0, ITEMS + 3).map(lambda i: f"i{i}"),  # the last four are unknown
        weight=st.integers(1, 9),
        event_ms=st.integers(0, 30),
        event_id=st.integers(0, 80).map(lambda i: f"e{i}"),
    ),
    max_size=60,
)


def naive(m: ItemFactors, history: list[HistoryEntry]) -> tuple[Any, Any, Any]:
    """One user, one item at a time: A, b and the solution."""
    y = m.factors.astype(np.float64)
    explicit = m.manifest.mode == "explicit"
    a, b = np.zeros((m.dimension, m.dimension)) if explicit else y.T @ y, np.zeros(m.dimension)
    known = {i: r for i, r in item_weights(history).items() if i in m.index}
    for item, r in known.items():
        v = y[m.index[item]]
        a += (1 if explicit else m.manifest.alpha * r) * np.outer(v, v)
        b += (r if explicit else 1 + m.manifest.alpha * r) * v
    a += m.manifest.reg * len(known) * np.eye(m.dimension)
    return a, b, np.linalg.solve(a, b) if known else np.zeros(m.dimension)


@settings(max_examples=60)
@given(
    st.lists(entries, max_size=8),
    st.integers(1, 12),
    st.floats(0.1, 40),
    st.floats(0.001, 1),
    st.sampled_from(["implicit", "explicit"]),
)
def test_the_batched_fold_in_is_each_users_own_solve(
    histories: list[list[HistoryEntry]], dimension: int, alpha: float, reg: float, mode: Mode
) -> None:
    m = model(dimension, alpha=alpha, reg=reg, mode=mode)
    result = fold_in_batch(m, histories)
    assert result.vectors.shape == (len(histories), dimension)
    for user, history in enumerate(histories):
        a, b, x = naive(m, history)
        np.testing.assert_allclose(result.vectors[user], x, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(a @ result.vectors[user], b, rtol=1e-8, atol=1e-8)  # the normal equations
        assert result.known[user] == len({e.item_id for e in history if e.item_id in m.index})
        assert result.unknown[user] == sum(e.item_id not in m.index for e in history)


@pytest.mark.parametrize(("mode", "known"), [("explicit", [2, 1]), ("implicit", [1, 1])])
def test_a_rating_of_nothing_is_the_worst_one_and_a_weight_of_nothing_is_none(mode: Mode, known: list[int]) -> None:
    users, items = np.array([0, 0, 0, 1]), np.array([3, 5, 7, 3])
    found = fold_in_arrays(model(mode=mode), 2, users, items, np.array([5.0, 0.0, np.nan, 5.0]))
    assert found.known.tolist() == known
    assert np.array_equal(*found.vectors) is (mode == "implicit")


def test_users_beyond_one_chunk_are_all_solved() -> None:
    m = model()
    histories = [[HistoryEntry(f"i{u % ITEMS}", 1 + u % 5, u, f"e{u}")] * (u % 4) for u in range(700)]
    vectors = fold_in_batch(m, histories).vectors
    for user in (0, 1, 255, 256, 257, 511, 512, 699):
        np.testing.assert_allclose(vectors[user], naive(m, histories[user])[2], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(fold_in(m, histories[5]), fold_in_batch(m, [histories[5]]).vectors[0])
    assert fold_in_batch(m, []).vectors.shape == (0, 6)


def test_the_fold_in_does_not_hang_on_the_order_of_entries_or_users() -> None:
    m = model()
    rng = np.random.default_rng(3)
    users, items = rng.integers(0, 5, 200), rng.integers(-1, ITEMS, 200)
    weights = rng.integers(0, 6, 200)
    order = rng.permutation(200)
    one = fold_in_arrays(m, 5, users, items, weights)
    other = fold_in_arrays(m, 5, users[order], items[order], weights[order])
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


# --- history ------------------------------------------------------------------------------------------


@given(entries, st.randoms(use_true_random=False), st.integers(0, 60), st.integers(0, 60), st.integers(0, 9))
def test_last_items_is_a_monoid(rows: list[HistoryEntry], rng: Any, left: int, right: int, n: int) -> None:
    """Any order, any two parts, overlapping or not, cut to n before they meet: the same last n."""
    whole = last_items(rows, n)
    shuffled = list(rows)
    rng.shuffle(shuffled)
    assert last_items(shuffled, n) == whole
    a, b = shuffled[: max(left, right)], shuffled[min(left, right) :]
    assert merge_last_items(last_items(a, n), last_items(b, n), n) == whole
    assert merge_last_items(last_items(b, n), last_items(a, n), n) == whole
    assert merge_last_items(whole, whole, n) == whole == merge_last_items(whole, (), n)


@given(entries)
def test_last_items_are_the_newest_each_once(rows: list[HistoryEntry]) -> None:
    kept = last_items(rows)
    order = [(e.event_ms, e.event_id) for e in kept]
    assert order == sorted(order) and len(kept) == min(HISTORY, len({e.event_id for e in rows}))
    newest = {e.event_id: max(f for f in rows if f.event_id == e.event_id and f.event_ms == e.event_ms) for e in kept}
    assert len(newest) == len(kept)


def test_what_an_event_adds_to_the_history() -> None:
    event = {"event_type": "cart", "item_id": "mug", "event_ms": 5, "event_id": "e"}
    assert history_entry(event) == HistoryEntry("mug", 3, 5, "e")
    assert history_entry({**event, "event_type": "search"}) is None
    assert history_entry({**event, "item_id": None}) is None
    repeated = [HistoryEntry("a", 1, 1, "x"), HistoryEntry("b", 3, 2, "y"), HistoryEntry("a", 5, 3, "z")]
    assert item_weights(repeated) == {"a": 6, "b": 3}


# --- artefact -----------------------------------------------------------------------------------------


def write(folder: Path, **changes: Any) -> Manifest:
    given: dict[str, Any] = {
        "model_version": "m20261120_1",
        "cut_ms": 1_700_000_000_000,
        "alpha": 10,
        "reg": 0.1,
        "item_ids": ["mug", "tea", "spoon"],
        "factors": np.arange(6, dtype=np.float64).reshape(3, 2),
        "categories": ["home", "food", "home"],
        "titles": ["Mug", "Tea", "Spoon"],
        "prices": [4.5, None, math.nan],
    }
    return write_model(folder, **{**given, **changes})


def test_a_model_comes_back_as_written(tmp_path: Path) -> None:
    manifest = write(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert loaded.manifest == manifest == read_manifest(tmp_path / "m")
    assert (manifest.items, manifest.dimension, loaded.model_version) == (3, 2, "m20261120_1")
    assert (loaded.item_ids, loaded.categories) == (("mug", "tea", "spoon"), ("home", "food", "home"))
    assert loaded.titles == ("Mug", "Tea", "Spoon")
    np.testing.assert_array_equal(loaded.prices, [4.5, math.nan, math.nan])
    np.testing.assert_array_equal(loaded.factors, np.arange(6, dtype=np.float32).reshape(3, 2))
    np.testing.assert_array_equal(loaded.indexes(["tea", "cup", None, "mug"]), [1, -1, -1, 0])
    np.testing.assert_allclose(np.linalg.norm(loaded.unit, axis=1), 1, rtol=1e-6)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["items.arrow", "manifest.json"]
    assert write(tmp_path / "again").sha256 == manifest.sha256


def test_a_model_that_does_not_match_its_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no model at .*manifest.json is not there"):
        load_model(tmp_path)
    write(tmp_path)
    items, manifest = tmp_path / "items.arrow", tmp_path / "manifest.json"
    body, said = items.read_bytes(), json.loads(manifest.read_bytes())
    items.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
    with pytest.raises(ContractError, match="its manifest says"):
        load_model(tmp_path)
    items.unlink()
    with pytest.raises(ContractError, match="items.arrow is not there"):
        load_model(tmp_path)
    items.write_bytes(body)
    for changed in ({"items": 4}, {"dimension": 3}):
        manifest.write_text(json.dumps(said | changed))
        with pytest.raises(ContractError, match="has 3 rows"):
            load_model(tmp_path)
    manifest.write_text("{}")
    with pytest.raises(ContractError, match="is not a model's manifest"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"item_ids": ["mug", "tea"]}, "2 item_ids for 3 rows"),
        ({"item_ids": ["mug", "tea", "tea"]}, "comes twice"),
        ({"factors": np.full((3, 2), np.nan)}, "not finite"),
        ({"factors": np.zeros(3)}, "shape"),
    ],
)
def test_a_model_that_does_not_fit_together_is_not_written(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ContractError, match=complaint):
        write(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


# --- blobs --------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(-(2**31), 2**31 - 1), st.floats(-1e6, 1e6)), max_size=120))
def test_packed_recommendations_come_back(pairs: list[tuple[int, float]]) -> None:
    indexes, scores = [i for i, _ in pairs], [s for _, s in pairs]
    blob = pack_recommendations(indexes, scores)
    assert len(blob) == 1 + 6 * len(pairs)
    ids, halves = unpack_recommendations(blob)
    assert ids.tolist() == indexes and ids.dtype == np.int32
    np.testing.assert_allclose(halves, np.clip(scores, -65504, 65504), rtol=1e-3, atol=1e-7)
    assert pack_recommendations(ids, halves) == blob


def test_the_blobs_first_bytes_are_golden() -> None:
    assert pack_recommendations([1, 258], [1.0, -0.5]).hex() == "01" + "01000000" + "02010000" + "003c" + "00b8"
    assert pack_recommendations([], []) == b"\x01"
    assert pack_history([HistoryEntry("a", 5, 7, "e")]).hex() == "01" + "91" + "94" + "a161" + "05" + "07" + "a165"


@given(entries)
def test_packed_histories_come_back(rows: list[HistoryEntry]) -> None:
    assert unpack_history(pack_history(rows)) == tuple(rows)


def test_torn_blobs_are_refused() -> None:
    for blob in (b"", b"\x02", b"\x01abc", pack_recommendations([1], [1.0])[:-1]):
        with pytest.raises(ContractError):
            unpack_recommendations(blob)
    for blob in (b"", b"\x02\x90", b"\x01", b"\x01\x91\x01", pack_history([HistoryEntry("a", 1, 1, "e")])[:-1]):
        with pytest.raises(ContractError):
            unpack_history(blob)
    with pytest.raises(ContractError, match="1 items came with 2 scores"):
        pack_recommendations([1], [1.0, 2.0])
