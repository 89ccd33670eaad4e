"""The HTTP surface. Handlers take arguments apart and encode answers; everything else is the service's."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath

from common.admission import Rejection
from common.errors import DovetailError, ServerUnavailable
from serving.answers import Accepted, Problem
from serving.collector import Collector, bounded_body
from serving.live import STORE_ERRORS
from serving.metrics import Metrics
from serving.service import Service, UnknownItem, UnknownVisitor, playground_visitors
from serving.visitor import now_ms

STATIC = Path(__file__).parent / "static"
MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
PAGE_POLICY = "default-src 'self'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'"

router = APIRouter()
_encoder = msgspec.json.Encoder()


class Kind(StrEnum):
    """What an id in a path is: of a known user, or of a device."""

    USER = "user"
    ANONYMOUS = "anonymous"


RawId = Annotated[str, InPath(min_length=1, max_length=256, description="The raw id; it is pseudonymised on arrival")]
KindOf = Annotated[Kind, Query(description="Whether the id is a user's or a device's")]
Count = Annotated[int, Query(ge=1, le=100, description="Items wanted")]


def _json(body: Any, status: int = 200) -> Response:
    return Response(_encoder.encode(body), status, media_type="application/json")


def _problem(status: int, error: str, detail: str, field: str | None = None) -> Response:
    return _json(Problem(error=error, detail=detail, field=field), status)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


@router.get("/v1/users/{id}/recommendations", summary="A ranked list for a visitor, with reasons")
async def recommendations(
    request: Request, id: RawId, n: Count = 20, explain: bool = False, kind: KindOf = Kind.USER
) -> Response:
    """Never fails for want of knowledge: ``level`` says how far down the chain of fallbacks the list comes from."""
    return _json(await _service(request).recommendations(kind.value, id, n, explain))


@router.get("/v1/users/{id}/profile", summary="Everything both layers know of a visitor, merged")
async def profile(request: Request, id: RawId, kind: KindOf = Kind.USER) -> Response:
    """404 where neither layer has heard of the visitor."""
    try:
        return _json(await _service(request).profile(kind.value, id))
    except UnknownVisitor:
        return _problem(404, "unknown_visitor", "neither layer has heard of this visitor")


@router.get("/v1/users/{id}/segments", summary="The segments a visitor is in")
async def segments(request: Request, id: RawId, kind: KindOf = Kind.USER) -> Response:
    """By clusters of the batch layer, and by rules over both layers; 404 where neither has heard of the visitor."""
    try:
        return _json(await _service(request).segments(kind.value, id))
    except UnknownVisitor:
        return _problem(404, "unknown_visitor", "neither layer has heard of this visitor")


@router.get("/v1/items/{id}/similar", summary="Items like one")
async def similar(request: Request, id: RawId, n: Count = 10) -> Response:
    """404 where neither the catalogue nor the model knows the item."""
    try:
        return _json(await _service(request).similar(id, n))
    except UnknownItem:
        return _problem(404, "unknown_item", "no such item in the catalogue")


@router.get("/v1/trending", summary="What is popular now")
async def trending(request: Request, n: Count = 20) -> Response:
    """As of the last refresh, a few seconds ago."""
    return _json(_service(request).trending(n))


@router.post("/v1/events", summary="Take one event")
async def events(request: Request) -> Response:
    """202 once Kafka has acknowledged it; 400 with the gate's reason; 503 where Kafka did not answer in time."""
    collector: Collector = request.app.state.collector
    metrics: Metrics = request.app.state.metrics
    try:
        outcome = await collector.collect(await bounded_body(request.stream()), now_ms())
    except ServerUnavailable as error:
        metrics.collected.labels("unavailable").inc()
        return _problem(503, "unavailable", str(error))
    if isinstance(outcome, Rejection):
        metrics.collected.labels(outcome.reason.value).inc()
        return _problem(400, outcome.reason.value, outcome.detail, outcome.field)
    metrics.collected.labels("accepted").inc()
    return _json(Accepted(status="accepted", **outcome._asdict()), 202)


@router.get("/v1/playground/visitors", summary="Sample visitors for the playground")
async def visitors(request: Request) -> Response:
    """Those of the file the service was given; none without one."""
    return _json(playground_visitors(_service(request).settings))


@router.get("/healthz", summary="Whether the process runs")
async def healthz() -> Response:
    """Says nothing of the servers behind it: that is /readyz."""
    return _json({"status": "ok"})


@router.get("/readyz", summary="Whether the service can answer from its views")
async def readyz(request: Request) -> Response:
    """503 with what is lacking: the store, the first publication, the model."""
    service = _service(request)
    lacking = {}
    try:
        live = await service.live.refresh()
    except STORE_ERRORS as error:
        live = service.live.value
        lacking["cassandra"] = f"the pointer cannot be read ({type(error).__name__})"
    if live.batch is None and live.speed is None and service.live.foreign:
        made = " and ".join(service.live.foreign)
        lacking["views"] = (
            f"{made} came of other feature groups than this code declares: deploy the code that made them"
        )
    elif live.batch is None and live.speed is None:
        lacking["views"] = "nothing is live: publish a batch version or make a generation live"
    elif live.batch is not None and live.batch.model_version and live.catalogue is None:
        lacking["model"] = f"the artefact of model {live.batch.model_version} cannot be loaded"
    body = {
        "ready": not lacking,
        "lacking": lacking,
        "view_version": live.view_version,
        "generation": live.generation,
        "model_version": live.catalogue.version if live.catalogue else None,
    }
    return _json(body, 503 if lacking else 200)


@router.get("/metrics", summary="Prometheus metrics")
async def metrics(request: Request) -> Response:
    """The text exposition format."""
    exposed: Metrics = request.app.state.metrics
    service = _service(request)
    exposed.observe_live(service.live.value, service.popularity.read_at)
    return Response(exposed.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/", include_in_schema=False)
async def page() -> Response:
    """The playground."""
    return _static("index.html")


@router.get("/static/{name}", include_in_schema=False)
async def static(name: str) -> Response:
    """The playground's script and style."""
    if not re.fullmatch(r"[a-z]+\.(js|css)", name) or not (STATIC / name).is_file():
        return _problem(404, "unknown_file", "no such file")
    return _static(name)


def _static(name: str) -> Response:
    path = STATIC / name
    headers = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return Response(path.read_bytes(), media_type=MEDIA[path.suffix], headers=headers)


async def on_dovetail_error(_request: Request, error: Exception) -> Response:
    """A failure the operator can act on, as one line of JSON."""
    assert isinstance(error, DovetailError)
    return _problem(503 if isinstance(error, ServerUnavailable) else 500, type(error).__name__, str(error))


async def on_invalid_request(_request: Request, error: Any) -> Response:
    """What is wrong with a request's arguments; never the value that was sent, which may be a raw id."""
    first = error.errors()[0]
    return _problem(422, "invalid_request", first["msg"], ".".join(str(part) for part in first["loc"][1:]))
