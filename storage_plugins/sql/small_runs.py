"""Reads the facts of many small runs at once: a burst of new traces costs a handful of statements, not a handful each.

What is read of one run is what facts.load_facts and facts.heard_of read of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, func, select

from collector.fold import Facts
from collector.lineage import Claim
from collector.model import FoldMoment, FoldSpan
from collector.storage import Heard
from storage_plugins.sql.facts import FOLD_MOMENT, FOLD_SPAN, beating_until, slices
from storage_plugins.sql.tables import Log, Moment, RunChange, RunEntry, RunTrace, Span, table_of

# A run of more traces is read by itself: the ids of all of them would not fit one statement.
MOST_TRACES = 20


class Gathered(NamedTuple):
    """What the fold needs of one run."""

    facts: Facts
    heard: Heard


def load_small_runs(connection: Connection, project: int, run_keys: Collection[bytes]) -> dict[bytes, Gathered]:
    """Return the facts of these runs, but for those of many traces and those nothing names."""
    own = _traces_of(connection, project, run_keys)
    traces = sorted({trace_id for trace_ids in own.values() for trace_id in trace_ids})
    claims, days = _claims_of(connection, project, traces)
    spans = _by_trace(_rows(connection, Span, FOLD_SPAN, project, traces, days), FoldSpan)
    moments = _by_trace(_rows(connection, Moment, FOLD_MOMENT, project, traces, days), FoldMoment)
    heard = _heard_of(connection, project, own, traces)
    silent = [trace_id for trace_id in traces if trace_id not in spans and trace_id not in moments]
    lines = _first_lines(connection, project, silent, days)
    beating = beating_until(connection, project, {row.process for rows in moments.values() for row in rows} - {""})
    return {
        run_key: Gathered(_facts_of(trace_ids, claims, spans, moments, beating, lines), heard[run_key]) for run_key, trace_ids in own.items()
    }


def _facts_of(
    trace_ids: Iterable[bytes],
    claims: dict[bytes, list[Claim]],
    spans: dict[bytes, list[Any]],
    moments: dict[bytes, list[Any]],
    beating: dict[str, int],
    lines: dict[bytes, int],
) -> Facts:
    facts = Facts(
        spans=[row for trace_id in trace_ids for row in spans.get(trace_id, ())],
        moments=[row for trace_id in trace_ids for row in moments.get(trace_id, ())],
        claims=[claim for trace_id in trace_ids for claim in claims[trace_id]],
    )
    processes = {row.process for row in facts.moments}
    facts.beating_until_ns = {process: until_ns for process, until_ns in beating.items() if process in processes}
    if not facts.spans and not facts.moments:
        facts.first_ns = min((lines[trace_id] for trace_id in trace_ids if trace_id in lines), default=0)
    return facts


def _traces_of(connection: Connection, project: int, run_keys: Collection[bytes]) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = defaultdict(list)
    for some in slices(sorted(run_keys)):
        own = (RunTrace.project == project, RunTrace.run_key.in_(some))
        few = select(RunTrace.run_key).where(*own).group_by(RunTrace.run_key).having(func.count() <= MOST_TRACES)
        rows = select(RunTrace.run_key, RunTrace.trace_id).where(RunTrace.project == project, RunTrace.run_key.in_(few)).distinct()
        for run_key, trace_id in connection.execute(rows):
            found[run_key].append(trace_id)
    return found


def _claims_of(connection: Connection, project: int, traces: Sequence[bytes]) -> tuple[dict[bytes, list[Claim]], list[int]]:
    """Return the runs that have facts in each trace, and the days of all these facts."""
    claims: dict[bytes, set[Claim]] = defaultdict(set)
    days: set[int] = set()
    columns = (RunTrace.trace_id, RunTrace.run_key, RunTrace.source, RunTrace.run_id, RunTrace.generation, RunTrace.day)
    for some in slices(traces):
        for row in connection.execute(select(*columns).where(RunTrace.project == project, RunTrace.trace_id.in_(some))):
            claims[row.trace_id].add(Claim._make(row[:-1]))
            days.add(row.day)
    return {trace_id: list(found) for trace_id, found in claims.items()}, sorted(days)


def _rows(
    connection: Connection,
    table: type[Span] | type[Moment],
    wanted: Sequence[ColumnElement[Any]],
    project: int,
    traces: Sequence[bytes],
    days: Sequence[int],
) -> Iterable[Any]:
    columns = table_of(table).c
    for some in slices(traces):
        yield from connection.execute(select(*wanted).where(columns.project == project, columns.trace_id.in_(some), columns.day.in_(days)))


def _by_trace(rows: Iterable[Any], kind: type[FoldSpan] | type[FoldMoment]) -> dict[bytes, list[Any]]:
    found: dict[bytes, list[Any]] = defaultdict(list)
    for row in rows:
        found[row[0]].append(kind._make(row))
    return found


def _heard_of(connection: Connection, project: int, own: dict[bytes, list[bytes]], traces: Sequence[bytes]) -> dict[bytes, Heard]:
    heard: dict[bytes, int] = {}
    for some in slices(traces):
        told = select(RunChange.trace_id, func.max(RunChange.heard_ns)).where(RunChange.project == project, RunChange.trace_id.in_(some))
        heard |= _pairs(connection, told.group_by(RunChange.trace_id))
    known: dict[bytes, int] = {}
    for some in slices(sorted(own)):
        cached = select(RunEntry.run_key, RunEntry.heard_ns).where(RunEntry.project == project, RunEntry.run_key.in_(some))
        known |= _pairs(connection, cached)
    return {
        run_key: Heard(last_ns=max([known.get(run_key, 0), *(heard.get(trace_id, 0) for trace_id in trace_ids)]))
        for run_key, trace_ids in own.items()
    }


def _first_lines(connection: Connection, project: int, traces: Sequence[bytes], days: Sequence[int]) -> dict[bytes, int]:
    """Return the time of the first log line of each of these traces."""
    columns = table_of(Log).c
    found: dict[bytes, int] = {}
    for some in slices(traces):
        first = select(columns.trace_id, func.min(columns.time_ns)).where(
            columns.project == project, columns.trace_id.in_(some), columns.day.in_(days)
        )
        found |= _pairs(connection, first.group_by(columns.trace_id))
    return found


def _pairs(connection: Connection, query: Select[bytes, int]) -> dict[bytes, int]:
    return {row[0]: row[1] for row in connection.execute(query)}
