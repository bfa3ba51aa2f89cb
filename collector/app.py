"""The composition root: every part is made here, started and stopped by one lifespan."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from pluggy import PluginManager
from starlette.middleware.cors import CORSMiddleware

from collector import plugins
from collector.access import Access
from collector.batcher import Batcher
from collector.credentials import Keys, RefuseUnauthorized, RequireKey
from collector.doors import Collector, Door
from collector.errors import Unavailable
from collector.folder import Folder
from collector.lateness import measure_lateness
from collector.list_tail import ListTail
from collector.metrics import Metrics
from collector.receipts import Receipts
from collector.retention import Retention
from collector.security_headers import SecurityHeaders
from collector.settings import Settings
from collector.storage import Storage
from collector.straight_in import OwnAddress, StraightIn, own_addresses
from collector.tail import Tail

log = logging.getLogger(__name__)

RESTART_S = 1.0
DESCRIPTION = (
    "The reading half, to look up and try. Send OTLP to POST /v1/traces and /v1/logs (docs/otlp.md),"
    " flow events to POST /api/v1/events (docs/flow_events.md); docs/api.md says more of reading: all in the repository's docs folder."
    " Where a key is set, give it with every request as `x-api-key: KEY`, `Authorization: Bearer KEY` or `X-User-Token: KEY`."
)
# FastAPI traces itself wherever an SDK is set up in the process; to find out costs 5 us a request.
NO_TELEMETRY = {"tracing": False, "metrics": False, "logs": False}
# Doors that refuse in their callers' own format.
OWN_FORMAT = frozenset({"/v1/traces", "/v1/logs", "/v1/metrics", "/api/v1/events", "/api/events"})


@dataclass(slots=True)
class Parts:
    """What a start makes and a stop takes apart."""

    storage: Storage
    folder: Folder
    retention: Retention
    collector: Collector
    doors: list[Door]


def create_app(settings: Settings) -> FastAPI:
    """Return the ASGI application: plugins found, storage chosen; opened when its lifespan begins.

    Raises SettingsError if it would be open to the network, NoStorage for an address nobody stores at.
    """
    settings.check_bind()
    metrics = Metrics()
    manager = plugins.load_plugins(metrics)
    storage = plugins.make_storage(manager, settings)
    receipts, keys = Receipts(), Keys(settings.server_api_keys)
    addresses: dict[str, OwnAddress] = {}

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(storage.open)
        try:
            parts = _compose(settings, storage, metrics, keys, receipts, manager)
            for door in parts.doors:
                app.router.routes.extend(door.routes)
            addresses.update(own_addresses(app.routes))
            app.state.collector = parts.collector
            storage.listen(partial(_call_on, asyncio.get_running_loop(), (parts.collector.tail.hint, parts.collector.list_tail.hint)))
            async with _running(parts, metrics):
                yield
        finally:
            await asyncio.to_thread(storage.close)

    about = {"title": "Flowspan", "description": DESCRIPTION, "version": version("flowspan")}
    app = FastAPIOffline(lifespan=lifespan, telemetry=NO_TELEMETRY, **about)
    _add_health(app, metrics)
    app.add_middleware(StraightIn, addresses=addresses)
    _wrap(app, settings, metrics, keys, receipts)
    return app


def _call_on(loop: asyncio.AbstractEventLoop, hints: Iterable[Callable[[], None]]) -> None:
    """Pass a hint on from a thread of the storage's."""
    for hint in hints:
        loop.call_soon_threadsafe(hint)


def _compose(settings: Settings, storage: Storage, metrics: Metrics, keys: Keys, receipts: Receipts, manager: PluginManager) -> Parts:
    reader = metrics.measure(storage.reader)
    tail, list_tail = Tail(reader, metrics, settings.socket_queue), ListTail(reader, metrics, settings.socket_queue)
    folder = Folder(storage.writer, metrics, list_tail.hint)

    def committed() -> None:
        tail.hint()
        folder.hint()

    collector = Collector(
        settings=settings,
        reader=reader,
        batcher=Batcher(storage.writer, settings, metrics, committed),
        tail=tail,
        list_tail=list_tail,
        dialects=plugins.load_dialects(manager, metrics),
        keys=keys,
        receipts=receipts,
        metrics=metrics,
        plugins=manager,
    )
    doors = plugins.collect(manager, metrics, "make_doors", collector=collector)
    return Parts(storage, folder, Retention(storage.writer, metrics), collector, doors)


@contextlib.asynccontextmanager
async def _running(parts: Parts, metrics: Metrics) -> AsyncIterator[None]:
    """Run every background task; stop in the order that loses nothing: doors, then the writer, then those who tell of it."""
    background = [(door.name, task) for door in parts.doors for task in door.background]
    steps = [*background, ("batcher", parts.collector.batcher.run), ("folder", parts.folder.run), ("retention", parts.retention.run)]
    steps += [("tail", parts.collector.tail.run), ("list tail", parts.collector.list_tail.run)]
    steps += [("lateness", partial(measure_lateness, metrics))]
    tasks = [asyncio.create_task(_keep_running(name, step, metrics), name=name) for name, step in steps]
    log.info("storing in %s", parts.storage.name)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(parts.collector.batcher.close)
        await asyncio.to_thread(parts.folder.close)
        await asyncio.to_thread(parts.retention.close)


async def _keep_running(name: str, step: Callable[[], Coroutine[Any, Any, None]], metrics: Metrics) -> None:
    while True:
        try:
            await step()
            return
        except Exception:
            metrics.plugin_failures.labels(name).inc()
            log.exception("%s failed and is started again", name)
            await asyncio.sleep(RESTART_S)


def _wrap(app: FastAPI, settings: Settings, metrics: Metrics, keys: Keys, receipts: Receipts) -> None:
    """Put the middleware around the routes; the last added is the outermost, and sees every answer."""
    app.add_middleware(RefuseUnauthorized, own_format=OWN_FORMAT)
    app.add_middleware(RequireKey, keys=keys, allowed_origins=settings.cors_allowed_origins, any_name=settings.insecure)
    if settings.cors_allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            allow_credentials=True,
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Access, metrics=metrics, receipts=receipts, retry_after_s=settings.retry_after_s)

    @app.exception_handler(Unavailable)
    async def come_back_later(request: Request, error: Unavailable) -> Response:
        return JSONResponse({"detail": str(error)}, 503, {"Retry-After": str(settings.retry_after_s)})


def _add_health(app: FastAPI, metrics: Metrics) -> None:
    @app.get("/health/live", tags=["health"])
    async def live() -> dict[str, str]:
        """Say that the process runs."""
        return {"status": "ok"}

    @app.get("/health/ready", tags=["health"])
    @app.get("/healthz", tags=["health"])
    async def ready(request: Request) -> dict[str, str]:
        """Say that data can be taken: the store answers and takes. 503 while it does not."""
        await request.app.state.collector.reader.ping()
        await request.app.state.collector.batcher.check()
        return {"status": "ok"}

    @app.get("/metrics", tags=["health"], response_class=Response)
    async def show_metrics() -> Response:
        """Show the collector's own metrics in the Prometheus text format."""
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
