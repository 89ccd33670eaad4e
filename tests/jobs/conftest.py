"""The batch layer over a small shop, run once for the tests that look at it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from jobs import chain, import_events
from jobs.spark.tables import Lake
from tests.jobs.nights import chain_args
from tests.jobs.small_shop import Shop, write


@dataclass
class Built:
    """A lake after the chain, without publishing."""

    spark: Any
    lake: Lake
    shop: Shop
    imported: dict[str, Any]
    counts: dict[str, Any]

    def run_again(self) -> dict[str, Any]:
        """Run the chain once more."""
        return run_chain(self.spark, self.lake.root)


def run_chain(spark: Any, lake: str) -> dict[str, Any]:
    """What each step of a night counted."""
    return chain.main(spark, chain_args(lake))


@pytest.fixture(scope="session")
def built(_spark_session, tmp_path_factory) -> Iterator[Built]:
    """The small shop, imported and chained."""
    folder = tmp_path_factory.mktemp("small-shop")
    shop = write(folder / "history.jsonl")
    lake = Lake(_spark_session, str(folder / "lake"))
    args = import_events.Args(lake=lake.root, format="events", path=str(shop.path))
    imported = import_events.main(_spark_session, args)
    yield Built(_spark_session, lake, shop, imported, run_chain(_spark_session, lake.root))
