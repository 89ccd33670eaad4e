"""Why an item is in the answer: which of the visitor's own items carried its score, or which other part did.

The fold-in is linear in the history: with A as in common.embedding, the score of item i is the sum over the
history of yᵢᵀ A⁻¹ yⱼ times what j adds to b, so each item of the history has an exact share in each recommendation
(Hu, Koren, Volinsky 2008, section 5). Items like those of the history add to that, each by the item that it is like.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from common.blend import Relevance
from common.contracts.events import EVENT_WEIGHTS
from common.embedding import HistoryEntry, item_weights
from serving.catalogue import Catalogue
from serving.ranking import Parts

MIN_SHARE = 0.15
"""A part of the score below this share is no reason."""

MAX_REASONS = 2


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """One reason: ``kind`` is acted, known, listed, next, interest, trending, segment or catalogue."""

    kind: str
    text: str
    share: float
    item_id: str | None = None
    category: str | None = None


@dataclass(frozen=True)
class Contributions:
    """How much each known item of a history adds to any item's score.

    ``indexes`` int32 (h,); ``weights`` the summed weight of each; ``columns`` float64 (dimension, h), which sum up to
    the folded-in vector.
    """

    indexes: NDArray[np.int32]
    weights: NDArray[np.float64]
    columns: NDArray[np.float64]

    @property
    def vector(self) -> NDArray[np.float64]:
        """The folded-in vector of the history, float64 (dimension,)."""
        return self.columns.sum(axis=1)


def contributions(catalogue: Catalogue, history: Sequence[HistoryEntry]) -> Contributions | None:
    """Fold a history in and keep each item's share; None where the model knows none of its items.

    None too where it is a model of ratings: the weights of a history are none, so the list of the cut stands.
    """
    model = catalogue.model
    if model.manifest.mode == "explicit":
        return None
    known = [(model.index[item], weight) for item, weight in item_weights(history).items() if item in model.index]
    known = [(index, weight) for index, weight in known if weight > 0]
    if not known:
        return None
    indexes = np.array([index for index, _ in known], dtype=np.int32)
    weights = np.array([weight for _, weight in known], dtype=np.float64)
    squares, pulls = model.manifest.coefficients(weights)
    y = model.factors[indexes].astype(np.float64)
    a = model.gram + (y.T * squares) @ y
    a[np.diag_indices_from(a)] += model.manifest.reg * len(known)
    return Contributions(indexes, weights, np.linalg.solve(a, y.T * pulls))


def explain(
    catalogue: Catalogue,
    chosen: NDArray[np.int32],
    parts: Parts,
    shares: Contributions | None,
    blended: Relevance | None,
    last_action: dict[int, int],
    from_list: bool = False,
) -> list[list[Reason]]:
    """The reasons of each chosen item, strongest first, at least one.

    ``blended`` is what relevance is made of where it comes from the history. ``last_action`` maps an item index to the
    strongest event weight with which the visitor acted on it. ``from_list`` says that relevance is the batch list's, of
    which no item of the history can be named.
    """
    model = catalogue.model
    total = parts.score
    pull = None
    if shares is not None and blended is not None:
        pull = blended.by_history(chosen, model.factors[chosen].astype(np.float64) @ shares.columns)
    out: list[list[Reason]] = []
    for row, index in enumerate(chosen.tolist()):
        whole = float(total[index])
        found: list[Reason] = []
        relevance = _share(parts.relevance[index], whole)
        if pull is not None and shares is not None and relevance >= MIN_SHARE:
            found.append(_acted(catalogue, index, pull[row], shares, relevance, last_action))
        elif from_list and relevance >= MIN_SHARE:
            found.append(Reason("listed", "From what you did before", relevance))
        interest = _share(parts.interest[index], whole)
        if interest >= MIN_SHARE:
            category = model.categories[index]
            found.append(Reason("interest", f"You often look at {_spoken(category)}", interest, category=category))
        popular = _share(parts.popularity[index], whole)
        if popular >= MIN_SHARE or not found:
            found.append(Reason("trending", "Popular right now", popular))
        out.append(sorted(found, key=lambda reason: -reason.share)[:MAX_REASONS])
    return out


def _acted(
    catalogue: Catalogue,
    index: int,
    pull: NDArray[np.float64],
    shares: Contributions,
    relevance: float,
    last_action: dict[int, int],
) -> Reason:
    model = catalogue.model
    if index in last_action:
        text = f"You {_verb(last_action[index])} this before"
        return Reason("known", text, relevance, item_id=model.item_ids[index])
    strongest = int(shares.indexes[int(pull.argmax())])
    text = f"Because you {_verb(last_action.get(strongest, 0))} {model.titles[strongest]}"
    return Reason("acted", text, relevance, item_id=model.item_ids[strongest])


def _verb(weight: int) -> str:
    if weight >= EVENT_WEIGHTS["purchase"]:
        return "bought"
    if weight >= EVENT_WEIGHTS["cart"]:
        return "put into the cart"
    return "rated or shared" if weight == EVENT_WEIGHTS["rate"] else "viewed"


def _spoken(category: str) -> str:
    return category.rpartition(".")[2].replace("_", " ")


def _share(part: np.float32, whole: float) -> float:
    return round(float(part) / whole, 3) if whole > 0 else 0.0
