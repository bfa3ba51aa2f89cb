"""A run as it moves: WS /ws/runs/{run_id} and SSE /sse/runs/{run_id}, both from collector.tail.

?cursor=C: where the watcher goes on from; without it everything is sent once. ?html=1: the page's partials beside the data.
?seen: the state and hint the watcher shows (`present.seen_state`); another one is told at once. ?batch=1: see `delivery.send_groups`.
A "resync" message means: more happened than is sent again, take a new page.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from collector.answers import Resync, RunView
from collector.doors import Collector
from collector.errors import Unavailable
from collector.picture import PAUSED, RUNNING
from collector.questions import LARGEST_PAGE, BadCursor, LogQuery
from collector.tail import Subscription
from viewer.addresses import BadQuestion, Missing, find_run, read_ref
from viewer.delivery import CLOSE_BAD_QUESTION, CLOSE_LATER, CLOSE_MISSING, RESYNC, Group, close_reason, closed, encode_groups, send_groups
from viewer.extend import TemplateViewer
from viewer.messages import Scribe
from viewer.streams import KEEP_ALIVE_S, EventStream, counted, until_gone

log = logging.getLogger(__name__)

SNAPSHOT_LOGS = 200

# A run is read again no more often than this, however soon it counts as stale.
LEAST_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What a watcher asked for. cursor: what it has already, None = nothing. seen: the `Scribe.state` it shows, empty if it does not say."""

    run_key: bytes
    cursor: str | None
    with_html: bool
    seen: str = ""


class Live:
    """The live addresses over one collector's tail."""

    def __init__(self, collector: Collector, viewer: TemplateViewer) -> None:
        self._collector = collector
        self._scribe = Scribe(viewer, collector.settings.stale_after_s)
        # Silence alone makes a run stale, or ends a trace: then no news come to tell of it.
        self._look_again_s = max(min(KEEP_ALIVE_S, collector.settings.stale_after_s), LEAST_LOOK_S)
        self._looks: dict[bytes, asyncio.Future[RunView | None]] = {}

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        return [
            WebSocketRoute("/ws/runs/{run_id:path}", self.serve_socket),
            Route("/sse/runs/{run_id:path}", self.serve_events, methods=["GET"]),
        ]

    async def serve_socket(self, socket: WebSocket) -> None:
        """Follow a run on a WebSocket. Closes with 4404 if there is no such run, 1013 while the store cannot be read."""
        with counted(self._collector.metrics.sockets.labels("ws")):
            await socket.accept()
            try:
                wish = await self._read_wish(socket.path_params["run_id"], socket.query_params)
            except (Missing, BadQuestion, Unavailable) as error:
                code = CLOSE_MISSING if isinstance(error, Missing) else CLOSE_LATER if isinstance(error, Unavailable) else CLOSE_BAD_QUESTION
                await socket.close(code, close_reason(error))
                return
            await until_gone(send_groups(socket, self._groups(wish)), closed(socket))

    async def serve_events(self, request: Request) -> Response:
        """Follow a run by server-sent events; Last-Event-ID is the cursor it goes on from."""
        try:
            wish = await self._read_wish(request.path_params["run_id"], request.query_params, request.headers.get("last-event-id", ""))
        except (Missing, BadQuestion) as error:
            return JSONResponse({"detail": str(error)}, 404 if isinstance(error, Missing) else 400)
        return EventStream(encode_groups(self._groups(wish)), self._collector.metrics.sockets.labels("sse"))

    async def _read_wish(self, run_id: str, query: QueryParams, last_event_id: str = "") -> Wish:
        run_key = await find_run(self._collector.reader, read_ref(run_id, query))
        cursor = last_event_id or query.get("cursor", "")
        return Wish(run_key, cursor or None, query.get("html") == "1", query.get("seen", ""))

    async def _groups(self, wish: Wish) -> AsyncGenerator[Group, None]:
        """Yield what a watcher has missed, then the news; ends when it must come again."""
        try:
            async with self._collector.tail.subscribe(wish.run_key) as subscription:
                if subscription is not None:
                    opening = await self._open(subscription.view, wish)
                    yield opening
                    told = opening.state or wish.seen or subscription.view.run.status
                    async for group in self._follow(subscription, wish, told):
                        yield group
        except (Resync, BadCursor):
            yield Group(texts=[RESYNC])
        except Unavailable as error:
            log.warning("a watcher is sent away, the store cannot be read: %s", error.in_full())

    async def _open(self, view: RunView, wish: Wish) -> Group:
        if wish.cursor is None:
            query = LogQuery(until=view.cursor, newest=True, limit=SNAPSHOT_LOGS)
        elif wish.cursor == view.cursor:
            return Group()  # that of a large run's last fold may be older than what is kept of what happened
        elif await self._has_news(view, wish.cursor):
            if view.is_large:
                raise Resync  # it holds a choice of the task runs: who has another fold's is not told what came between
            query = LogQuery(since=wish.cursor, until=view.cursor, limit=LARGEST_PAGE)
        else:
            return Group()
        page = await self._collector.reader.read_logs(wish.run_key, query)
        if page.next_cursor is not None and not query.newest:
            raise Resync
        return await self._scribe.write_apart(view, view.tasks, page.items, with_html=wish.with_html)

    async def _has_news(self, view: RunView, cursor: str) -> bool:
        run, changes = view.run, await self._collector.reader.changes(cursor, view.cursor)
        return run.run_key in changes.run_keys or not set(changes.trace_ids).isdisjoint(run.trace_ids)

    async def _follow(self, subscription: Subscription, wish: Wish, told: str) -> AsyncGenerator[Group, None]:
        """Yield the news, and what time alone changed. told: the `Scribe.state` the watcher knows."""
        # Looks at once: a page that was hidden, or long on its way here, may have gone stale meanwhile.
        view, wait_s = subscription.view, 0.0
        while True:
            news = await subscription.next(wait_s)
            if news is not None:
                view = news.view
                group = await self._scribe.write_news(news, with_html=wish.with_html)
            else:
                if wait_s or self._scribe.hint(view) is not None:
                    view = await self._look_again(view)
                changed = self._scribe.state(view) != told
                group = self._scribe.write(view, [], [], with_html=wish.with_html) if changed else Group()
            yield group
            told, wait_s = group.state or told, self._look_again_s

    async def _look_again(self, view: RunView) -> RunView:
        """Read an open run again, once an interval for all who watch it; what is over does not change by itself."""
        run = view.run
        if run.status not in (RUNNING, PAUSED):
            return view
        if run.run_key not in self._looks:
            self._looks[run.run_key] = asyncio.ensure_future(self._collector.reader.view_run(run.run_key))
            asyncio.get_running_loop().call_later(self._look_again_s, self._looks.pop, run.run_key, None)
        fresh = await asyncio.shield(self._looks[run.run_key])
        if fresh is None or fresh.version < view.version:
            return view
        # Its news are still on their way: a watcher who is cut off before them must ask for them.
        return replace(fresh, version=view.version, cursor=view.cursor)
