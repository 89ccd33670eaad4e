"""The pointer: which batch version and which speed generation are live."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cassandra.cluster import Session

from views.schema import identifier
from views.tables import POINTER_VIEW

BATCH = "batch"
SPEED = "speed"


@dataclass(frozen=True)
class Pointer:
    """One row of the pointer. ``serial`` grows with each flip."""

    name: str
    live: str
    previous: tuple[str, ...] = ()
    cut_ms: int | None = None
    model_version: str | None = None
    model_uri: str | None = None
    updated_ms: int = 0
    serial: int = 0
    info: dict[str, Any] = field(default_factory=dict)

    def made_by(self, features: Mapping[str, str]) -> bool:
        """Whether it was made by these declarations of the feature groups; True where that was never noted."""
        return self.info.get("features", features) == features

    @classmethod
    def of_row(cls, row: Any) -> "Pointer":
        """The pointer of a row of ``view_pointer``."""
        return cls(
            name=row.name,
            live=row.live,
            previous=tuple(row.previous or ()),
            cut_ms=row.cut_ms,
            model_version=row.model_version,
            model_uri=row.model_uri,
            updated_ms=row.updated_ms,
            serial=row.serial,
            info=json.loads(row.info) if row.info else {},
        )


SELECT = f"SELECT {', '.join(map(identifier, POINTER_VIEW.columns))} FROM view_pointer WHERE name = %s"


def read_pointer(session: Session, name: str) -> Pointer | None:
    """The live pointer of a layer; None where nothing was ever made live."""
    row = session.execute(SELECT, (name,)).one()
    return None if row is None else Pointer.of_row(row)


class PointerCache:
    """Reads the pointer at most once in ``max_age_s`` for many readers of one process.

    Between reads a reader may see the version before: both are kept in the store.
    """

    def __init__(
        self,
        session: Session,
        name: str,
        max_age_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._name = name
        self._max_age_s = max_age_s
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._pointer: Pointer | None = None

    def get(self) -> Pointer | None:
        """The pointer, at most ``max_age_s`` old. Driver errors are the caller's."""
        with self._lock:
            if self._clock() - self._read_at >= self._max_age_s:
                self._pointer = read_pointer(self._session, self._name)
                self._read_at = self._clock()
            return self._pointer
