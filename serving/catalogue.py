"""The items of one model as serving uses them: factors, and columns made ready for scoring."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from common.contracts.events import UNKNOWN_CATEGORY
from common.embedding import ItemFactors


class Catalogue:
    """A model's items with their categories as numbers. Immutable; one for each model version."""

    def __init__(self, model: ItemFactors) -> None:
        self.model = model
        names = sorted(set(model.categories))
        self.category_codes: dict[str, int] = {name: code for code, name in enumerate(names)}
        self.category_of: NDArray[np.int32] = np.fromiter(
            (self.category_codes[name] for name in model.categories), dtype=np.int32, count=len(model.categories)
        )
        branches = sorted({branch(name) for name in names})
        self.branch_codes: dict[str, int] = {name: code for code, name in enumerate(branches)}
        self.branch_of_category: NDArray[np.int32] = np.fromiter(
            (self.branch_codes[branch(name)] for name in names), dtype=np.int32, count=len(names)
        )

    def __len__(self) -> int:
        return len(self.model.item_ids)

    @property
    def version(self) -> str:
        """The model version whose indexes these are."""
        return self.model.model_version

    @cached_property
    def by_title(self) -> NDArray[np.int32]:
        """Item indexes in the order of titles: the last resort's order, the same in every process."""
        order = sorted(range(len(self)), key=lambda i: (self.model.titles[i], self.model.item_ids[i]))
        return np.array(order, dtype=np.int32)

    def price(self, index: int) -> float | None:
        """The item's price; None where it is not known."""
        price = float(self.model.prices[index])
        return None if np.isnan(price) else price

    def interest(self, masses: dict[str, float], branch_part: float) -> NDArray[np.float32]:
        """Interest in each item, in [0, 1], from the visitor's decayed mass by category.

        ``branch_part`` of it counts by the category's first step alone. Events without a category say nothing.
        """
        by_category = np.zeros(len(self.category_codes), dtype=np.float64)
        by_branch = np.zeros(len(self.branch_codes), dtype=np.float64)
        for name, mass in masses.items():
            if name == UNKNOWN_CATEGORY:
                continue
            code = self.category_codes.get(name)
            if code is not None:
                by_category[code] += mass
            of_branch = self.branch_codes.get(branch(name))
            if of_branch is not None:
                by_branch[of_branch] += mass
        mixed = (1 - branch_part) * _relative(by_category) + branch_part * _relative(by_branch)[self.branch_of_category]
        return mixed[self.category_of].astype(np.float32)


def branch(category: str) -> str:
    """The first step of a dotted category."""
    return category.partition(".")[0]


def _relative(values: NDArray[np.float64]) -> NDArray[np.float64]:
    greatest = values.max(initial=0.0)
    return values / greatest if greatest > 0 else values
