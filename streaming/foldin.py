"""The live model's item factors in a worker, and the embedding rows that follow from histories."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cassandra.cluster import Session

from common.embedding import HistoryEntry, ItemFactors, fold_in_batch, load_model, pack_history
from streaming.flink.patience import patiently
from views.pointer import BATCH, Pointer, PointerCache

POINTER_AGE_S = 1.0
"""How long a worker goes on with the model that was live before."""


class Embedder:
    """Folds histories in with the live model; loads another one when the pointer moves.

    ``models`` is the folder of model artefacts by version; without it the URI in the pointer is used. The pointer is
    asked for again for ``deadline_s`` while the store is away.
    """

    def __init__(self, session: Session, models: Path | None = None, deadline_s: float = 0.0) -> None:
        self._pointer = PointerCache(session, BATCH, POINTER_AGE_S)
        self._models = models
        self._deadline_s = deadline_s
        self._model: ItemFactors | None = None

    def model(self) -> ItemFactors | None:
        """The live model; None while none is live. Raises ContractError where its artefact is not whole."""
        pointer = patiently(self._pointer.get, self._deadline_s)
        if pointer is None or not pointer.model_version:
            return None
        if self._model is None or self._model.model_version != pointer.model_version:
            self._model = load_model(self._folder(pointer))
        return self._model

    def rows(self, histories: Sequence[Sequence[HistoryEntry]]) -> list[dict[str, Any]]:
        """One row a history: model_version, vector, history, unknown_items, and ``anchor_ms``, its newest event.

        Histories are as common.embedding.last_items gives them. Their weights are no ratings, so a model of ratings
        folds none in: there is no vector.
        """
        if not histories:
            return []
        model = self.model()
        if model is None:
            return [_row("", None, history, 0) for history in histories]
        if model.manifest.mode == "explicit":
            unknown = [sum(entry.item_id not in model.index for entry in history) for history in histories]
            return [_row(model.model_version, None, *told) for told in zip(histories, unknown, strict=True)]
        folded = fold_in_batch(model, histories)
        vectors = folded.vectors.astype("<f4")
        return [
            _row(model.model_version, vector.tobytes(), history, unknown)
            for vector, history, unknown in zip(vectors, histories, folded.unknown.tolist(), strict=True)
        ]

    def _folder(self, pointer: Pointer) -> Path:
        if self._models is not None:
            return self._models / str(pointer.model_version)
        return Path(str(pointer.model_uri).removeprefix("file://"))


def _row(version: str, vector: bytes | None, history: Sequence[HistoryEntry], unknown: int) -> dict[str, Any]:
    return {
        "model_version": version,
        "vector": vector,
        "history": pack_history(history),
        "unknown_items": unknown,
        "anchor_ms": history[-1].event_ms,
    }
