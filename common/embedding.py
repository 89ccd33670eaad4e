"""Fold-in: a visitor's vector from the last item events and the batch model's item factors, the same in every layer.

With item factors Y, a user's vector under MLlib's implicit ALS solves ``A x = b`` where

    A = YᵀY + Σ αr·yyᵀ + λ·n·I        b = Σ (1 + αr)·y

over the n items of the history with summed weight r > 0 (Hu, Koren, Volinsky 2008; MLlib scales λ by n), and under its
explicit ALS, where r is what is to be met (Zhou et al. 2008),

    A = Σ yyᵀ + λ·n·I        b = Σ r·y

That is what MLlib's own last half-step solves, so the fold-in of a whole history equals its userFactors up to their
single precision.

The history itself is a monoid (:func:`last_items`), so batch and speed may each know a part of it. The matrices
here are small: start processes that fold in with OPENBLAS_NUM_THREADS=1, for BLAS threads cost more than they bring.
"""

import hashlib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import NDArray

from common.contracts.events import EVENT_WEIGHTS
from common.errors import ContractError

HISTORY = 50
"""Item events kept of a visitor."""

CHUNK = 256
"""Users solved at once: bounds the memory of their matrices."""

# --- history ------------------------------------------------------------------------------------------


class HistoryEntry(NamedTuple):
    """One item event as the history keeps it."""

    item_id: str
    weight: int
    event_ms: int
    event_id: str


def history_entry(row: Mapping[str, Any]) -> HistoryEntry | None:
    """What an event adds to its visitor's history, or None: it needs an item and a weight above zero."""
    weight = EVENT_WEIGHTS.get(row["event_type"], 0)
    item_id = row.get("item_id")
    if weight <= 0 or item_id is None:
        return None
    return HistoryEntry(item_id, weight, row["event_ms"], row["event_id"])


def last_items(entries: Iterable[Sequence[Any]], n: int = HISTORY) -> tuple[HistoryEntry, ...]:
    """The last ``n`` entries by (event_ms, event_id), oldest first, each event once.

    A commutative, associative and idempotent merge: ``last_items(last_items(a) + last_items(b))`` is
    ``last_items(a + b)``, whatever the two parts share. Of entries with one event_id the greatest stays.
    """
    once: dict[str, HistoryEntry] = {}
    for item_id, weight, event_ms, event_id in entries:
        entry = HistoryEntry(item_id, weight, event_ms, event_id)
        have = once.get(event_id)
        if have is None or _order(entry) > _order(have):
            once[event_id] = entry
    return tuple(sorted(once.values(), key=_order)[-n:]) if n > 0 else ()


def _order(entry: HistoryEntry) -> tuple[int, str, str, int]:
    return (entry.event_ms, entry.event_id, entry.item_id, entry.weight)


def merge_last_items(
    batch: Iterable[Sequence[Any]], speed: Iterable[Sequence[Any]], n: int = HISTORY
) -> tuple[HistoryEntry, ...]:
    """The last ``n`` entries of both layers; an event that both know counts once."""
    return last_items(chain(batch, speed), n)


def item_weights(entries: Iterable[HistoryEntry]) -> dict[str, int]:
    """The summed weight of each item, in the order of the items' first entries."""
    weights: dict[str, int] = {}
    for entry in entries:
        weights[entry.item_id] = weights.get(entry.item_id, 0) + entry.weight
    return weights


# --- the model's artefact -----------------------------------------------------------------------------

_ITEMS_FILE = "items.arrow"
_MANIFEST_FILE = "manifest.json"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What ``manifest.json`` says of a model: its name, its shape, its hyperparameters, the digest of its items."""

    model_version: str
    dimension: int
    alpha: float
    reg: float
    items: int
    sha256: str
    cut_ms: int
    mode: Literal["implicit", "explicit"] = "implicit"

    def coefficients(self, ratings: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each item of a history with these ratings adds to A, as a multiple of yyᵀ, and to b, of y."""
        if self.mode == "explicit":
            return np.ones_like(ratings), ratings
        return self.alpha * ratings, 1.0 + self.alpha * ratings


@dataclass(frozen=True, eq=False)
class ItemFactors:
    """A model's item side. Row i of every column is the item with index i.

    ``factors`` is float32 (items, dimension); ``prices`` holds NaN where a price is not known.
    """

    manifest: Manifest
    item_ids: tuple[str, ...]
    categories: tuple[str, ...]
    prices: NDArray[np.float64]
    titles: tuple[str, ...]
    factors: NDArray[np.float32]

    @property
    def model_version(self) -> str:
        return self.manifest.model_version

    @property
    def dimension(self) -> int:
        return self.manifest.dimension

    @cached_property
    def index(self) -> dict[str, int]:
        """Item id to item index."""
        return {item_id: i for i, item_id in enumerate(self.item_ids)}

    @cached_property
    def gram(self) -> NDArray[np.float64]:
        """What A holds before any item of a history: YᵀY, nothing where explicit; float64 (dimension, dimension)."""
        if self.manifest.mode == "explicit":
            return np.zeros((self.dimension, self.dimension))
        y = self.factors.astype(np.float64)
        return y.T @ y

    @cached_property
    def unit(self) -> NDArray[np.float32]:
        """The factors scaled to length one, for cosines; an item without factors stays zero."""
        length = np.linalg.norm(self.factors, axis=1, keepdims=True)
        return self.factors / np.where(length > 0, length, 1)

    def indexes(self, item_ids: Iterable[str | None]) -> NDArray[np.int32]:
        """The index of each item, -1 for one the model does not know."""
        find = self.index.get
        return np.fromiter((find(item_id, -1) for item_id in item_ids), dtype=np.int32)  # type: ignore[arg-type]


def write_model(
    folder: str | Path,
    *,
    model_version: str,
    cut_ms: int,
    alpha: float,
    reg: float,
    mode: Literal["implicit", "explicit"] = "implicit",
    item_ids: Sequence[str],
    factors: NDArray[Any],
    categories: Sequence[str],
    titles: Sequence[str],
    prices: Sequence[float | None],
) -> Manifest:
    """Write a model's item side to ``folder``: ``items.arrow``, then ``manifest.json`` with its sha256.

    The manifest comes last and by rename, so a folder that has one is whole. Raises ContractError where the columns
    do not fit each other, an item comes twice, or a factor is not finite.
    """
    values = np.ascontiguousarray(factors, dtype=np.float32)
    if values.ndim != 2 or values.shape[1] == 0:
        raise ContractError(f"model {model_version}: factors have shape {values.shape}, expected (items, dimension)")
    count, dimension = values.shape
    for name, column in {"item_ids": item_ids, "categories": categories, "titles": titles, "prices": prices}.items():
        if len(column) != count:
            raise ContractError(f"model {model_version}: {len(column)} {name} for {count} rows of factors")
    if len(set(item_ids)) != count:
        raise ContractError(f"model {model_version}: an item_id comes twice")
    if not np.isfinite(values).all():
        raise ContractError(f"model {model_version}: a factor is not finite; the fit diverged")
    table = pa.table(
        [
            pa.array(range(count), pa.int32()),
            pa.array(item_ids, pa.string()),
            pa.array(categories, pa.string()),
            pa.array([_known(p) for p in prices], pa.float64()),
            pa.array(titles, pa.string()),
            pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), pa.float32()), dimension),
        ],
        schema=_schema(dimension),
    )
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    body = sink.getvalue().to_pybytes()
    manifest = Manifest(
        model_version=model_version,
        dimension=dimension,
        alpha=float(alpha),
        reg=float(reg),
        items=count,
        sha256=hashlib.sha256(body).hexdigest(),
        cut_ms=cut_ms,
        mode=mode,
    )
    _replace(target / _ITEMS_FILE, body)
    _replace(target / _MANIFEST_FILE, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    return manifest


def _known(price: float | None) -> float | None:
    return None if price is None or math.isnan(price) else float(price)


def _replace(path: Path, body: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(body)
    os.replace(part, path)


def _schema(dimension: int) -> pa.Schema:
    return pa.schema(
        [
            pa.field("item_index", pa.int32(), nullable=False),
            pa.field("item_id", pa.string(), nullable=False),
            pa.field("category", pa.string(), nullable=False),
            pa.field("price", pa.float64()),
            pa.field("title", pa.string(), nullable=False),
            pa.field("factors", pa.list_(pa.float32(), dimension), nullable=False),
        ]
    )


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a model's folder; raises ContractError where it is absent or malformed."""
    path = Path(folder) / _MANIFEST_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise ContractError(f"no model at {folder}: {_MANIFEST_FILE} is not there; run train_als") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ContractError(f"{path} is not a model's manifest: {error}") from None


def load_model(folder: str | Path) -> ItemFactors:
    """Load and verify a model's item side.

    Raises ContractError where a file is absent, ``items.arrow`` does not have the manifest's sha256, or its rows are
    not the ones declared.
    """
    manifest = read_manifest(folder)
    path = Path(folder) / _ITEMS_FILE
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        raise ContractError(f"model {manifest.model_version}: {path} is not there; train it again") from None
    digest = hashlib.sha256(body).hexdigest()
    if digest != manifest.sha256:
        raise ContractError(
            f"model {manifest.model_version}: {path} has sha256 {digest[:12]}..., its manifest says "
            f"{manifest.sha256[:12]}...; copy or train it again"
        )
    table = pa.ipc.open_file(pa.py_buffer(body)).read_all()
    if not table.schema.equals(_schema(manifest.dimension)) or table.num_rows != manifest.items:
        raise ContractError(
            f"model {manifest.model_version}: {path} has {table.num_rows} rows of {table.schema.names}, "
            f"its manifest says {manifest.items} of dimension {manifest.dimension}"
        )
    columns = table.combine_chunks()
    order = columns["item_index"].to_numpy()
    if not np.array_equal(order, np.arange(manifest.items)):
        raise ContractError(f"model {manifest.model_version}: item_index of {path} does not count from 0")
    flat = columns["factors"].combine_chunks()
    flat = flat.chunk(0) if isinstance(flat, pa.ChunkedArray) else flat
    return ItemFactors(
        manifest=manifest,
        item_ids=tuple(columns["item_id"].to_pylist()),
        categories=tuple(columns["category"].to_pylist()),
        prices=columns["price"].to_numpy(),
        titles=tuple(columns["title"].to_pylist()),
        factors=flat.flatten().to_numpy().reshape(manifest.items, manifest.dimension),
    )


# --- fold-in ------------------------------------------------------------------------------------------


class FoldIn(NamedTuple):
    """The vectors of a batch of users, float64 (users, dimension); known items and unknown entries of each.

    A user without a known item has the zero vector.
    """

    vectors: NDArray[np.float64]
    known: NDArray[np.int64]
    unknown: NDArray[np.int64]


def fold_in_batch(model: ItemFactors, histories: Sequence[Sequence[HistoryEntry]]) -> FoldIn:
    """Fold in many users at once; each history is a user's entries, repeats of an item are added up.

    An entry whose item the model does not know is skipped and counted.
    """
    entries = list(chain.from_iterable(histories))
    users = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    weights = np.fromiter((entry[1] for entry in entries), dtype=np.float64, count=len(entries))
    return fold_in_arrays(model, len(histories), users, model.indexes(entry[0] for entry in entries), weights)


def fold_in(model: ItemFactors, history: Sequence[HistoryEntry]) -> NDArray[np.float64]:
    """The vector of one user, float64 (dimension,)."""
    return fold_in_batch(model, [history]).vectors[0]


def fold_in_arrays(
    model: ItemFactors, count: int, users: NDArray[Any], items: NDArray[Any], weights: NDArray[Any]
) -> FoldIn:
    """Fold in ``count`` users given as flat arrays: entry i is user ``users[i]``'s, of item index ``items[i]`` (-1:
    unknown) and weight ``weights[i]``; entries of no weight (0 where implicit, NaN) say nothing."""
    unknown = np.bincount(users[items < 0], minlength=count).astype(np.int64)
    said = weights >= 0 if model.manifest.mode == "explicit" else weights > 0  # a rating of 0 is the worst there is
    have = (items >= 0) & said
    pairs, at = np.unique(users[have].astype(np.int64) * len(model.item_ids) + items[have], return_inverse=True)
    ratings = np.bincount(at, weights[have], len(pairs)).astype(np.float64)
    owners, known_items = np.divmod(pairs, max(1, len(model.item_ids)))
    known = np.bincount(owners, minlength=count).astype(np.int64)
    ends = np.cumsum(known)
    vectors = np.zeros((count, model.dimension))
    busy = np.flatnonzero(known)
    for start in range(0, len(busy), CHUNK):
        chunk = busy[start : start + CHUNK]
        vectors[chunk] = _solve(model, known_items, ratings, ends[chunk] - known[chunk], known[chunk])
    return FoldIn(vectors, known, unknown)


def _solve(
    model: ItemFactors,
    items: NDArray[np.int64],
    ratings: NDArray[np.float64],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> NDArray[np.float64]:
    """The vectors of users whose items and ratings stand at ``starts`` for ``lengths``, each at least one."""
    slot = np.arange(lengths.max())
    filled = slot < lengths[:, None]
    position = np.where(filled, starts[:, None] + slot, 0)
    squares, pulls = model.manifest.coefficients(ratings[position])
    y = model.factors[items[position]].astype(np.float64)
    a = (y * np.where(filled, squares, 0.0)[:, :, None]).transpose(0, 2, 1) @ y
    a += model.gram
    diagonal = np.arange(model.dimension)
    a[:, diagonal, diagonal] += model.manifest.reg * lengths[:, None]
    b = np.where(filled, pulls, 0.0)[:, None, :] @ y
    return np.linalg.solve(a, b.transpose(0, 2, 1))[:, :, 0]


# --- blobs --------------------------------------------------------------------------------------------

_RECOMMENDATIONS_V1 = 1
_HISTORY_V1 = 1
_HALF_MAX = float(np.finfo(np.float16).max)


def pack_recommendations(indexes: NDArray[Any] | Sequence[int], scores: NDArray[Any] | Sequence[float]) -> bytes:
    """A ranked list as a blob: a version byte, the int32 item indexes, the float16 scores (little-endian).

    Scores beyond float16's range are kept at its border. Raises ContractError where the two differ in length.
    """
    ids = np.asarray(indexes, dtype="<i4")
    if ids.ndim != 1 or len(ids) != len(scores):
        raise ContractError(f"a list of {len(ids)} items came with {len(scores)} scores")
    halves = np.clip(np.asarray(scores, dtype=np.float64), -_HALF_MAX, _HALF_MAX).astype("<f2")
    return bytes([_RECOMMENDATIONS_V1]) + ids.tobytes() + halves.tobytes()


def unpack_recommendations(blob: bytes) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The inverse of :func:`pack_recommendations`; raises ContractError where a blob is torn or of another version."""
    count, rest = divmod(len(blob) - 1, 6)
    if len(blob) == 0 or rest or blob[0] != _RECOMMENDATIONS_V1:
        version = f"version {blob[0]}" if blob else "no version"
        raise ContractError(
            f"a packed list of {len(blob)} bytes and {version} is not one of version {_RECOMMENDATIONS_V1}"
        )
    ids = np.frombuffer(blob, dtype="<i4", count=count, offset=1)
    scores = np.frombuffer(blob, dtype="<f2", count=count, offset=1 + 4 * count)
    return ids.astype(np.int32), scores.astype(np.float32)


def pack_history(entries: Iterable[Sequence[Any]]) -> bytes:
    """A visitor's history as a blob: a version byte, then MessagePack rows of (item_id, weight, event_ms, event_id)."""
    return bytes([_HISTORY_V1]) + msgspec.msgpack.encode([tuple(entry) for entry in entries])


_history = msgspec.msgpack.Decoder(list[HistoryEntry])


def unpack_history(blob: bytes) -> tuple[HistoryEntry, ...]:
    """The inverse of :func:`pack_history`; raises ContractError where a blob is torn or of another version."""
    if not blob or blob[0] != _HISTORY_V1:
        raise ContractError(f"a packed history of {len(blob)} bytes is not one of version {_HISTORY_V1}")
    try:
        return tuple(_history.decode(memoryview(blob)[1:]))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ContractError(f"a packed history of {len(blob)} bytes does not decode: {error}") from None
