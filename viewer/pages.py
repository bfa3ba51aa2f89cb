"""The pages: flows, runs, one run. Rendered whole on the server; static/live.js only replaces parts of them by newer ones."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from collector.answers import Page, RunSummary, RunView
from collector.doors import Collector
from collector.errors import Unavailable
from collector.picture import KIND_RUN, KIND_TRACE
from collector.questions import BadCursor, LogQuery, RunQuery, ViewQuery
from otel_bridge.facts import harmless
from viewer.addresses import KINDS, BadQuestion, Missing, node_key, read_ref, run_address, view_run
from viewer.display import RunLine, deleted_text, flow_line, head_of, log_row, receipt_line, run_line
from viewer.extend import TemplateViewer
from viewer.levels import SEVERITIES, min_severity
from viewer.present import hint_of, summary_of
from viewer.texts import clip, duration_text, json_text
from viewer.waterfall import MOST_ROWS, row_id, task_line, window_of

RUNS_A_PAGE = 50
FLOWS_A_PAGE = 100
RECENT_RUNS = 10
LINES_A_PAGE = 200
SUGGESTED_NODES = 100

Handler = Callable[[Request], Awaitable[Response]]


class Pages:
    """The pages over one collector's store."""

    def __init__(self, collector: Collector, viewer: TemplateViewer) -> None:
        self._collector = collector
        self._reader = collector.reader
        self._viewer = viewer

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        paths = {"/": self.home, "/flows": self.flows, "/runs": self.runs, "/runs/{run_id:path}": self.run}
        return [Route(path, self._explained(page), methods=["GET"]) for path, page in paths.items()]

    async def home(self, request: Request) -> Response:
        """Lead to the first page."""
        return RedirectResponse("/flows")

    async def flows(self, request: Request) -> Response:
        """Show the catalogue and the newest runs; how to send something, if there is no run yet."""
        receipts = [receipt_line(receipt) for receipt in self._collector.receipts.recent()]
        if not await self._reader.has_runs():
            return self._viewer.respond("welcome.html", {"server": str(request.base_url).rstrip("/"), "receipts": receipts})
        recent = await self._reader.list_runs(RunQuery(limit=RECENT_RUNS))  # first: what changes from here on is told live
        page = await self._reader.list_flows(FLOWS_A_PAGE, request.query_params.get("cursor"))
        context = {
            **_live_context({"flows": "1", "limit": str(RECENT_RUNS)}, recent.cursor, RECENT_RUNS),
            "is_newest": "cursor" not in request.query_params,
            "flows": [flow_line(flow, None if flow.latest is None else self._line(flow.latest)) for flow in page.items],
            "more_href": _with_cursor("/flows", {}, page.next_cursor),
            "runs": [self._line(summary) for summary in recent.items],
            "receipts": receipts,
        }
        return self._viewer.respond("flows.html", context)

    async def runs(self, request: Request) -> Response:
        """List runs, newest first: named ones, or plain traces if there are no others, unless the address says which."""
        asked, flow = request.query_params.get("kind", ""), request.query_params.get("flow", "")
        if asked and asked not in KINDS:
            raise BadQuestion("kind must be run, trace or all")
        kind, page = await self._list_runs(asked, flow, request.query_params.get("cursor"))
        kept = {"kind": kind, **({"flow": flow} if flow else {})}
        # Nobody asked for plain traces: the first named run takes their place.
        waits = kind == "trace" and not asked
        context = {
            **_live_context({**kept, "kind": "all"} if waits else kept, page.cursor, RUNS_A_PAGE),
            "waits_for": KIND_RUN if waits else "",
            "is_newest": "cursor" not in request.query_params,
            "runs": [self._line(summary) for summary in page.items],
            "kind": kind,
            "has_runs": bool(page.items) or await self._reader.has_runs(),
            "kinds": [(word, "/runs?" + urlencode({**kept, "kind": word})) for word in KINDS],
            "flow": clip(flow),
            "elsewhere": [] if page.items else await self._kinds_with_runs(kind, flow),
            "older_href": _with_cursor("/runs", kept, page.next_cursor),
            "list_href": "/runs?" + urlencode(kept),
        }
        return self._viewer.respond("runs.html", context)

    async def run(self, request: Request) -> Response:
        """Show one run: its head, its task runs with their bars, its log."""
        level, task = request.query_params.get("level", ""), node_key(request.query_params.get("task", ""))
        cursor = request.query_params.get("cursor")
        query = LogQuery(min_severity(level), task or None, newest=True, limit=LINES_A_PAGE, cursor=cursor)
        ref = read_ref(request.path_params["run_id"], request.query_params)
        view = await view_run(self._reader, ref, ViewQuery(MOST_ROWS, query))
        filters = {name: text for name, text in (("level", level), ("task", task)) if text}
        log = {**_log_context(view, filters), "follows_log": cursor is None}
        return self._viewer.respond("run_detail.html", {**self._picture(view), **log})

    async def _list_runs(self, asked: str, flow: str, cursor: str | None) -> tuple[str, Page[RunSummary]]:
        kind = asked or "run"
        flow_key = harmless(flow) or None
        page = await self._reader.list_runs(RunQuery(KINDS[kind], flow_key, RUNS_A_PAGE, cursor))
        if asked or page.items or cursor is not None:
            return kind, page
        return "trace", await self._reader.list_runs(RunQuery(KIND_TRACE, flow_key, RUNS_A_PAGE))

    async def _kinds_with_runs(self, kind: str, flow: str) -> list[str]:
        """Return which of the other kinds has runs, for a page that has none to show."""
        others = [word for word in ("run", "trace") if kind not in (word, "all")]
        pages = {word: await self._reader.list_runs(RunQuery(KINDS[word], harmless(flow) or None, 1)) for word in others}
        return [word for word, page in pages.items() if page.items]

    def _picture(self, view: RunView) -> dict[str, object]:
        now_ns = time.time_ns()
        run, summary, window = view.run, summary_of(view), window_of(view, now_ns)
        hint = hint_of(run, view.heard, now_ns, self._collector.settings.stale_after_s)
        return {
            "head": head_of(view, summary, hint, window),
            "tasks": [task_line(task, window) for task in view.tasks],
            "most_rows": MOST_ROWS,
            "cut": sum(run.counts.values()) > MOST_ROWS,
            "length": duration_text(window.end_ns - window.start_ns),
            "now_us": now_ns // 1000,
            "details": [
                (label, text) for label, value in (("Parameters", run.params), ("Metadata", run.metadata)) if (text := json_text(value))
            ],
            "description": clip(run.description),
            "deleted": deleted_text(run, self._collector.settings.retention_days, now_ns),
            "socket_href": run_address("/ws/runs", run),
            "events_href": run_address("/sse/runs", run),
            "tasks_href": run_address("/api/v1/runs", run, "/tasks"),
            "logs_href": run_address("/api/v1/runs", run, "/logs"),
        }

    def _line(self, summary: RunSummary) -> RunLine:
        now_ns = time.time_ns()
        return run_line(summary, hint_of(summary.run, summary.heard, now_ns, self._collector.settings.stale_after_s), now_ns)

    def _explained(self, page: Handler) -> Handler:
        """Turn the errors of a question into pages that say what is wrong."""

        async def answer(request: Request) -> Response:
            try:
                return await page(request)
            except Missing as error:
                return self._explain(404, "Not found", str(error))
            except BadQuestion as error:
                return self._explain(400, "This address cannot be understood", str(error))
            except BadCursor:
                return self._explain(400, "This address cannot be understood", "The list it goes on from is not one of this server's.")
            except Unavailable as error:
                response = self._explain(503, "The store cannot be read just now", str(error))
                response.headers["Retry-After"] = str(self._collector.settings.retry_after_s)
                return response

        return answer

    def _explain(self, status: int, title: str, text: str) -> Response:
        return self._viewer.respond("error.html", {"status": status, "title": title, "text": text}, status)


def _log_context(view: RunView, filters: dict[str, str]) -> dict[str, object]:
    run = view.run
    own = {"source": run.source, "generation": str(run.generation)}
    task = filters.get("task", "")
    here = run_address("/runs", run).partition("?")[0]
    return {
        "lines": [log_row(entry) for entry in view.lines.items],
        "log_path": here,
        "log_fixed": own,
        "level": filters.get("level", "").lower(),
        "levels": [name.lower() for name in SEVERITIES],
        "min_severity": min_severity(filters.get("level", "")),
        "task": task,
        "task_id": row_id(task) if task else "",
        "nodes": [node.node for node in view.tasks[:SUGGESTED_NODES]],
        "older_href": _with_cursor(here, {**own, **filters}, view.lines.next_cursor, "#log"),
        "newest_href": f"{here}?{urlencode({**own, **filters})}#log",
    }


def _live_context(query: dict[str, str], cursor: str, most_rows: int) -> dict[str, object]:
    """Return what a list's page needs to go on by itself."""
    asked = "?" + urlencode(query)
    return {
        "socket_href": "/ws/runs" + asked,
        "events_href": "/sse/runs" + asked,
        "live_cursor": cursor,
        "most_rows": most_rows,
        "now_us": time.time_ns() // 1000,
    }


def _with_cursor(path: str, kept: dict[str, str], cursor: str | None, anchor: str = "") -> str:
    return f"{path}?{urlencode({**kept, 'cursor': cursor})}{anchor}" if cursor is not None else ""
