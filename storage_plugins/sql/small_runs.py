"""Reads the facts of many small runs at once: a burst of new traces costs a handful of statements, not a handful each.

What is read of one run is what facts.load_facts and facts.heard_of read of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select

from collector.answers import Heard
from collector.fold import Facts
from collector.lineage import Claim
from collector.model import FoldMoment, FoldSpan
from storage_plugins.sql.facts import FOLD_MOMENT, FOLD_SPAN, beating_until, slices
from storage_plugins.sql.tables import Log, Moment, RunChange, RunEntry, RunTrace, Span, table_of
from storage_plugins.sql.upsert import is_among

# A run of more traces is read by itself: the ids of all of them would not fit one statement.
MOST_TRACES = 20
# Ends, or moments, that are read together: if there are so many, each run is read by itself, as far as it is small.
MOST_ROWS = 50_000


class Gathered(NamedTuple):
    """What the fold needs of one run."""

    facts: Facts
    heard: Heard


def load_small_runs(connection: Connection, project: int, run_keys: Collection[bytes], most_facts: int) -> dict[bytes, Gathered]:
    """Return the facts of these runs, but for those of many traces, or with more ends and moments than most_facts, and those nothing names.

    None at all if there are too many facts for one look.
    """
    own = _traces_of(connection, project, run_keys)
    traces = sorted({trace_id for trace_ids in own.values() for trace_id in trace_ids})
    claims, days = _claims_of(connection, project, traces)
    span_rows = list(_rows(connection, Span, FOLD_SPAN, project, traces, days))
    moment_rows = list(_rows(connection, Moment, FOLD_MOMENT, project, traces, days))
    if max(len(span_rows), len(moment_rows)) >= MOST_ROWS:
        return {}
    spans, moments = _by_trace(span_rows, FoldSpan), _by_trace(moment_rows, FoldMoment)
    own = {run_key: trace_ids for run_key, trace_ids in own.items() if _count(trace_ids, spans, moments) <= most_facts}
    heard = heard_of_runs(connection, project, own)
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
        rows = select(*wanted).where(columns.project == project, columns.trace_id.in_(some), columns.day.in_(days))
        yield from connection.execute(rows.limit(MOST_ROWS)).all()


def _count(trace_ids: Iterable[bytes], *found: dict[bytes, list[Any]]) -> int:
    return sum(len(rows.get(trace_id, ())) for rows in found for trace_id in trace_ids)


def _by_trace(rows: Iterable[Any], kind: type[FoldSpan] | type[FoldMoment]) -> dict[bytes, list[Any]]:
    found: dict[bytes, list[Any]] = defaultdict(list)
    for row in rows:
        found[row[0]].append(kind._make(row))
    return found


def heard_of_runs(connection: Connection, project: int, own: Mapping[bytes, Sequence[bytes]]) -> dict[bytes, Heard]:
    """Return when facts last came into the traces of these runs. own: run key -> its traces."""
    dialect = connection.dialect.name
    heard: dict[bytes, int] = {}
    known: dict[bytes, int] = {}
    for some in slices(sorted({trace_id for trace_ids in own.values() for trace_id in trace_ids})):
        heard.update(_pairs(connection, _last_news(dialect), {"project_": project, "keys_": some}))
    for some in slices(sorted(own)):
        known.update(_pairs(connection, _known_news(dialect), {"project_": project, "keys_": some}))
    return {
        run_key: Heard(last_ns=max([known.get(run_key, 0), *(heard.get(trace_id, 0) for trace_id in trace_ids)]))
        for run_key, trace_ids in own.items()
    }


@cache
def _last_news(dialect: str) -> Select[bytes, int]:
    columns = table_of(RunChange).c
    mine = (columns.project == bindparam("project_"), is_among(dialect, columns.trace_id, "keys_"))
    return select(columns.trace_id, func.max(columns.heard_ns)).where(*mine).group_by(columns.trace_id)


@cache
def _known_news(dialect: str) -> Select[bytes, int]:
    columns = table_of(RunEntry).c
    mine = (columns.project == bindparam("project_"), is_among(dialect, columns.run_key, "keys_"))
    return select(columns.run_key, columns.heard_ns).where(*mine)


def _first_lines(connection: Connection, project: int, traces: Sequence[bytes], days: Sequence[int]) -> dict[bytes, int]:
    """Return the time of the first log line of each of these traces."""
    columns = table_of(Log).c
    found: dict[bytes, int] = {}
    for some in slices(traces):
        mine = (columns.project == project, columns.trace_id.in_(some), columns.day.in_(days))
        found.update(_pairs(connection, select(columns.trace_id, func.min(columns.time_ns)).where(*mine).group_by(columns.trace_id)))
    return found


def _pairs(connection: Connection, query: Select[bytes, int], values: Mapping[str, Any] | None = None) -> Iterator[tuple[bytes, int]]:
    return ((key, value) for key, value in connection.execute(query, values).all())
