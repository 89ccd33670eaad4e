"""The blend that is published: how much each source counts and the items alike, one file for a model and a cut.

Batch makes its lists from it and serving ranks one visitor by it, over all items at once.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from common.errors import ContractError
from common.hybrid import Neighbours

MODEL = "als"
"""The source that the model's own scores are."""

KEPT = 5
"""Blends kept of a model; the two versions before the live one must find theirs."""

_FORMAT = "dovetail blend 1"


@dataclass(frozen=True)
class Blend:
    """Weights by source, those of :data:`MODEL` among them, and the items alike of each other source.

    Item indexes are those of the model ``model_version``.
    """

    model_version: str
    weights: Mapping[str, float]
    neighbours: Mapping[str, Neighbours]


def blend_path(folder: str | Path, cut_ms: int) -> Path:
    """Where the blend of a model's folder and a cut is."""
    return Path(folder) / f"blend_{cut_ms}.arrow"


def write_blend(folder: str | Path, cut_ms: int, blend: Blend) -> Path:
    """Write the blend, whole or not at all, and drop the oldest beyond :data:`KEPT`; returns its path."""
    columns, names = [], []
    for source, near in sorted(blend.neighbours.items()):
        width = near.items.shape[1]
        columns += [
            pa.FixedSizeListArray.from_arrays(pa.array(near.items.ravel(), pa.int32()), width),
            pa.FixedSizeListArray.from_arrays(pa.array(near.scores.ravel(), pa.float32()), width),
        ]
        names += [f"{source}.items", f"{source}.scores"]
    told = {"format": _FORMAT, "model_version": blend.model_version, "weights": dict(blend.weights)}
    table = pa.table(columns, names=names).replace_schema_metadata({"blend": json.dumps(told, sort_keys=True)})
    path = blend_path(folder, cut_ms)
    part = path.with_name(f"{path.name}.part")
    with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    os.replace(part, path)
    others = [other for other in path.parent.glob("blend_*.arrow") if other != path]
    for old in sorted(others, key=lambda other: other.stat().st_mtime_ns)[: -(KEPT - 1)]:
        old.unlink()
    return path


def read_blend(folder: str | Path, cut_ms: int) -> Blend | None:
    """The blend of a model's folder and a cut; None where there is none. Raises ContractError where it is another's."""
    path = blend_path(folder, cut_ms)
    if not path.is_file():
        return None
    try:
        table = pa.ipc.open_file(pa.py_buffer(path.read_bytes())).read_all()
        told = json.loads((table.schema.metadata or {})[b"blend"])
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        raise ContractError(f"{path} is not a blend: {type(error).__name__}") from None
    if told["format"] != _FORMAT:
        raise ContractError(f"{path} is a {told['format']}, not a {_FORMAT}: run recommend again")
    neighbours = {}
    for source in {name.rpartition(".")[0] for name in table.column_names}:
        items, scores = (table.column(f"{source}.{what}").combine_chunks() for what in ("items", "scores"))
        shape = (len(table), items.type.list_size)
        neighbours[source] = Neighbours(
            items.flatten().to_numpy().reshape(shape), scores.flatten().to_numpy().reshape(shape)
        )
    return Blend(told["model_version"], told["weights"], neighbours)


@dataclass(frozen=True)
class Pull:
    """How one source scores every item from one visitor's history: ``scale`` brings its best item to its weight."""

    scores: NDArray[np.float64]
    scale: float
    near: Neighbours | None
    """Of the history alone, a row an item of it, the scores already times its weight; None for the model."""


@dataclass(frozen=True)
class Relevance:
    """One visitor's relevance of every item, (items,), and what it is made of."""

    scores: NDArray[np.float32]
    pulls: tuple[Pull, ...]

    def by_history(self, chosen: NDArray[np.int32], model_pull: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much each item of the history adds to each chosen item's relevance, (chosen, history).

        ``model_pull`` is the same for the model's raw score alone.
        """
        total = np.zeros(model_pull.shape)
        place = np.full(len(self.scores), -1)
        place[chosen] = np.arange(len(chosen))
        for pull in self.pulls:
            if pull.near is None:
                total += pull.scale * model_pull
                continue
            at = np.where(pull.near.items >= 0, place[pull.near.items], -1)
            rows, columns = np.nonzero(at >= 0)
            np.add.at(total, (at[rows, columns], rows), pull.scale * pull.near.scores[rows, columns])
        return total


def relevance(
    model_scores: NDArray[np.floating],
    blend: Blend | None,
    history: NDArray[np.int32],
    weights: NDArray[np.float64],
    left_out: NDArray[np.integer],
) -> Relevance:
    """Every item's relevance to one visitor: the weighted sum of the sources, each relative to its best item.

    ``history`` are the known items with their summed ``weights``; items ``left_out`` have none, and are no one's best.
    Without a blend the model's scores count alone. The same sum as :func:`common.hybrid.blended` over whole rows.
    """
    size = len(model_scores)
    shares = {MODEL: 1.0} if blend is None else {name: share for name, share in blend.weights.items() if share > 0}
    pulls = []
    total = np.zeros(size)
    for name, share in sorted(shares.items()):
        near = None
        if name == MODEL:
            scores = np.maximum(model_scores, 0).astype(np.float64)
        else:
            assert blend is not None
            found = blend.neighbours[name]
            near = Neighbours(found.items[history], found.scores[history] * weights[:, None].astype(np.float32))
            there = near.items >= 0
            scores = np.bincount(near.items[there], near.scores[there], size).astype(np.float64)
        scores[left_out] = 0.0
        best = scores.max(initial=0.0)
        pull = Pull(scores, share / best if best > 0 else 0.0, near)
        total += pull.scale * scores
        pulls.append(pull)
    return Relevance(total.astype(np.float32), tuple(pulls))
