"""The first minutes: how to send something here, and what became of what was sent, until there is a run to show."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from collector.doors import Collector
from collector.errors import Unavailable
from viewer.display import receipt_line
from viewer.extend import TemplateViewer
from viewer.streams import KEEP_ALIVE, KEEP_ALIVE_S, EventStream, encode_event

# A receipt comes before its run can be listed (the fold), and a run may come by another replica, without a receipt here.
LOOK_AGAIN_S = 0.5


class Welcome:
    """The table of requests as it grows, for the page /flows while no run exists."""

    def __init__(self, collector: Collector, viewer: TemplateViewer) -> None:
        self._collector = collector
        self._viewer = viewer

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        return [Route("/sse/welcome", self.serve_events, methods=["GET"])]

    async def serve_events(self, request: Request) -> Response:
        """Send `html` with the table after each request that comes in, and `run` once there is a run to list."""
        return EventStream(self._events(), self._collector.metrics.sockets.labels("sse"))

    async def _events(self) -> AsyncGenerator[str, None]:
        shown, silent_since = -1, time.monotonic()
        while not await self._has_runs():
            if self._collector.receipts.count != shown:
                shown = self._collector.receipts.count
                yield encode_event(self._table(), name="html")
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > KEEP_ALIVE_S:
                yield KEEP_ALIVE
                silent_since = time.monotonic()
            await self._collector.receipts.wait(shown, LOOK_AGAIN_S)
        yield encode_event("yes", name="run")

    async def _has_runs(self) -> bool:
        try:
            return await self._collector.reader.has_runs()
        except Unavailable:
            return False

    def _table(self) -> str:
        return self._viewer.render("_receipts.html", receipts=[receipt_line(receipt) for receipt in self._collector.receipts.recent()])
