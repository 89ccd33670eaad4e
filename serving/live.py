"""What is live: pointers, tables, model and segments as one value that is swapped whole.

A request takes the value once and reads with it to its end, so it never mixes two versions. A new version is
swapped in only when its model is loaded and its reads are prepared; the store keeps the tables of the two
versions before, so a request under way during the flip still finds its own.

While a feature group changes, the two layers flip one after the other. A process takes only what was made by the
declarations that it was built with, both layers together; until then it stays with what it has, so that no answer
merges tiles of two declarations.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable
from numpy.typing import NDArray

from common.blend import Blend, read_blend
from common.embedding import load_model, unpack_recommendations
from common.errors import ContractError, DovetailError
from common.features.declared import declared
from common.features.groups import GROUPS
from common.features.windows import horizon_start
from common.log import event, get
from common.rfm import Centroid, read_centroid
from serving.catalogue import Catalogue
from views.pointer import BATCH as BATCH_POINTER
from views.pointer import SPEED as SPEED_POINTER
from views.pointer import Pointer
from views.reads import KeyReader
from views.scan import scan
from views.schema import Table, table_of
from views.tables import BATCH, POINTER_VIEW, SPEED, tables_of

STORE_ERRORS = (DriverException, NoHostAvailable, TimeoutError, DovetailError)
"""What a read may fail with while the store is away, slow, or one version further."""

_KEPT_MODELS = 3
_POINTER_DEADLINE_S = 2.0
_MODEL_RETRY_S = 10.0

log = get("serving")


@dataclass(frozen=True)
class SegmentList:
    """A segment and its own ranked list, as indexes and scores of the live model; and where its centre lies."""

    segment_id: int
    segment: str
    size: int
    indexes: NDArray[np.int32]
    scores: NDArray[np.float32]
    centroid: Centroid | None = None


@dataclass(frozen=True)
class Live:
    """One consistent set of what is live; any part may be missing while nothing was published yet."""

    batch: Pointer | None = None
    speed: Pointer | None = None
    catalogue: Catalogue | None = None
    segments: Mapping[int, SegmentList] = field(default_factory=dict)
    batch_tables: Mapping[str, Table] = field(default_factory=dict)
    speed_tables: Mapping[str, Table] = field(default_factory=dict)
    blend: Blend | None = None
    """How the sources of a personal list count; None where the model counts alone."""

    @property
    def cut_ms(self) -> int | None:
        """The cut of the live batch version."""
        return self.batch.cut_ms if self.batch else None

    @property
    def since_ms(self) -> int:
        """The oldest speed tile an answer may need."""
        return horizon_start(self.cut_ms) if self.cut_ms is not None else 0

    @property
    def view_version(self) -> str | None:
        """The live batch version."""
        return self.batch.live if self.batch else None

    @property
    def generation(self) -> str | None:
        """The live speed generation."""
        return self.speed.live if self.speed else None


class LiveViews:
    """Keeps :class:`Live` current; ``value`` is read by requests, :meth:`run` refreshes it."""

    def __init__(self, reader: KeyReader, models: Path | None, refresh_s: float) -> None:
        self._reader = reader
        self._models = models
        self._refresh_s = refresh_s
        self._catalogues: dict[str, Catalogue] = {}
        self._model_failed_at: dict[str, float] = {}
        self._lock = asyncio.Lock()
        self.value = Live()
        self.foreign: tuple[str, ...] = ()
        """What is live, and was made by other declarations of the feature groups than this process has."""
        self.read_at: float | None = None
        """Event loop time of the last successful look at the pointers."""

    async def run(self) -> None:
        """Refresh for ever; a store that is away leaves the last value in place."""
        while True:
            with contextlib.suppress(*STORE_ERRORS):  # logged by refresh
                await self.refresh()
            await asyncio.sleep(self._refresh_s)

    async def refresh(self) -> Live:
        """Look at the pointers now and swap where they moved; returns what is live."""
        async with self._lock:
            try:
                batch, speed = await asyncio.gather(self._pointer(BATCH_POINTER), self._pointer(SPEED_POINTER))
                if self._moved(batch, speed) and not self._is_foreign(batch, speed):
                    self.value = await self._load(batch, speed)
            except STORE_ERRORS as error:
                event(log, "pointer not read", cause=type(error).__name__)
                raise
            self.read_at = asyncio.get_running_loop().time()
            return self.value

    async def _pointer(self, name: str) -> Pointer | None:
        row = await self._reader.row(table_of(POINTER_VIEW), (name,), _POINTER_DEADLINE_S)
        return Pointer.of_row(row) if row else None

    def _is_foreign(self, batch: Pointer | None, speed: Pointer | None) -> bool:
        own = declared()
        foreign = tuple(pointer.live for pointer in (batch, speed) if pointer and not pointer.made_by(own))
        if foreign and foreign != self.foreign:
            event(log, "views of other feature groups", versions=" ".join(foreign), kept=self.value.view_version)
        self.foreign = foreign
        return bool(foreign)

    def _moved(self, batch: Pointer | None, speed: Pointer | None) -> bool:
        now = self.value
        if batch != now.batch or speed != now.speed:
            return True
        wanted = batch.model_version if batch else None
        return bool(wanted) and now.catalogue is None and self._may_load(str(wanted))

    def _may_load(self, version: str) -> bool:
        failed = self._model_failed_at.get(version)
        return failed is None or asyncio.get_running_loop().time() - failed >= _MODEL_RETRY_S

    async def _load(self, batch: Pointer | None, speed: Pointer | None) -> Live:
        batch_tables = tables_of(BATCH.values(), batch.live) if batch else {}
        speed_tables = tables_of(SPEED.values(), speed.live) if speed else {}
        reads: list[tuple[Table, bool, int | None]] = []
        if batch:
            reads += [(batch_tables["profile"], False, None), (batch_tables["items"], False, None)]
        if speed:
            reads += [
                (speed_tables["user_embedding"], False, None),
                (speed_tables[GROUPS["interest"].table], True, None),
                (speed_tables[GROUPS["activity"].table], True, None),
            ]
        await self._reader.warm(reads)
        catalogue = await self._catalogue(batch)
        blend = await self._blend(batch, catalogue)
        segments = await self._segments(batch_tables.get("segments"), catalogue)
        event(
            log,
            "views live",
            view_version=batch.live if batch else None,
            generation=speed.live if speed else None,
            model_version=catalogue.version if catalogue else None,
            blend=dict(blend.weights) if blend else None,
            segments=len(segments),
        )
        return Live(batch, speed, catalogue, segments, batch_tables, speed_tables, blend)

    async def _catalogue(self, batch: Pointer | None) -> Catalogue | None:
        version = batch.model_version if batch else None
        if batch is None or not version:
            return None
        known = self._catalogues.get(version)
        if known is not None:
            return known
        if not self._may_load(version):
            return None
        folder = self._folder(batch)
        try:
            catalogue = await asyncio.to_thread(_load_catalogue, folder)
            if catalogue.version != version:
                raise ContractError(f"{folder} holds the model {catalogue.version} and not {version}")
        except (ContractError, OSError) as error:
            self._model_failed_at[version] = asyncio.get_running_loop().time()
            event(log, "model not loaded", model_version=version, cause=str(error))
            return None
        self._catalogues[version] = catalogue
        while len(self._catalogues) > _KEPT_MODELS:
            del self._catalogues[next(iter(self._catalogues))]
        return catalogue

    def _folder(self, batch: Pointer) -> Path:
        return self._models / str(batch.model_version) if self._models else Path(batch.model_uri or "")

    async def _blend(self, batch: Pointer | None, catalogue: Catalogue | None) -> Blend | None:
        """The blend of the model and the version's cut; without one, or with a torn one, the model counts alone."""
        if batch is None or catalogue is None or batch.cut_ms is None:
            return None
        try:
            blend = await asyncio.to_thread(read_blend, self._folder(batch), batch.cut_ms)
            if blend is not None and blend.model_version != catalogue.version:
                raise ContractError(f"the blend is of {blend.model_version}, not of {catalogue.version}")
        except (ContractError, OSError) as error:
            event(log, "blend not loaded", model_version=catalogue.version, cut_ms=batch.cut_ms, cause=str(error))
            return None
        return blend

    async def _segments(self, table: Table | None, catalogue: Catalogue | None) -> dict[int, SegmentList]:
        """All segments: a handful of rows."""
        if table is None:
            return {}
        session, columns = self._reader.session, table.view.columns
        rows = await asyncio.to_thread(lambda: list(scan(session, table, columns, splits=1)))
        found: dict[int, SegmentList] = {}
        for values in rows:
            row = dict(zip(columns, values, strict=True))
            indexes, scores = np.empty(0, np.int32), np.empty(0, np.float32)
            if row["recommendations"] and catalogue and row["model_version"] == catalogue.version:
                indexes, scores = unpack_recommendations(row["recommendations"])
            found[row["segment_id"]] = SegmentList(
                row["segment_id"], row["segment"], row["size"], indexes, scores, read_centroid(row["centroid"])
            )
        return found


def _load_catalogue(folder: Path) -> Catalogue:
    catalogue = Catalogue(load_model(folder))
    _ = catalogue.model.index, catalogue.model.gram, catalogue.by_title  # made here, not in the first request
    return catalogue
