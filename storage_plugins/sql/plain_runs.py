"""Folds the runs of plain traces from sums over their spans, many at once: the spans stay where they are.

What follows from the sums is in collector/plain_runs.py. A trace that is not plain, or of which the sums do not say enough, is left to the
fold (small_runs.py): that holds for every trace in which a run is named, a span is open, or facts lie on two days.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, case, func, or_, select

from collector.picture import Run
from collector.plain_runs import Siblings, fold_plain_run
from otel_bridge import conventions as c
from storage_plugins.sql.facts import slices
from storage_plugins.sql.tables import Moment, RunTrace, Span, table_of
from storage_plugins.sql.upsert import is_among

SPANS, MOMENTS, TRACES = table_of(Span), table_of(Moment), table_of(RunTrace)


def fold_plain_runs(connection: Connection, project: int, run_keys: Collection[bytes], most_spans: int) -> dict[bytes, Run]:
    """Return those of these runs that are plain traces of at most so many spans, folded."""
    found: dict[bytes, Run] = {}
    for some in slices(sorted(run_keys)):
        days = _unclaimed(connection, project, some)
        for trace_id, groups in _siblings(connection, project, days).items():
            few = sum(group.spans for group in groups) <= most_spans
            run = fold_plain_run(trace_id, days[trace_id], groups) if few else None
            if run is not None:
                found[trace_id] = run
    return found


def _unclaimed(connection: Connection, project: int, run_keys: Sequence[bytes]) -> dict[bytes, int]:
    """Return those of these runs that are traces no run claims, with the only day their facts lie on."""
    rows = connection.execute(_select_unclaimed(connection.dialect.name), {"project_": project, "run_keys_": run_keys})
    return {row.run_key: row.day for row in rows.all()}


def _siblings(connection: Connection, project: int, days: dict[bytes, int]) -> dict[bytes, list[Siblings]]:
    """Return the sums of those of these traces whose spans are all plain."""
    if not days:
        return {}
    dialect, where = connection.dialect.name, {"project_": project, "traces_": list(days), "days_": sorted(set(days.values()))}
    odd = set(connection.scalars(_select_told(dialect), where).all())
    found: dict[bytes, list[Siblings]] = defaultdict(list)
    for trace_id, is_odd, *group in connection.execute(_sums(dialect), where).all():
        found[trace_id].append(Siblings._make(group))
        if is_odd:
            odd.add(trace_id)
    return {trace_id: groups for trace_id, groups in found.items() if trace_id not in odd}


@cache
def _select_unclaimed(dialect: str) -> Select[bytes, int]:
    """Claims are counted, each by its own index: asked whether there is another, SQLite walks through all of them."""
    own, other = TRACES.c, TRACES.alias().c
    mine = (own.project == bindparam("project_"), is_among(dialect, own.run_key, "run_keys_"), own.source == c.TRACE_SOURCE)
    claims = select(func.count()).where(other.project == own.project, other.trace_id == own.trace_id).scalar_subquery()
    traces = select(func.count()).where(other.project == own.project, other.run_key == own.run_key).scalar_subquery()
    return select(own.run_key, own.day).where(*mine, claims == 1, traces == 1)


def _are_mine(dialect: str, row: Any) -> tuple[ColumnElement[bool], ...]:
    return (row.project == bindparam("project_"), is_among(dialect, row.trace_id, "traces_"), is_among(dialect, row.day, "days_"))


@cache
def _select_told(dialect: str) -> Select[bytes]:
    """Select the traces of whose spans a moment is known."""
    return select(MOMENTS.c.trace_id).where(*_are_mine(dialect, MOMENTS.c)).distinct()


@cache
def _sums(dialect: str) -> Select[Any]:
    """Select (trace_id, whether any span is odd, *Siblings). Two microseconds of SQLite's a span; reading its columns costs as much again."""
    row = SPANS.c
    failed = row.status_code == c.STATUS_ERROR
    above = SPANS.alias().c
    parent = (
        above.project == row.project,
        above.trace_id == row.trace_id,
        above.span_id == row.parent_span_id,
        is_among(dialect, above.day, "days_"),
    )
    sums = select(
        row.trace_id,
        func.max(case((_is_odd(row), 1), else_=0)),
        row.parent_span_id,
        select(above.parent_span_id == b"").where(*parent).limit(1).scalar_subquery(),
        func.count(),
        func.sum(case((failed, 1), else_=0)),
        func.sum(case((and_(failed, row.error != ""), 1), else_=0)),
        func.min(row.start_ns),
        func.min(row.end_ns),
        func.max(row.flow_key),
        func.max(row.flow_name),
        func.max(row.error),
    )
    return sums.where(*_are_mine(dialect, row)).group_by(row.project, row.trace_id, row.parent_span_id)


def _is_odd(row: Any) -> ColumnElement[bool]:
    """Fit spans that say more than that they ended, and of what flow the root is."""
    has_role = or_(row.role != c.ROLE_PART, row.result != "", row.attempt.is_not(None))
    is_timeless = or_(row.start_ns == 0, row.end_ns == 0)
    return or_(has_role, is_timeless, and_(row.parent_span_id != b"", or_(row.flow_key != "", row.flow_name != "")))
