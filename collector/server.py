"""Listens: one uvicorn server on several sockets, so that pages, API, flow events and OTLP share one process and one lifespan.

Several such processes on the same sockets are workers.py.
"""

from __future__ import annotations

import gc
import logging
import socket
import sys

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.errors import FlowspanError
from collector.one_write import OneWriteProtocol
from collector.settings import Settings

log = logging.getLogger(__name__)

# What a shell sees when a setting, a port or the store must be mended first; the same as for a mistyped option.
MUST_BE_MENDED = 2
BACKLOG = 2048
# How long live sockets may stay open once we are told to stop; requests under way are answered before.
GRACE_S = 3
# Longer than the exporters' 5 s between batches, so that each keeps its connection.
KEEP_ALIVE_S = 75
# How long a thread may keep the others waiting. At Python's own 5 ms the event loop's timers are 26 ms late during ingest (p99), at 1 ms 17;
# throughput is the same.
SWITCH_S = 0.001


class PortTaken(FlowspanError):
    """This port is in use."""


class NotStarted(FlowspanError):
    """The server could not start: the lines above say why."""


def serve(app: ASGIApp, settings: Settings, sockets: list[socket.socket]) -> None:
    """Serve until told to stop (SIGINT or SIGTERM).

    Raises the FlowspanError that kept the application from being opened; NotStarted for anything else, and the log says what.
    """
    sys.setswitchinterval(SWITCH_S)
    told = _Told(app)
    try:
        _OwnProcess(make_server(told, settings).config).run(sockets=sockets)
    except SystemExit:  # uvicorn's word for a lifespan that failed
        raise told.error or NotStarted() from None


class _Told:
    """The application. Where its start fails for what a person can mend, that is kept for them, in place of the log's traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.error: FlowspanError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._live if scope["type"] == "lifespan" else self._app)(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        failure: list[Message] = []

        async def hold_failure(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                failure.append(message)
            else:
                await send(message)

        try:
            await self._app(scope, receive, hold_failure)
        except FlowspanError as error:
            self.error = error
            failure = [{**message, "message": ""} for message in failure]
            raise
        finally:
            for message in failure:
                await send(message)


class _OwnProcess(uvicorn.Server):
    """A server that has its process to itself."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell the garbage collector that what is here now stays: to look through it held the event loop 80-170 ms each time."""
        await super().startup(sockets)
        gc.freeze()


def make_server(app: ASGIApp, settings: Settings) -> uvicorn.Server:
    """Return the server that `serve` runs; it stops once its should_exit is set."""
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",  # at info it writes sockets' addresses, and those may carry ?api_key=
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        http=OneWriteProtocol,
    )
    return uvicorn.Server(config)


def open_sockets(settings: Settings) -> list[socket.socket]:
    """Bind the main port and OTLP's own.

    Raises PortTaken if the main port is in use; that OTLP's is only costs a warning: OTLP is taken on the main port too.
    """
    try:
        sockets = [bind(settings.host, settings.port)]
    except OSError as error:
        raise PortTaken(f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}") from error
    if settings.otlp_http_port and settings.otlp_http_port != settings.port:
        try:
            sockets.append(bind(settings.host, settings.otlp_http_port))
        except OSError as error:
            log.warning("OTLP's own port %d cannot be used (%s); send OTLP to port %d", settings.otlp_http_port, error, port_of(sockets[0]))
    return sockets


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def port_of(listener: socket.socket) -> int:
    """Return the port a socket listens on."""
    port: int = listener.getsockname()[1]
    return port
