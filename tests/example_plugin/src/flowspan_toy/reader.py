"""The toy's answers. Every method's promise is that of collector.storage.Reader."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from collector.answers import Changes, FlowSummary, ListChanges, LogEntry, Page, Resync, RunNews, RunSummary, RunView, TaskPage, TraceFacts
from collector.picture import RunPicture, place_of
from collector.questions import LARGEST_PAGE, WHOLE, BadCursor, LogQuery, RunQuery, RunRef, TaskQuery, ViewQuery
from collector.showing import news_since, show, tell
from flowspan_toy import views
from flowspan_toy.lines import lines_of
from flowspan_toy.pages import key_of_cursor, page_of
from flowspan_toy.tables import Cabinet, Tables, Trace
from otel_bridge.conventions import TRACE_SOURCE


class ToyReader:
    """collector.storage.Reader. Nothing here waits, so nothing needs a thread."""

    def __init__(self, cabinet: Cabinet) -> None:
        """cabinet: the storage's own."""
        self._cabinet = cabinet

    async def find_run(self, ref: RunRef) -> bytes | None:
        """See Reader."""
        with self._cabinet.held() as tables:
            claims = [claim for claims in tables.runs.values() for claim in claims]
        fitting = [
            claim
            for claim in claims
            if claim.run_id == ref.run_id and ref.source in (None, claim.source) and ref.generation in (None, claim.generation)
        ]
        # Of equals the last: the run that was first heard of latest.
        fitting.sort(key=lambda claim: (claim.source != TRACE_SOURCE, claim.generation))
        return fitting[-1].run_key if fitting else None

    async def view_run(self, run_key: bytes, query: ViewQuery = WHOLE) -> RunView | None:
        """See Reader."""
        with self._cabinet.held() as tables:
            picture = views.fold_run(tables, run_key, time.time_ns())
            return None if picture is None else _view(tables, picture, query)

    async def read_news(self, befores: Sequence[RunView]) -> Mapping[bytes, RunNews | None]:
        """See Reader."""
        with self._cabinet.held() as tables:
            return tell(befores, lambda before: _news(tables, before))

    async def read_tasks(self, run_key: bytes, query: TaskQuery) -> TaskPage:
        """See Reader."""
        after = key_of_cursor(query.cursor, int, str)
        with self._cabinet.held() as tables:
            picture = views.fold_run(tables, run_key, time.time_ns())
            if picture is None:
                return TaskPage([])
            page = page_of(picture.tasks, place_of, query.limit, after)
            return TaskPage(page.items, page.next_cursor, task_ids=views.task_ids(tables, picture.run.flow_key))

    async def list_runs(self, query: RunQuery) -> Page[RunSummary]:
        """See Reader."""
        after = key_of_cursor(query.cursor, int, str)
        with self._cabinet.held() as tables:
            fitting = [
                one for one in views.summaries(tables) if query.kind in (None, one.run.kind) and query.flow_key in (None, one.run.flow_key)
            ]
            page = page_of(fitting, lambda one: views.place_of(one.run), query.limit, after, descending=True)
            page.cursor = str(tables.version)
            return page

    async def list_flows(self, limit: int, cursor: str | None) -> Page[FlowSummary]:
        """See Reader."""
        after = key_of_cursor(cursor, str)
        with self._cabinet.held() as tables:
            return page_of(views.flows(tables), lambda flow: (flow.flow_key,), limit, after)

    async def find_flow(self, flow_key: str) -> FlowSummary | None:
        """See Reader."""
        with self._cabinet.held() as tables:
            return next((flow for flow in views.flows(tables) if flow.flow_key == flow_key), None)

    async def read_logs(self, run_key: bytes, query: LogQuery) -> Page[LogEntry]:
        """See Reader."""
        with self._cabinet.held() as tables:
            picture = views.fold_run(tables, run_key, time.time_ns())
            return Page([]) if picture is None else _lines(tables, picture, query)

    async def read_trace(self, trace_id: bytes) -> TraceFacts:
        """See Reader."""
        with self._cabinet.held() as tables:
            return _trace_facts(tables, tables.traces.get(trace_id, Trace()))

    async def changes(self, cursor: str, until: str | None = None) -> Changes:
        """See Reader."""
        with self._cabinet.held() as tables:
            since = _number_of(cursor, tables)
            last = tables.version if until is None else int(until)
            news = [one for one in tables.news if since < one.version <= last]
            return Changes({one.run_key for one in news}, {one.trace_id for one in news}, str(last))

    async def list_changes(self, cursor: str) -> ListChanges:
        """See Reader."""
        with self._cabinet.held() as tables:
            since = _number_of(cursor, tables)
            runs, gone = views.summaries_since(tables, since), views.gone_since(tables, since)
            if len(runs) + len(gone) > LARGEST_PAGE:
                raise Resync
            return ListChanges(sorted(runs, key=lambda one: views.place_of(one.run), reverse=True), gone, str(tables.version))

    async def latest_cursor(self) -> str:
        """See Reader."""
        with self._cabinet.held() as tables:
            return str(tables.version)

    async def has_runs(self) -> bool:
        """See Reader."""
        with self._cabinet.held() as tables:
            return bool(views.summaries(tables))

    async def ping(self) -> None:
        """See Reader."""
        with self._cabinet.held():
            return


def _view(tables: Tables, picture: RunPicture, query: ViewQuery) -> RunView:
    run = picture.run
    processes = {kept.row.process for trace in views.traces_of(tables, run.run_key) for kept in trace.moments.values()}
    version, heard = views.version_of(tables, run.run_key), views.heard_of(tables, run, processes)
    view = show(picture, query, version, str(tables.version), heard)
    view.flow_id = views.flow_id(tables, run.flow_key)
    view.task_ids = views.task_ids(tables, run.flow_key)
    if query.lines is not None:
        view.lines = _lines(tables, picture, query.lines)
    return view


def _news(tables: Tables, before: RunView) -> RunNews | None:
    picture = views.fold_run(tables, before.run.run_key, time.time_ns())
    if picture is None:
        return None
    return news_since(before, _view(tables, picture, WHOLE), lambda query: _lines(tables, picture, query))


def _lines(tables: Tables, picture: RunPicture, query: LogQuery) -> Page[LogEntry]:
    after = key_of_cursor(query.cursor, int, str)
    lines = lines_of(views.traces_of(tables, picture.run.run_key), picture, query)
    page = page_of(lines, lambda entry: (entry.time_ns, entry.id), query.limit, after, descending=query.newest)
    return Page(page.items[::-1] if query.newest else page.items, page.next_cursor)


def _number_of(cursor: str, tables: Tables) -> int:
    """Raises BadCursor for text that is none, Resync for the cursor of another process."""
    if not cursor.isascii() or not cursor.isdecimal():
        raise BadCursor
    if int(cursor) > tables.version:
        raise Resync
    return int(cursor)


def _trace_facts(tables: Tables, trace: Trace) -> TraceFacts:
    spans = [kept.row for kept in trace.spans.values()]
    moments = [kept.row for kept in trace.moments.values()]
    logs = [kept.row for kept in trace.logs.values()]
    resources = {row.resource_id for row in spans} | {row.resource_id for row in moments} | {row.resource_id for row in logs}
    scopes = {row.scope_id for row in spans} | {row.scope_id for row in logs}
    return TraceFacts(
        spans=sorted(spans, key=lambda row: (row.start_ns, row.span_id)),
        moments=moments,
        logs=sorted(logs, key=lambda row: (row.time_ns, row.digest, row.twin)),
        resources={key: tables.resources[key] for key in resources},
        scopes={key: tables.scopes[key] for key in scopes},
    )
