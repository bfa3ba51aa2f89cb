"""Lists of runs and flows from the cached fold, newest first, by key and never by offset. Plain functions over one connection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, select, tuple_

from collector.answers import FlowSummary, Heard, ListChanges, Page, Resync, RunSummary
from collector.attributes import from_json
from collector.picture import KIND_RUN, Run, TaskRun
from collector.questions import LARGEST_PAGE, RunQuery, RunRef
from otel_bridge.conventions import TRACE_SOURCE
from storage_plugins.sql.facts import beating_until, slices
from storage_plugins.sql.news import horizon, horizon_of, latest_cursor
from storage_plugins.sql.pages import from_cursor, hex_of, to_cursor
from storage_plugins.sql.tables import Flow, RunEntry, RunTrace, Task, table_of
from storage_plugins.sql.upsert import is_among

# What lists show of a run: an outline is for its own page, and may be large.
LISTED = [column for column in table_of(RunEntry).c if column.name != "outline"]


def find_run(connection: Connection, project: int, ref: RunRef) -> bytes | None:
    """Return the key of the newest run an address fits; a named run before a trace."""
    query = select(RunTrace.run_key).where(RunTrace.project == project, RunTrace.run_id == ref.run_id)
    if ref.source is not None:
        query = query.where(RunTrace.source == ref.source)
    if ref.generation is not None:
        query = query.where(RunTrace.generation == ref.generation)
    newest = query.order_by(RunTrace.source == TRACE_SOURCE, RunTrace.generation.desc(), RunTrace.seq.desc()).limit(1)
    return connection.execute(newest).scalar()


def has_runs(connection: Connection, project: int) -> bool:
    """Return whether any run would be listed."""
    query = select(RunEntry.run_key).where(RunEntry.project == project, RunEntry.hidden == 0).limit(1)
    return connection.execute(query).first() is not None


def list_runs(connection: Connection, project: int, query: RunQuery) -> Page[RunSummary]:
    """Return one page of runs, newest first."""
    page = _page_of_runs(connection, project, query)
    page.cursor = latest_cursor(connection, project)
    return page


def _page_of_runs(connection: Connection, project: int, query: RunQuery) -> Page[RunSummary]:
    limit = max(1, min(query.limit, LARGEST_PAGE))
    statement = select(*LISTED).where(RunEntry.project == project, RunEntry.hidden == 0)
    if query.kind is not None:
        # As an expression it is no column of an index: SQLite would look for a flow among all runs of the kind (71 ms in 100,000, not 0.2).
        kind = RunEntry.kind if query.flow_key is None else RunEntry.kind.concat("")
        statement = statement.where(kind == query.kind)
    if query.flow_key is not None:
        statement = statement.where(RunEntry.flow_key == query.flow_key)
    if query.cursor is not None:
        sort_ns, run_key = from_cursor(query.cursor, int, str)
        statement = statement.where(tuple_(RunEntry.sort_ns, RunEntry.run_key) < tuple_(sort_ns, hex_of(run_key)))
    rows = connection.execute(statement.order_by(RunEntry.sort_ns.desc(), RunEntry.run_key.desc()).limit(limit + 1)).all()
    page = rows[:limit]
    return Page(_summaries(connection, project, page), _place(page[-1]) if len(rows) > limit else None)


def list_changes(connection: Connection, project: int, cursor: str) -> ListChanges:
    """Return the runs whose rows were written after a cursor."""
    since, now = horizon_of(cursor), horizon(connection)
    if since.below > now.below:
        raise Resync
    # No ORDER BY: with it the engine walks the whole list in that order, rather than the few rows that changed.
    changed = select(*LISTED).where(RunEntry.project == project, since.is_news(RunEntry.__table__.c.seq))
    rows = connection.execute(changed.limit(LARGEST_PAGE + 1)).all()
    if len(rows) > LARGEST_PAGE:
        raise Resync
    shown = sorted((row for row in rows if not row.hidden), key=lambda row: (row.sort_ns, row.run_key), reverse=True)
    gone = [RunRef(row.run_id, row.source, row.generation) for row in rows if row.hidden]
    return ListChanges(_summaries(connection, project, shown), gone, now.to_cursor())


def cached_run(connection: Connection, project: int, run_key: bytes) -> Row[Any] | None:
    """Return the row of `runs` of one run, with the id of its flow in the catalogue (catalogue_id); None before its first fold."""
    return cached_runs(connection, project, [run_key]).get(run_key)


def cached_runs(connection: Connection, project: int, run_keys: Iterable[bytes]) -> dict[bytes, Row[Any]]:
    """Return the same of each of these runs that was folded."""
    rows = connection.execute(_with_flow(connection.dialect.name), {"project_": project, "run_keys_": list(run_keys)})
    return {row.run_key: row for row in rows}


@cache
def _with_flow(dialect: str) -> Select[Any]:
    of_flow = (Flow.project == RunEntry.project) & (Flow.flow_key == RunEntry.flow_key)
    columns = table_of(RunEntry).c
    rows = select(RunEntry.__table__, Flow.id.label("catalogue_id")).join(Flow, of_flow, isouter=True)
    return rows.where(columns.project == bindparam("project_"), is_among(dialect, columns.run_key, "run_keys_"))


def folded_version(connection: Connection, project: int, run_key: bytes) -> int:
    """Return the version of a cached run, 0 before its first fold."""
    return connection.execute(select(RunEntry.version).where(RunEntry.project == project, RunEntry.run_key == run_key)).scalar() or 0


def as_it_was(row: Row[Any] | None, run: Run) -> Run:
    """Return a run that lost facts of earlier days as it was before; any other as it is. row: its cached_run()."""
    if row is None or not row.frozen:
        return run
    was = run_of(row, run.trace_ids)
    was.flow_id, was.description = run.flow_id, run.description
    return was


def list_flows(connection: Connection, project: int, limit: int, cursor: str | None) -> Page[FlowSummary]:
    """Return one page of the catalogue, by flow_key."""
    limit = max(1, min(limit, LARGEST_PAGE))
    statement = select(Flow.__table__).where(Flow.project == project)
    if cursor is not None:
        statement = statement.where(Flow.flow_key > from_cursor(cursor, str)[0])
    rows = connection.execute(statement.order_by(Flow.flow_key).limit(limit + 1)).all()
    page = rows[:limit]
    return Page(_describe_flows(connection, project, page), to_cursor((page[-1].flow_key,)) if len(rows) > limit else None)


def find_flow(connection: Connection, project: int, flow_key: str) -> FlowSummary | None:
    """Return one flow of the catalogue."""
    rows = connection.execute(select(Flow.__table__).where(Flow.project == project, Flow.flow_key == flow_key)).all()
    return _describe_flows(connection, project, rows)[0] if rows else None


def task_ids(connection: Connection, project: int, flow_key: str) -> dict[str, str]:
    """Return the catalogue ids of a flow's tasks by task_key."""
    return _ids_of(connection.execute(select(Task.task_key, Task.id).where(Task.project == project, Task.flow_key == flow_key)))


def task_ids_of(connection: Connection, project: int, flow_key: str, tasks: Iterable[TaskRun]) -> dict[str, str]:
    """Return the catalogue ids of the tasks of these task runs of a flow, by task_key."""
    wanted = sorted({task.task_key for task in tasks}) if flow_key else []
    known = select(Task.task_key, Task.id).where(Task.project == project, Task.flow_key == flow_key)
    return _ids_of(row for some in slices(wanted) for row in connection.execute(known.where(Task.task_key.in_(some))))


def _ids_of(rows: Iterable[Row[str, str]]) -> dict[str, str]:
    return {row.task_key: row.id for row in rows}


def flow_id(connection: Connection, project: int, row: Row[Any] | None, flow_key: str) -> str:
    """Return the catalogue id of a run's flow, empty if it has no row yet. row: the run's cached_run(), which may say another flow."""
    if row is not None and row.flow_key == flow_key:
        return row.catalogue_id or ""
    return connection.execute(select(Flow.id).where(Flow.project == project, Flow.flow_key == flow_key)).scalar() or ""


def _describe_flows(connection: Connection, project: int, rows: Sequence[Row[Any]]) -> list[FlowSummary]:
    keys = [row.flow_key for row in rows]
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    of_these = (RunEntry.project == project, RunEntry.flow_key.in_(keys), RunEntry.hidden == 0, RunEntry.kind == KIND_RUN)
    by_state = select(RunEntry.flow_key, RunEntry.status, func.count()).where(*of_these).group_by(RunEntry.flow_key, RunEntry.status)
    for flow_key, status, count in connection.execute(by_state):
        counts[flow_key][status] = count
    latest = {key: _latest_run(connection, project, key) for key in keys}
    return [
        FlowSummary(
            id=row.id,
            flow_key=row.flow_key,
            name=row.name,
            description=row.description,
            tags=from_json(row.tags),
            created_ns=row.created_ns,
            updated_ns=row.updated_ns,
            run_counts=counts[row.flow_key],
            latest=latest[row.flow_key],
        )
        for row in rows
    ]


def _latest_run(connection: Connection, project: int, flow_key: str) -> RunSummary | None:
    page = _page_of_runs(connection, project, RunQuery(KIND_RUN, flow_key, limit=1))
    return page.items[0] if page.items else None


def _summaries(connection: Connection, project: int, rows: Sequence[Row[Any]]) -> list[RunSummary]:
    keys = {row.flow_key for row in rows} - {""}
    ids = connection.execute(select(Flow.flow_key, Flow.id).where(Flow.project == project, Flow.flow_key.in_(keys)))
    flow_ids = {row.flow_key: row.id for row in ids}
    traces = _traces_of(connection, project, [row.run_key for row in rows])
    processes = {row.run_key: from_json(row.processes) for row in rows}
    beats = beating_until(connection, project, {name for names in processes.values() for name in names})
    return [
        RunSummary(
            run=run_of(row, traces[row.run_key]),
            version=row.version,
            heard=Heard(row.heard_ns, {name: beats[name] for name in processes[row.run_key] if name in beats}),
            flow_id=flow_ids.get(row.flow_key, ""),
            place=_place(row),
        )
        for row in rows
    ]


def _place(row: Row[Any]) -> str:
    return to_cursor((row.sort_ns, row.run_key.hex()))


def _traces_of(connection: Connection, project: int, run_keys: Sequence[bytes]) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = defaultdict(list)
    query = select(RunTrace.run_key, RunTrace.trace_id).where(RunTrace.project == project, RunTrace.run_key.in_(run_keys))
    # Ordered here: for an ORDER BY, SQLite reads every trace there is (138 ms in 100,000 for a page of 50 runs, not 2).
    for run_key, trace_id in sorted(map(tuple, connection.execute(query.distinct()))):
        found[run_key].append(trace_id)
    return found


def run_of(row: Row[Any], trace_ids: Sequence[bytes]) -> Run:
    """Return a cached run as far as its row says."""
    return Run(
        run_key=row.run_key,
        source=row.source,
        run_id=row.run_id,
        generation=row.generation,
        kind=row.kind,
        status=row.status,
        flow_key=row.flow_key,
        flow_name=row.flow_name,
        started_ns=row.started_ns,
        finished_ns=row.finished_ns,
        first_ns=row.sort_ns,
        params=from_json(row.params),
        metadata=from_json(row.metadata),
        tags=from_json(row.tags),
        error=row.error,
        tasks_declared=row.tasks_declared,
        counts=from_json(row.counts),
        hidden=bool(row.hidden),
        trace_ids=trace_ids,
        first_day=row.first_day,
        last_day=row.last_day,
        recheck_ns=row.recheck_ns,
        processes=from_json(row.processes),
        partly_deleted=bool(row.frozen),
    )
