"""The shop: its catalogue, its month of history and its live traffic, as raw events for the gate."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.features.windows import DAY_MS
from local.simulator.catalogue import make_catalogue
from local.simulator.config import ShopConfig
from local.simulator.record import Record, write_lines
from local.simulator.timeline import Timeline, make_timeline
from local.simulator.visitors import make_visitors
from local.simulator.wire import Renderer

_COLUMNS = ("ms", "kind", "item", "quantity", "line", "value")


class Shop:
    """One simulated shop. The same configuration gives the same bytes; history does not depend on what follows it."""

    def __init__(self, config: ShopConfig | None = None):
        self.config = config if config is not None else ShopConfig()
        self.catalogue = make_catalogue(self.config)
        self.visitors = make_visitors(self.config, self.catalogue)

    def timeline(self, until_ms: int) -> Timeline:
        """Return all sessions that begin before ``until_ms`` (to the end of its day) and their actions, as columns."""
        days = -(-(until_ms - self.config.start_ms) // DAY_MS)
        return make_timeline(self.config, self.visitors, days)

    def history(self) -> Iterator[Record]:
        """Give every event before the cut, in the order of event time."""
        return self.records(self.config.start_ms, self.config.cut_ms)

    def live(self, until_ms: int) -> Iterator[Record]:
        """Give the events of the same visitors from the cut up to ``until_ms``, in the order of event time."""
        return self.records(self.config.cut_ms, until_ms)

    def records(self, since_ms: int, until_ms: int) -> Iterator[Record]:
        """Give the events of [since_ms, until_ms) in the order of event time."""
        timeline = self.timeline(until_ms)
        renderer = Renderer(self.config.seed, self.catalogue, self.visitors, timeline)
        actions = timeline.actions
        wanted = np.flatnonzero((actions.ms >= since_ms) & (actions.ms < until_ms))
        columns = [getattr(actions, name)[wanted].tolist() for name in _COLUMNS]
        for row in zip(actions.session[wanted].tolist(), timeline.serial[wanted].tolist(), *columns, strict=True):
            yield renderer.record(*row)

    def write_history(self, path: Path) -> int:
        """Write the history as JSON lines, as ``import_events --format events`` reads them; return how many."""
        return write_lines(path, self.history())

    def write_catalogue(self, path: Path) -> Path:
        """Write the catalogue as Parquet in the contract ``items`` and return its path."""
        return self.catalogue.write(path, self.config.start_ms)
