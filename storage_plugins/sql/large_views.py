"""A large run as it is looked at: as it was last folded, from its cached row and outline; its lines and further task runs from its facts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, false, or_, select

from collector.answers import Heard, LogEntry, Page, Resync, RunNews, RunView
from collector.lineage import Claim
from collector.picture import TERMINAL, Run, TaskKey, TaskRun, choose_tasks, place_of
from collector.questions import LARGEST_PAGE, LogQuery, ViewQuery
from collector.showing import lines_since
from collector.winners import Seen, SpanKey
from otel_bridge import conventions as c
from storage_plugins.sql import lists, run_logs
from storage_plugins.sql.facts import Place, beating_until
from storage_plugins.sql.large_run_outline import Outline, from_text
from storage_plugins.sql.large_run_owners import Owners
from storage_plugins.sql.large_run_rows import MOMENTS, SPANS, TASK_ROLES, Fits, Ground, TaskRows
from storage_plugins.sql.large_run_spans import read_spans
from storage_plugins.sql.large_runs import MOST_ODD, fold_simple, simple_rows, task_page
from storage_plugins.sql.news import Horizon, horizon, horizon_of
from storage_plugins.sql.run_events import read_events

NO_TASKS = ViewQuery(0)
# The node of a task run that nobody named: its span's id.
SPAN_ID = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class LargeRun:
    """A run that is shown by its outline, made at an earlier moment of the store or at this one."""

    connection: Connection
    place: Place
    outline: Outline
    version: int
    cursor: str
    heard_ns: int
    flow_id: str

    def view(self, query: ViewQuery) -> RunView:
        """Return what is asked to be shown of it, its lines of the moment it was outlined."""
        outline, project = self.outline, self.place.project
        view = RunView(
            run=outline.run,
            tasks=choose_tasks(outline.shown, min(query.tasks, LARGEST_PAGE)),
            version=self.version,
            cursor=self.cursor,
            heard=Heard(self.heard_ns, beating_until(self.connection, project, outline.run.processes)),
            flow_id=self.flow_id,
            extent=outline.extent,
            culprit=outline.culprit,
            is_large=True,
        )
        view.task_ids = lists.task_ids_of(self.connection, project, outline.run.flow_key, view.tasks)
        if query.lines is not None:
            view.lines = self.lines(replace(query.lines, until=query.lines.until or self.cursor))
        return view

    def lines(self, query: LogQuery) -> Page[LogEntry]:
        """Return a page of its log."""
        owners = Owners(self.connection, _by_key(self.place), self.outline)
        newest = self.outline.newest if query.until == self.cursor and query.since is None else None
        events = read_events(self.connection, self.place, owners.picture, query, newest)
        return run_logs.read_logs(self.connection, self.place, owners.picture, query, events)

    def tasks(self, limit: int, after: TaskKey | None) -> tuple[list[TaskRun], TaskKey | None]:
        """Return the next of its task runs, and the place to go on after."""
        return task_page(self.connection, self.place, self.outline, max(1, min(limit, LARGEST_PAGE)), after)

    def news(self, before: RunView) -> RunNews | None:
        """Return what two folds brought between them. Raises Resync if a new view is the cheaper answer."""
        run = self.outline.run
        if self.version <= before.version:
            return None
        if _end_of(run) != _end_of(before.run) or self.outline.total < sum(before.run.counts.values()):
            raise Resync  # what nobody reported follows from the run's end: everything open has changed
        known = {task.node: task for task in before.tasks}
        rows = simple_rows(self.connection, self.place, self.outline)
        touched = self._touched(rows, before.cursor)
        told = [task for task in touched if known.get(task.node) != task]
        # As many as there were and as may have come to be, so none is gone. Else that is looked for, by a scan.
        is_whole = self.outline.total == sum(before.run.counts.values()) + sum(task.node not in known for task in touched)
        if len(told) > LARGEST_PAGE or (not is_whole and self._is_gone(rows, known)):
            raise Resync
        view = self.view(NO_TASKS)
        view.tasks = choose_tasks(sorted((known | {task.node: task for task in told}).values(), key=place_of), LARGEST_PAGE)
        view.task_ids = lists.task_ids_of(self.connection, self.place.project, run.flow_key, [*view.tasks, *told])
        return RunNews(view, told, lines_since(before, view, self.lines))

    def _touched(self, rows: TaskRows, cursor: str) -> list[TaskRun]:
        """Return the task runs that got facts since a cursor, in the order of a picture. Raises Resync if they may be many more than those."""
        keys = self._touched_keys(rows, horizon_of(cursor), horizon_of(self.cursor))
        if not rows.by_node and not keys.isdisjoint(self.outline.roots):
            raise Resync  # its children may not have been task runs before
        read = read_spans(self.connection, rows.ground, keys)
        seen = read.seen()
        nodes = {_node_of(span, by_node=rows.by_node) for span in seen}
        # What was said before, if a span is said to be of another node now.
        nodes.update({end.node for end in read.spans} | {moment.node for moment in read.moments})
        notices = [moment.node for moment in read.moments if moment.kind == c.RETRIED]
        # A notice without a node is one of those of its task, whose nodes are not simple.
        told = [task for task in self.outline.folded if task.node in nodes or task.node in notices or "" in notices]
        odd = set(self.outline.rule.odd)
        simple = [span.key for span in seen if _is_simple(span, odd, by_node=rows.by_node)]
        return sorted([*told, *fold_simple(self.connection, rows, self.outline.run, simple)], key=place_of)

    def _touched_keys(self, rows: TaskRows, since: Horizon, until: Horizon) -> set[SpanKey]:
        keys = set(self.outline.doubled)  # which the rows leave out
        fits = _may_touch(rows, self.outline)
        for table, scan in ((SPANS, rows.ground.spans), (MOMENTS, rows.ground.moments)):
            row = table.c
            came = and_(since.is_news(row.seq), until.is_known(row.seq))
            found = select(row.trace_id, row.span_id).where(scan, came, fits(row)).distinct().limit(LARGEST_PAGE + 1)
            keys.update((trace_id, span_id) for trace_id, span_id in self.connection.execute(found))
        if len(keys) > LARGEST_PAGE:
            raise Resync
        return keys

    def _is_gone(self, rows: TaskRows, known: Iterable[str]) -> bool:
        """Return whether one of these nodes is no task run any more.

        Its greatest end may say another node; the first span that names one makes all that name none no tasks; so may a plain span's parent.
        """
        nodes = set(known).difference(task.node for task in self.outline.folded)
        if rows.by_node:
            nodes.difference_update(self.connection.scalars(rows.ended_of(nodes)))
            if nodes and rows.ground.has_open:
                nodes.difference_update(self.connection.scalars(rows.open_of(nodes)))
            return bool(nodes)
        if not all(map(SPAN_ID.fullmatch, nodes)):
            return True
        (trace_id, *_) = self.outline.run.trace_ids
        keys = {(trace_id, bytes.fromhex(node)) for node in nodes}
        owners = Owners(self.connection, _by_key(self.place), self.outline).picture(keys).owners
        return any(owners.get(key) != key[1].hex() for key in keys)


def kept_run(connection: Connection, place: Place, claims: Iterable[Claim], row: Row[Any] | None) -> LargeRun | None:
    """Return a large run as its cached row has it; None if it is none, or was not folded since it became one."""
    if row is None or not row.outline:
        return None
    traces = sorted({claim.trace_id for claim in claims if claim.run_key == place.run_key})
    outline = from_text(row.outline, row.version, lists.run_of(row, traces))
    if outline is None:
        return None
    return LargeRun(connection, place, outline, row.version, row.cursor, row.heard_ns, row.catalogue_id or "")


def fresh_run(connection: Connection, place: Place, outline: Outline, row: Row[Any] | None, heard: Heard) -> LargeRun:
    """Return a large run as it was outlined at this moment. row: its cached row."""
    now = horizon(connection)
    outline.run = lists.as_it_was(row, outline.run)
    flow_id = lists.flow_id(connection, place.project, row, outline.run.flow_key)
    return LargeRun(connection, place, outline, now.version, now.to_cursor(), heard.last_ns, flow_id)


def _end_of(run: Run) -> int | None:
    return run.finished_ns if run.status in TERMINAL else None


def _by_key(place: Place) -> Ground:
    """Return the ground for reads by primary key, which scan nothing."""
    return Ground(place, false(), false(), MOST_ODD, has_moments=True)


def _may_touch(rows: TaskRows, outline: Outline) -> Fits:
    if rows.by_node:
        return lambda row: or_(_is_task(row), row.kind == c.RETRIED if row is MOMENTS.c else false(), _is_said_task(rows.ground, row))

    def fits(row: Any) -> ColumnElement[bool]:
        return or_(rows.fits(row), row.span_id.in_(outline.rule.odd))

    return fits


def _is_task(row: Any) -> ColumnElement[bool]:
    columns: ColumnElement[bool] = row.role.in_(TASK_ROLES)
    return columns


def _is_said_task(ground: Ground, row: Any) -> ColumnElement[bool]:
    """Return the condition that another fact of the row's span says that it is a task: an end, or that it was paused, may leave that out."""
    told = [ground.said(row, _is_task)] if ground.has_moments else []
    return or_(false(), *told, *([ground.ended(row, _is_task)] if row is MOMENTS.c else ()))


def _node_of(span: Seen, *, by_node: bool) -> str:
    return span.work.node if by_node else span.key[1].hex()


def _is_simple(span: Seen, odd: set[Any], *, by_node: bool) -> bool:
    return span.work.role in TASK_ROLES and span.work.node not in odd if by_node else span.key[1] not in odd
