"""Reads the facts of one run, whole, as the fold wants them; and everything of one trace, as the exporter wants it. Plain functions."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, case, false, func, or_, select, tuple_
from sqlalchemy.orm import aliased

from collector.answers import Heard, TraceFacts
from collector.fold import Facts
from collector.lineage import Claim
from collector.model import FoldMoment, FoldSpan, LogRow, MomentRow, ResourceRow, ScopeRow, SpanRow
from collector.winners import SpanKey
from otel_bridge.conventions import ROLE_PART
from storage_plugins.sql.tables import Log, Moment, Process, ResourceEntry, RunChange, RunEntry, RunTrace, ScopeEntry, Span, table_of
from storage_plugins.sql.upsert import is_among

# A process is taken for gone when it was silent for two of its intervals: one beat may be late, or lost with a connection.
BEATS_MISSED = 2
# Of `IN (...)` in one statement: each engine takes more (SQLite 32,766 parameters), but a statement is not read faster for being longer.
MOST_PARAMETERS = 1_000
# Spans of so many traces are asked for trace by trace; of more in pairs, which Postgres plans badly while it has no statistics.
FEW_TRACES = 10
# What any engine takes as a LIMIT, and nobody reaches.
LARGEST_LIMIT = 2**62


def _fold_columns(table: type[Span] | type[Moment], row: type[Any]) -> list[ColumnElement[Any]]:
    """Leave the attributes of plain spans where they are: the fold never looks at them, and they are most of the bytes."""
    columns = table.__table__.c
    needed = case((columns.role != ROLE_PART, columns.attributes), else_="").label("attributes")
    return [needed if name == "attributes" else columns[name] for name in row._fields]


FOLD_SPAN = _fold_columns(Span, FoldSpan)
FOLD_MOMENT = _fold_columns(Moment, FoldMoment)


class Place(NamedTuple):
    """Where the facts of a run are: in its traces, and of these days alone, so that no other day need be looked at."""

    project: int
    run_key: bytes
    days: Sequence[int]

    def has(self, row: Any, keys: Iterable[SpanKey]) -> ColumnElement[bool]:
        """Return the condition that a row is about one of these spans, in the words that each engine's planner knows a primary key by."""
        traces: dict[bytes, list[bytes]] = {}
        for trace_id, span_id in keys:
            traces.setdefault(trace_id, []).append(span_id)
        if len(traces) <= FEW_TRACES:
            these = or_(false(), *(and_(row.trace_id == trace_id, row.span_id.in_(span_ids)) for trace_id, span_ids in traces.items()))
        else:
            these = tuple_(row.trace_id, row.span_id).in_([(trace_id, span_id) for trace_id in traces for span_id in traces[trace_id]])
        return and_(row.project == self.project, these, row.day.in_(self.days))

    def holds(self, table: type[Span] | type[Moment] | type[Log]) -> ColumnElement[bool]:
        """Return the condition that a row is one of them."""
        columns = table.__table__.c
        return (columns.project == self.project) & columns.trace_id.in_(traces_of(self.project, self.run_key)) & columns.day.in_(self.days)

    def parameters(self) -> dict[str, Any]:
        """Return what at_place() asks for."""
        return {"project_": self.project, "run_key_": self.run_key, "days_": self.days}


@cache
def _traces() -> Select[Any]:
    """Select a run's traces. Asked inside the others: a run may have more traces than a statement takes parameters."""
    own = aliased(RunTrace)
    return select(own.trace_id).where(own.project == bindparam("project_"), own.run_key == bindparam("run_key_"))


def at_place(table: type[Span] | type[Moment] | type[Log], *, by_key: bool = True) -> ColumnElement[bool]:
    """Return the condition of Place.holds for statements that are made once, for a place that is given when they are executed.

    by_key: False keeps the engine from reading by the primary key, where another index is the better one and it does not see that.
    """
    columns = table.__table__.c
    project = columns.project if by_key else columns.project + 0
    days = columns.day.in_(bindparam("days_", expanding=True))
    return (project == bindparam("project_")) & columns.trace_id.in_(_traces()) & days


def load_facts(connection: Connection, project: int, run_key: bytes) -> Facts | None:
    """Return all facts in the traces of a run; None if nothing names it."""
    claims, place = find_place(connection, project, run_key)
    return load_facts_at(connection, place, claims) if claims else None


def load_facts_at(connection: Connection, place: Place, claims: Sequence[Claim]) -> Facts:
    """Return all facts at a place that find_place() found, with the claims it found there."""
    facts = load_few_facts(connection, place, claims, sys.maxsize)
    assert facts is not None
    return facts


def load_few_facts(connection: Connection, place: Place, claims: Sequence[Claim], at_most: int) -> Facts | None:
    """Return what load_facts_at() does, None if there are more ends and moments than at_most."""
    limit = min(at_most, LARGEST_LIMIT) + 1
    spans = connection.execute(_folded(Span), place.parameters() | {"limit_": limit}).all()
    moments = connection.execute(_folded(Moment), place.parameters() | {"limit_": limit - len(spans)}).all()
    if len(spans) + len(moments) > at_most:
        return None
    facts = Facts(
        spans=[FoldSpan._make(row) for row in spans],
        moments=[FoldMoment._make(row) for row in moments],
        claims=claims,
    )
    facts.beating_until_ns = beating_until(connection, place.project, {moment.process for moment in facts.moments} - {""})
    if not facts.spans and not facts.moments:
        facts.first_ns = connection.execute(select(func.min(Log.__table__.c.time_ns)).where(place.holds(Log))).scalar() or 0
    return facts


@cache
def _folded(model: type[Span] | type[Moment]) -> Select[Any]:
    return select(*(FOLD_SPAN if model is Span else FOLD_MOMENT)).where(at_place(model)).limit(bindparam("limit_"))


def find_place(connection: Connection, project: int, run_key: bytes) -> tuple[list[Claim], Place]:
    """Return the runs that have facts in a run's traces, and where those facts are."""
    return find_places(connection, project, [run_key]).get(run_key, ([], Place(project, run_key, [])))


def find_places(connection: Connection, project: int, run_keys: Iterable[bytes]) -> dict[bytes, tuple[list[Claim], Place]]:
    """Return the same of each of these runs that anything names."""
    by_trace: dict[bytes, list[Row[Any]]] = defaultdict(list)
    traces: dict[bytes, set[bytes]] = {run_key: set() for run_key in run_keys}
    for row in connection.execute(_claims(connection.dialect.name), {"project_": project, "run_keys_": list(traces)}):
        by_trace[row.trace_id].append(row)
        if row.run_key in traces:
            traces[row.run_key].add(row.trace_id)
    return {run_key: _place_of(project, run_key, [row for one in own for row in by_trace[one]]) for run_key, own in traces.items() if own}


def _place_of(project: int, run_key: bytes, rows: Sequence[Row[Any]]) -> tuple[list[Claim], Place]:
    claims = [Claim._make(claim) for claim in {tuple(row)[:-1] for row in rows}]
    return claims, Place(project, run_key, sorted({row.day for row in rows}))


@cache
def _claims(dialect: str) -> Select[Any]:
    own = table_of(RunTrace).alias().c
    traces = select(own.trace_id).where(own.project == bindparam("project_"), is_among(dialect, own.run_key, "run_keys_"))
    columns: tuple[Any, ...] = (RunTrace.trace_id, RunTrace.run_key, RunTrace.source, RunTrace.run_id, RunTrace.generation, RunTrace.day)
    return select(*columns).where(RunTrace.project == bindparam("project_"), RunTrace.trace_id.in_(traces))


def heard_of(connection: Connection, project: int, run_key: bytes) -> Heard:
    """Return when facts last came into the run's traces. Pruned news are remembered by the fold."""
    folded_ns = connection.execute(select(RunEntry.heard_ns).where(RunEntry.project == project, RunEntry.run_key == run_key)).scalar()
    return heard_since(connection, project, run_key, folded_ns or 0)


def heard_since(connection: Connection, project: int, run_key: bytes, folded_ns: int) -> Heard:
    """Return the same. folded_ns: what the fold remembers."""
    heard_ns = connection.execute(_heard(), {"project_": project, "run_key_": run_key}).scalar()
    return Heard(last_ns=max(heard_ns or 0, folded_ns))


@cache
def _heard() -> Select[Any]:
    return select(func.max(RunChange.heard_ns)).where(RunChange.project == bindparam("project_"), RunChange.trace_id.in_(_traces()))


def beating_until(connection: Connection, project: int, processes: Iterable[str]) -> dict[str, int]:
    """Return for each process by when it must be heard again; 0 for one that exited. One that never said its interval is left out."""
    columns = Process.__table__.c
    told = select(columns.process, columns.heard_ns, columns.interval_ms, columns.exited_ns).where(columns.project == project)
    rows = [row for some in slices(sorted(processes)) for row in connection.execute(told.where(columns.process.in_(some)))]
    return {
        row.process: 0 if row.exited_ns >= row.heard_ns else row.heard_ns + BEATS_MISSED * row.interval_ms * 10**6
        for row in rows
        if row.interval_ms or row.exited_ns
    }


def load_trace(connection: Connection, project: int, trace_id: bytes) -> TraceFacts:
    """Return everything stored with one trace id, by start or time, and the catalogue rows it points to."""
    days = connection.scalars(select(RunTrace.day).where(RunTrace.project == project, RunTrace.trace_id == trace_id).distinct()).all()
    spans = [SpanRow._make(row[: len(SpanRow._fields)]) for row in _rows_of(connection, Span, project, trace_id, days)]
    moments = [MomentRow._make(row[: len(MomentRow._fields)]) for row in _rows_of(connection, Moment, project, trace_id, days)]
    logs = [LogRow._make(row[: len(LogRow._fields)]) for row in _rows_of(connection, Log, project, trace_id, days)]
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


def _rows_of(
    connection: Connection, table: type[Span] | type[Moment] | type[Log], project: int, trace_id: bytes, days: Sequence[int]
) -> Iterable[Any]:
    columns = table.__table__.c
    fits = (columns.project == project, columns.trace_id == trace_id, columns.day.in_(days))
    return connection.execute(select(table.__table__).where(*fits))


def _catalogue(
    connection: Connection, table: type[ResourceEntry] | type[ScopeEntry], project: int, key: str, wanted: set[bytes]
) -> list[tuple[bytes, Any]]:
    columns = table.__table__.c
    rows: list[Any] = []
    for some in slices(sorted(wanted)):
        rows += connection.execute(select(table.__table__).where(columns.project == project, columns[key].in_(some)))
    return [(row._mapping[key], row) for row in rows]


def slices(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut a list into parts that one statement takes as parameters."""
    for first in range(0, len(values), MOST_PARAMETERS):
        yield values[first : first + MOST_PARAMETERS]
