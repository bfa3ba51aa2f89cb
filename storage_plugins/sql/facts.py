"""Reads the facts of one run, whole, as the fold wants them; and everything of one trace, as the exporter wants it. Plain functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, func, select

from collector.fold import Facts
from collector.lineage import Claim
from collector.model import FoldMoment, FoldSpan, LogRow, MomentRow, ResourceRow, ScopeRow, SpanRow
from collector.storage import Heard, TraceFacts
from otel_bridge.conventions import ROLE_PART
from storage_plugins.sql.tables import Log, Moment, Process, ResourceEntry, RunChange, RunEntry, RunTrace, ScopeEntry, Span

# A process is taken for gone when it has missed two beats and is late with the third.
BEATS_MISSED = 3
# What SQLite takes of `IN (...)` in one statement (32,766 since 3.32), with room for the other parameters.
MOST_PARAMETERS = 30_000


def _fold_columns(table: type[Span] | type[Moment], row: type[Any]) -> list[ColumnElement[Any]]:
    """Leave the attributes of plain spans where they are: the fold never looks at them, and they are most of the bytes."""
    columns = table.__table__.c
    needed = case((columns.role != ROLE_PART, columns.attributes), else_="").label("attributes")
    return [needed if name == "attributes" else columns[name] for name in row._fields]


_FOLD_SPAN = _fold_columns(Span, FoldSpan)
_FOLD_MOMENT = _fold_columns(Moment, FoldMoment)


def load_facts(connection: Connection, project: int, run_key: bytes) -> Facts | None:
    """Return all facts in the traces of a run; None if nothing names it."""
    traces = traces_of(project, run_key)
    claims = connection.execute(
        select(RunTrace.trace_id, RunTrace.run_key, RunTrace.source, RunTrace.run_id, RunTrace.generation).where(
            RunTrace.project == project, RunTrace.trace_id.in_(traces)
        )
    ).all()
    if not claims:
        return None
    spans = connection.execute(select(*_FOLD_SPAN).where(_among(Span, project, traces)))
    moments = connection.execute(select(*_FOLD_MOMENT).where(_among(Moment, project, traces)))
    facts = Facts(
        spans=[FoldSpan._make(row) for row in spans.all()],
        moments=[FoldMoment._make(row) for row in moments.all()],
        claims=[Claim._make(row) for row in claims],
    )
    facts.beating_until_ns = beating_until(connection, project, {moment.process for moment in facts.moments} - {""})
    if not facts.spans and not facts.moments:
        facts.first_ns = connection.execute(select(func.min(Log.__table__.c.time_ns)).where(_among(Log, project, traces))).scalar() or 0
    return facts


def version_of(connection: Connection, project: int, run_key: bytes) -> tuple[int, Heard]:
    """Return the newest transaction that brought facts into the run's traces, and when that was. Pruned news are remembered by the fold."""
    traces = traces_of(project, run_key)
    seq, heard_ns = connection.execute(
        select(func.max(RunChange.seq), func.max(RunChange.heard_ns)).where(RunChange.project == project, RunChange.trace_id.in_(traces))
    ).one()
    folded = connection.execute(
        select(RunEntry.version, RunEntry.heard_ns).where(RunEntry.project == project, RunEntry.run_key == run_key)
    ).one_or_none()
    known_seq, known_heard_ns = (folded.version, folded.heard_ns) if folded else (0, 0)
    return max(seq or 0, known_seq), Heard(last_ns=max(heard_ns or 0, known_heard_ns))


def beating_until(connection: Connection, project: int, processes: Iterable[str]) -> dict[str, int]:
    """Return for each process by when it must be heard again; 0 for one that exited. One that never said its interval is left out."""
    columns = Process.__table__.c
    told = select(columns.process, columns.heard_ns, columns.interval_ms, columns.exited_ns).where(columns.project == project)
    rows = [row for some in _slices(sorted(processes)) for row in connection.execute(told.where(columns.process.in_(some)))]
    return {
        row.process: 0 if row.exited_ns >= row.heard_ns else row.heard_ns + BEATS_MISSED * row.interval_ms * 10**6
        for row in rows
        if row.interval_ms or row.exited_ns
    }


def load_trace(connection: Connection, project: int, trace_id: bytes) -> TraceFacts:
    """Return everything stored with one trace id, by start or time, and the catalogue rows it points to."""
    spans = [SpanRow._make(row[: len(SpanRow._fields)]) for row in _rows_of(connection, Span, project, trace_id)]
    moments = [MomentRow._make(row[: len(MomentRow._fields)]) for row in _rows_of(connection, Moment, project, trace_id)]
    logs = [LogRow._make(row[: len(LogRow._fields)]) for row in _rows_of(connection, Log, project, trace_id)]
    spans.sort(key=lambda row: (row.start_ns, row.span_id))
    logs.sort(key=lambda row: (row.time_ns, row.digest, row.twin))
    resources = {row.resource_id for row in spans} | {row.resource_id for row in moments} | {row.resource_id for row in logs}
    scopes = {row.scope_id for row in spans} | {row.scope_id for row in logs}
    return TraceFacts(
        spans=spans,
        moments=moments,
        logs=logs,
        resources={key: ResourceRow._make(row) for key, row in _catalogue(connection, ResourceEntry, project, "resource_id", resources)},
        scopes={key: ScopeRow._make(row) for key, row in _catalogue(connection, ScopeEntry, project, "scope_id", scopes)},
    )


def traces_of(project: int, run_key: bytes) -> Select[bytes]:
    """Return the query for a run's traces. Asked inside the others: a run may have more traces than a statement takes parameters."""
    return select(RunTrace.trace_id).where(RunTrace.project == project, RunTrace.run_key == run_key)


def _among(table: type[Span] | type[Moment] | type[Log], project: int, traces: Select[bytes]) -> ColumnElement[bool]:
    columns = table.__table__.c
    return (columns.project == project) & columns.trace_id.in_(traces)


def _rows_of(connection: Connection, table: type[Span] | type[Moment] | type[Log], project: int, trace_id: bytes) -> Iterable[Any]:
    columns = table.__table__.c
    return connection.execute(select(table.__table__).where(columns.project == project, columns.trace_id == trace_id))


def _catalogue(
    connection: Connection, table: type[ResourceEntry] | type[ScopeEntry], project: int, key: str, wanted: set[bytes]
) -> list[tuple[bytes, Any]]:
    columns = table.__table__.c
    rows: list[Any] = []
    for some in _slices(sorted(wanted)):
        rows += connection.execute(select(table.__table__).where(columns.project == project, columns[key].in_(some)))
    return [(row._mapping[key], row) for row in rows]


def _slices(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(values), MOST_PARAMETERS):
        yield values[first : first + MOST_PARAMETERS]
