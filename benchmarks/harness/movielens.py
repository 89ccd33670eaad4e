"""MovieLens 100K as ranking benchmarks split it: three quarters of each item's ratings train, the rest test."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession

from benchmarks.harness import REPOSITORY
from common.errors import MissingRequirement

TRAIN = 0.75


@dataclass(frozen=True)
class Part:
    """Ratings of users for items, flat arrays of one length; ids are the file's."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    ratings: NDArray[np.int64]

    def frame(self, spark: SparkSession) -> DataFrame:
        """visitor_id, item_id, weight: the rating as it stands."""
        rows = [(f"u{u:04}", f"i{i:04}", int(r)) for u, i, r in zip(self.users, self.items, self.ratings, strict=True)]
        return spark.createDataFrame(rows, "visitor_id string, item_id string, weight long").repartition(2)


def folder() -> Path:
    """The data set's folder below ``DOVETAIL_DATA``; raises MissingRequirement where it is not there."""
    found = Path(os.environ.get("DOVETAIL_DATA") or REPOSITORY.parent / "shared" / "data") / "ml-100k"
    if not (found / "u.data").is_file():
        raise MissingRequirement(
            "needs MovieLens 100K (ml-100k/u.data, u.item): set DOVETAIL_DATA to its folder's parent"
        )
    return found


def split(seed: int) -> tuple[Part, Part]:
    """Train and test, stratified by item: of n ratings of an item round(0.75 n) at random train."""
    data = np.loadtxt(folder() / "u.data", dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(data))
    order = order[np.argsort(data[order, 1], kind="stable")]
    _, begins, counts = np.unique(data[order, 1], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(begins, counts)
    trains = place < np.repeat(np.round(TRAIN * counts), counts)
    parts = (data[order[trains]], data[order[~trains]])
    train, test = (Part(part[:, 0], part[:, 1], part[:, 2]) for part in parts)
    return train, test


def items() -> list[tuple[str, str, list[str]]]:
    """item_id, title and genres of each film."""
    genres = [line.split("|")[0] for line in (folder() / "u.genre").read_text().splitlines() if line]
    found = []
    for line in (folder() / "u.item").read_text(encoding="latin-1").splitlines():
        cells = line.split("|")
        found.append(
            (f"i{int(cells[0]):04}", cells[1], [g for g, has in zip(genres, cells[5:], strict=False) if has == "1"])
        )
    return found
