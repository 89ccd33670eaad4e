"""What the service measures. Labels are closed sets: never an id, never a path with one."""

import asyncio

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from serving.live import Live

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.request_seconds = Histogram(
            "dovetail_request_seconds",
            "Seconds from request to answer",
            ("route", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.store_seconds = Histogram(
            "dovetail_store_seconds", "Seconds of one store call", ("call",), buckets=_SECONDS, registry=self.registry
        )
        self.store_failures = Counter(
            "dovetail_store_failures",
            "Store calls an answer had to do without",
            ("call", "cause"),
            registry=self.registry,
        )
        self.levels = Counter(
            "dovetail_recommendation_levels",
            "Answers by level of the fallback chain",
            ("level",),
            registry=self.registry,
        )
        self.degraded = Counter("dovetail_degraded_answers", "Answers with something missing", registry=self.registry)
        self.collected = Counter(
            "dovetail_collected_events", "Events by what the collector said", ("outcome",), registry=self.registry
        )
        self.live = Gauge(
            "dovetail_live_info",
            "1 for what is live",
            ("view_version", "generation", "model_version"),
            registry=self.registry,
        )
        self.trending_age = Gauge(
            "dovetail_trending_age_seconds", "Seconds since popularity was read", registry=self.registry
        )

    def observe_live(self, live: Live, popularity_read_at: float | None) -> None:
        """Note what is live and how old popularity is, as of now; to be called in the event loop."""
        self.live.clear()
        model = live.catalogue.version if live.catalogue else ""
        self.live.labels(live.view_version or "", live.generation or "", model).set(1)
        if popularity_read_at is not None:
            self.trending_age.set(asyncio.get_running_loop().time() - popularity_read_at)

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)
