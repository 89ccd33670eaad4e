"""What a writer counts."""

import threading
from collections import deque
from dataclasses import dataclass, field


@dataclass
class WriteMetrics:
    """Counts of one writer since it began, and the latencies of its last batches."""

    rows: int = 0
    batches: int = 0
    superseded: int = 0
    expired: int = 0
    retries: int = 0
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=4_096))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def observe(self, seconds: float) -> None:
        """Note the latency of one batch, from send to acknowledgement."""
        with self._lock:
            self._seconds.append(seconds)

    def quantile(self, q: float) -> float:
        """The q-quantile of the last batches' latencies in seconds; 0.0 where there were none."""
        with self._lock:
            ordered = sorted(self._seconds)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0

    def snapshot(self) -> dict[str, float]:
        """All figures by name."""
        return {
            "rows": self.rows,
            "batches": self.batches,
            "superseded": self.superseded,
            "expired": self.expired,
            "retries": self.retries,
            "p50_ms": self.quantile(0.5) * 1_000,
            "p99_ms": self.quantile(0.99) * 1_000,
        }
