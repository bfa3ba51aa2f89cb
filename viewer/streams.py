"""Connections that stay open: server-sent events, the end of a client, and how long a slow one is waited for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any

from prometheus_client import Gauge
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

# A client that takes longer to accept one message has gone or cannot follow; it comes back and fills its gap.
SEND_TIMEOUT_S = 10.0
# Proxies close what is silent for 30 to 60 s.
KEEP_ALIVE_S = 15.0
KEEP_ALIVE = ": keep-alive\n\n"
RETRY_MS = 1000


class EventStream(Response):
    """Server-sent events: sends what the source yields until it ends, or until the client goes or stops reading."""

    media_type = "text/event-stream"

    def __init__(self, source: AsyncGenerator[str, None], open_streams: Gauge) -> None:
        """source: encoded events; closed when the stream ends. open_streams: counts this one while it is open."""
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
        super().__init__(b"", headers=headers)
        del self.headers["content-length"]
        self._source = source
        self._open_streams = open_streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        with counted(self._open_streams):
            await until_gone(self._stream(send), _disconnected(receive))

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await _send_body(send, f"retry: {RETRY_MS}\n\n", more=True)
        async with contextlib.aclosing(self._source):
            async for text in self._source:
                await _send_body(send, text, more=True)
        await _send_body(send, "", more=False)


def encode_event(data: str, *, name: str = "", event_id: str = "") -> str:
    """Return one server-sent event."""
    lines = [f"event: {name}"] if name else []
    if event_id:
        lines.append(f"id: {event_id}")
    lines += [f"data: {line}" for line in data.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    return "\n".join(lines) + "\n\n"


async def until_gone(sending: Coroutine[Any, Any, None], gone: Coroutine[Any, Any, None]) -> None:
    """Run sending until it ends, gone ends, or a message was not accepted in time. Other errors of sending are raised."""
    tasks = [asyncio.create_task(sending), asyncio.create_task(gone)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    error = results[0]
    if isinstance(error, Exception) and not isinstance(error, (TimeoutError, OSError, WebSocketDisconnect)):
        raise error


@contextlib.contextmanager
def counted(gauge: Gauge) -> Iterator[None]:
    """Count an open connection."""
    gauge.inc()
    try:
        yield
    finally:
        gauge.dec()


async def _send_body(send: Send, text: str, *, more: bool) -> None:
    async with asyncio.timeout(SEND_TIMEOUT_S):
        await send({"type": "http.response.body", "body": text.encode(), "more_body": more})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
