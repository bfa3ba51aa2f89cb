"""Lists as they move: WS /ws/runs and SSE /sse/runs, both from collector.list_tail.

?kind= ?flow= ?limit=: which list, as GET /api/v1/runs has it. ?cursor=C: what changed since that list was read comes first; without it
there is nothing but news. ?flows=1: the catalogue's flows too. ?html=1: the page's partials beside the data. ?batch=1: see `send_groups`.
A "resync" message means: more happened than is sent again, take a new list.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from collector.answers import Resync, RunSummary
from collector.doors import Collector
from collector.errors import Unavailable
from collector.list_tail import ListNews, ListWatcher
from collector.questions import LARGEST_PAGE, BadCursor, RunQuery
from otel_bridge.facts import harmless
from viewer.addresses import KINDS, BadQuestion
from viewer.delivery import CLOSE_BAD_QUESTION, RESYNC, Group, close_reason, closed, encode_groups, send_groups
from viewer.extend import TemplateViewer
from viewer.list_messages import ListScribe, ListWish, Told, close_group
from viewer.streams import KEEP_ALIVE_S, EventStream, counted, until_gone

log = logging.getLogger(__name__)

# A list is read again no more often than this, however soon a run counts as stale.
LEAST_LOOK_S = 1.0

ListKey = tuple[str | None, str | None, int]


class LiveLists:
    """The live addresses of lists over one collector's tail."""

    def __init__(self, collector: Collector, viewer: TemplateViewer) -> None:
        self._collector = collector
        self._scribe = ListScribe(viewer, collector.settings.stale_after_s)
        # Silence alone makes a run stale: then no news come to tell of it.
        self._look_again_s = max(min(KEEP_ALIVE_S, collector.settings.stale_after_s), LEAST_LOOK_S)
        self._looks: dict[ListKey, asyncio.Future[Sequence[RunSummary]]] = {}

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        return [WebSocketRoute("/ws/runs", self.serve_socket), Route("/sse/runs", self.serve_events, methods=["GET"])]

    async def serve_socket(self, socket: WebSocket) -> None:
        """Follow a list on a WebSocket. Closes with 4400 if there is no such kind of list, 1013 while the store cannot be read."""
        with counted(self._collector.metrics.sockets.labels("ws")):
            await socket.accept()
            try:
                wish = read_wish(socket.query_params)
            except BadQuestion as error:
                await socket.close(CLOSE_BAD_QUESTION, close_reason(error))
                return
            await until_gone(send_groups(socket, self._groups(wish)), closed(socket))

    async def serve_events(self, request: Request) -> Response:
        """Follow a list by server-sent events; Last-Event-ID is the cursor it goes on from."""
        try:
            wish = read_wish(request.query_params, request.headers.get("last-event-id", ""))
        except BadQuestion as error:
            return JSONResponse({"detail": str(error)}, 400)
        return EventStream(encode_groups(self._groups(wish)), self._collector.metrics.sockets.labels("sse"))

    async def _groups(self, wish: ListWish) -> AsyncGenerator[Group, None]:
        """Yield what a watcher has missed, then the news; ends when it must come again."""
        try:
            async with self._collector.list_tail.subscribe(with_flows=wish.with_flows) as watcher:
                # The watcher was there before what it missed was read: nothing falls between the two, some may be told twice.
                opening = await self._open(wish, watcher)
                yield opening
                async for group in self._follow(wish, watcher, opening.cursor):
                    yield group
        except (Resync, BadCursor):
            yield Group(texts=[RESYNC])
        except Unavailable as error:
            log.warning("a watcher is sent away, the store cannot be read: %s", error.in_full())

    async def _open(self, wish: ListWish, watcher: ListWatcher) -> Group:
        if wish.cursor is None:
            return close_group([], watcher.cursor)
        changes = await self._collector.reader.list_changes(wish.cursor)
        if wish.with_flows:
            self._collector.list_tail.note_flows(changes.runs)
        missed = ListNews(changes.runs, changes.gone, {}, {}, changes.cursor)
        written = await self._scribe.write_apart(missed, with_html=wish.with_html)
        return close_group(written.choose(wish), changes.cursor)

    async def _follow(self, wish: ListWish, watcher: ListWatcher, cursor: str) -> AsyncGenerator[Group, None]:
        """Yield the news, and what time alone changed. cursor: what the watcher has heard of."""
        # Looks at once: a page that was hidden, or long on its way here, may show runs that have gone stale meanwhile.
        look_at, told, said = time.monotonic(), Told(), cursor
        while True:
            news = await watcher.next(max(look_at - time.monotonic(), 0.0))
            if news is not None:
                written = await self._scribe.write_news(news, with_html=wish.with_html)
                texts, cursor = written.choose(wish), news.cursor
                told.heard(written.runs)
                if not texts:
                    continue
            else:
                texts = await self._look_again(wish, told)
                look_at = time.monotonic() + self._look_again_s
            yield close_group(texts, cursor) if texts or said != cursor else Group()
            said = cursor

    async def _look_again(self, wish: ListWish, told: Told) -> list[str]:
        """Return messages of the runs that look otherwise than they were told."""
        changed = told.compare([(one, self._scribe.seen(one)) for one in await self._newest(wish)])
        return [self._scribe.write_run(one, with_html=wish.with_html).text for one in changed]

    async def _newest(self, wish: ListWish) -> Sequence[RunSummary]:
        """Read a list, for all who want it at this moment."""
        key = (wish.kind, wish.flow_key, wish.limit)
        if key not in self._looks:
            self._looks[key] = asyncio.ensure_future(self._read(RunQuery(wish.kind, wish.flow_key, wish.limit)))
            asyncio.get_running_loop().call_later(LEAST_LOOK_S, self._looks.pop, key, None)
        return await asyncio.shield(self._looks[key])

    async def _read(self, query: RunQuery) -> Sequence[RunSummary]:
        return (await self._collector.reader.list_runs(query)).items


def read_wish(query: QueryParams, last_event_id: str = "") -> ListWish:
    """Return what an address asks for. Raises BadQuestion."""
    kind, limit = query.get("kind", "all"), query.get("limit", str(ListWish().limit))
    if kind not in KINDS:
        raise BadQuestion("kind must be run, trace or all")
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= LARGEST_PAGE):
        raise BadQuestion(f"limit must be a whole number from 1 to {LARGEST_PAGE}")
    return ListWish(
        kind=KINDS[kind],
        flow_key=harmless(query["flow"]) if query.get("flow") else None,
        limit=int(limit),
        cursor=last_event_id or query.get("cursor") or None,
        with_html=query.get("html") == "1",
        with_flows=query.get("flows") == "1",
    )
