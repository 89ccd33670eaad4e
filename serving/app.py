"""The application: what it is wired from, what runs behind it, and how it begins and ends."""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, MutableMapping
from dataclasses import dataclass
from typing import Any

from cassandra.cluster import Session
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from common.admission import Policy, policy_from_env
from common.errors import DovetailError
from serving.collector import Collector, require_kafka
from serving.live import STORE_ERRORS, LiveViews
from serving.metrics import Metrics
from serving.popularity import PopularityRefresher
from serving.routes import on_dovetail_error, on_invalid_request, router
from serving.service import Service
from serving.settings import Settings
from serving.stores import CassandraReads
from views.connect import connect, disconnect, ensure_keyspace
from views.reads import KeyReader
from views.tables import create_base


@dataclass(frozen=True)
class Backends:
    """The servers the service needs, connected, and the key it makes pseudonyms with."""

    session: Session
    policy: Policy

    def close(self) -> None:
        """Disconnect."""
        disconnect(self.session)


def open_backends(settings: Settings) -> Backends:
    """Connect to everything; raises a DovetailError with the remedy where something is not there."""
    policy = policy_from_env(settings.pseudonym_key_env, settings.pseudonym_key_id)
    require_kafka(settings.kafka, (settings.events_topic, settings.rejected_topic))
    if settings.create_schema:
        ensure_keyspace(settings.cassandra)
    session = connect(settings.cassandra)
    if settings.create_schema:
        create_base(session)
    return Backends(session, policy)


def create_app(settings: Settings, backends: Backends | None = None) -> FastAPI:
    """The application. Without ``backends`` it connects when it starts; those that it is given it leaves open."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        own = backends if backends is not None else await asyncio.to_thread(open_backends, settings)
        metrics: Metrics = app.state.metrics
        reader = KeyReader(own.session)
        live = LiveViews(reader, settings.models, settings.pointer_refresh_s)
        popularity = PopularityRefresher(reader, live, settings.trending_refresh_s)
        reads = CassandraReads(reader, settings.read_deadline_s, metrics)
        collector = Collector(
            settings.kafka, settings.events_topic, settings.rejected_topic, settings.produce_deadline_s
        )
        app.state.service = Service(settings, own.policy, live, reads, popularity, metrics)
        app.state.collector = collector
        collector.start()
        with contextlib.suppress(*STORE_ERRORS):  # logged; the loops below go on trying
            await live.refresh()
            await popularity.refresh()
        gc.freeze()  # what is loaded by now stays: looking through it again and again would hold up answers
        tasks = [asyncio.create_task(live.run()), asyncio.create_task(popularity.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(collector.close)
            if backends is None:
                await asyncio.to_thread(own.close)

    app = FastAPI(
        title="Dovetail",
        summary="Personalization: batch and speed, merged and explained",
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere; /openapi.json says the same
        redoc_url=None,
    )
    app.state.metrics = Metrics()
    app.include_router(router)
    app.add_exception_handler(DovetailError, on_dovetail_error)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
    app.add_middleware(Timed, metrics=app.state.metrics)
    return app


class Timed:
    """Measures each request under its route's template, so that no id becomes a label."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._seconds = metrics.request_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and observe when the answer has ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = "500"

        async def watch(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._seconds.labels(route, status).observe(time.perf_counter() - begun)
