"""Models for the stream to fold in with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from common.embedding import write_model


def model(
    folder: Path,
    version: str,
    items: Sequence[int] = range(5),
    mode: Literal["implicit", "explicit"] = "implicit",
) -> Path:
    """A model of the items ``i<number>``, its factors seeded by its name and items; its folder."""
    rng = np.random.default_rng([len(version), *items])
    write_model(
        folder / version,
        model_version=version,
        cut_ms=0,
        alpha=4.0,
        reg=0.1,
        mode=mode,
        item_ids=[f"i{i}" for i in items],
        factors=rng.normal(size=(len(items), 8)),
        categories=["c"] * len(items),
        titles=["t"] * len(items),
        prices=[None] * len(items),
    )
    return folder / version
