"""The read API: the same pictures as the pages, as JSON. Seed 000's addresses; what is in an answer is in schemas.py.

A run whose id ends in "/tasks" or "/logs" is told from those addresses by its "/" being written %2F.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from collector.answers import FlowSummary, RunSummary
from collector.doors import Collector
from collector.otlp import encode_trace
from collector.picture import KIND_RUN
from collector.questions import LARGEST_PAGE, BadCursor, LogQuery, RunQuery, RunRef, TaskQuery, ViewQuery
from otel_bridge.facts import harmless
from viewer import schemas
from viewer.addresses import LATEST_GENERATION, BadQuestion, Missing, find_run, make_ref, node_key, view_run
from viewer.delivery import FEW_ITEMS
from viewer.levels import min_severity
from viewer.present import Data, flow_data, hint_of, log_data, run_data, task_page_data, view_data

TRACE_ID_HEX_CHARS = 32
LATEST_RUNS = 20

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]
Cursor = Annotated[str | None, Query(description="next_cursor of the page before")]
Kind = Annotated[Literal["run", "trace", "all"], Query(description="runs that were named, plain traces, or both")]


class AddressedRun:
    """Which run an address means; a dependency of the routes below."""

    def __init__(
        self,
        run_id: str,
        source: Annotated[str | None, Query(description="who issued the run id; without it the newest run of this id")] = None,
        generation: Annotated[int | None, Query(ge=0, le=LATEST_GENERATION, description="without it the newest")] = None,
    ) -> None:
        self.ref: RunRef = make_ref(run_id, source, generation)


Addressed = Annotated[AddressedRun, Depends()]


class ApiRoute(APIRoute):
    """A route that turns the errors of a question into 400 and 404."""

    def get_route_handler(self) -> Handler:
        """Wrap FastAPI's handler."""
        answer = super().get_route_handler()

        async def answer_or_explain(request: Request) -> Response:
            try:
                return await answer(request)
            except Missing as error:
                raise HTTPException(404, str(error)) from error
            except (BadQuestion, BadCursor) as error:
                raise HTTPException(400, str(error) or "this cursor was not made by this server: begin again without one") from error

        return answer_or_explain


class PartOfRunRoute(ApiRoute):
    """A route whose last "/" must be written as such: in /api/v1/runs/a%2Ftasks it belongs to the run id "a/tasks"."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as usual, but not where the ending is part of an encoded id. A proxy that decodes %2F takes the difference away."""
        ending = b"/" + self.path.rpartition("/")[2].encode()
        if not scope.get("raw_path", ending).endswith(ending):
            return Match.NONE, {}
        return super().matches(scope)


class Api:
    """The read API over one collector's store."""

    def __init__(self, collector: Collector) -> None:
        self._reader = collector.reader
        self._stale_after_s = collector.settings.stale_after_s

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes; those with an ending stand before the run itself, whose id may hold "/"."""
        router = APIRouter(route_class=ApiRoute, tags=["read"], responses={400: {"model": schemas.Problem}, 404: {"model": schemas.Problem}})
        self._add(router, "/api/v1/runs", self.list_runs, schemas.RunList)
        self._add(router, "/api/v1/runs/{run_id:path}/tasks", self.list_tasks, schemas.TaskRunList)
        self._add(router, "/api/v1/runs/{run_id:path}/logs", self.list_logs, schemas.LogList)
        self._add(router, "/api/v1/runs/{run_id:path}", self.get_run, schemas.RunNow)
        self._add(router, "/api/v1/flows", self.list_flows, schemas.FlowList)
        self._add(router, "/api/v1/flows/{flow_key:path}", self.get_flow, schemas.FlowDetail)
        router.add_api_route("/api/v1/traces/{trace_id}", self.get_trace, response_class=JSONResponse)
        return router.routes

    def _add(self, router: APIRouter, path: str, answer: Callable[..., Awaitable[Data | Response]], model: type[schemas.Answer]) -> None:
        route_class = PartOfRunRoute if path.endswith(("/tasks", "/logs")) else None
        router.add_api_route(path, answer, response_model=model, route_class_override=route_class)

    async def list_runs(self, limit: Limit = 50, cursor: Cursor = None, kind: Kind = "all", flow: str | None = None) -> Data:
        """List runs, newest first. flow: only those of this flow_key."""
        query = RunQuery(None if kind == "all" else kind, None if flow is None else harmless(flow), limit, cursor)
        page = await self._reader.list_runs(query)
        return {"items": [self._run(summary) for summary in page.items], "next_cursor": page.next_cursor, "cursor": page.cursor}

    async def get_run(self, run: Addressed) -> Data:
        """Return one run."""
        view = await view_run(self._reader, run.ref, ViewQuery(0))
        return view_data(view, hint_of(view.run, view.heard, time.time_ns(), self._stale_after_s))

    async def list_tasks(self, run: Addressed, limit: Limit = LARGEST_PAGE, cursor: Cursor = None) -> Data | Response:
        """List a run's task runs, in order of start."""
        page = await self._reader.read_tasks(await find_run(self._reader, run.ref), TaskQuery(limit, cursor))
        if len(page.items) <= FEW_ITEMS:
            return task_page_data(page, run.ref.run_id)
        # A response of its own: FastAPI would check and write these rows on the event loop, where everybody waits for them.
        return await asyncio.to_thread(lambda: JSONResponse(task_page_data(page, run.ref.run_id)))

    async def list_logs(
        self, run: Addressed, level: str | None = None, task: str | None = None, limit: Limit = 200, cursor: Cursor = None
    ) -> Data:
        """List a run's log lines, in order of time. level: the least to show (debug, info, warn, error); task: only this task run's."""
        run_key = await find_run(self._reader, run.ref)
        query = LogQuery(min_severity(level), None if task is None else node_key(task), limit=limit, cursor=cursor)
        page = await self._reader.read_logs(run_key, query)
        return {"items": [log_data(entry, run.ref.run_id) for entry in page.items], "next_cursor": page.next_cursor}

    async def list_flows(self, limit: Limit = 100, cursor: Cursor = None) -> Data:
        """List the catalogue by flow_key."""
        page = await self._reader.list_flows(limit, cursor)
        items = [flow_data(flow, self._latest(flow)) for flow in page.items]
        return {"items": items, "next_cursor": page.next_cursor}

    async def get_flow(self, flow_key: str) -> Data:
        """Return a flow and its newest runs."""
        flow = await self._reader.find_flow(harmless(flow_key))
        if flow is None:
            raise Missing("There is no such flow here.")
        page = await self._reader.list_runs(RunQuery(KIND_RUN, flow.flow_key, LATEST_RUNS))
        latest_runs = [self._run(summary) for summary in page.items]
        return {**flow_data(flow, self._latest(flow)), "latest_runs": latest_runs}

    async def get_trace(self, trace_id: str) -> Response:
        """Return everything stored with a trace id, as OTLP JSON: resourceSpans and resourceLogs."""
        facts = await self._reader.read_trace(_trace_id(trace_id))
        if not (facts.spans or facts.moments or facts.logs):
            raise Missing("There is no such trace here.")
        if len(facts.spans) + len(facts.moments) + len(facts.logs) <= FEW_ITEMS:
            return JSONResponse(encode_trace(facts))
        return await asyncio.to_thread(lambda: JSONResponse(encode_trace(facts)))

    def _latest(self, flow: FlowSummary) -> Data | None:
        return None if flow.latest is None else self._run(flow.latest)

    def _run(self, summary: RunSummary) -> Data:
        return run_data(summary, hint_of(summary.run, summary.heard, time.time_ns(), self._stale_after_s))


def _trace_id(text: str) -> bytes:
    try:
        trace_id = bytes.fromhex(text) if len(text) == TRACE_ID_HEX_CHARS else b""
    except ValueError:
        trace_id = b""
    if not trace_id:
        raise BadQuestion("a trace id is 32 hex digits")
    return trace_id
