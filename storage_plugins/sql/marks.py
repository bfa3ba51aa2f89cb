"""The marks in run_dirty: which runs must be folded. Only those that were seen before the facts were read are taken away, so a crash, or a
commit in between, costs a second fold and never a forgotten one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Delete, Select, bindparam, delete, func, select

from otel_bridge.conventions import TRACE_SOURCE
from storage_plugins.sql.facts import slices
from storage_plugins.sql.tables import RunDirty, RunEntry, RunTrace, table_of
from storage_plugins.sql.upsert import is_among, rows_given, write_rows

# Runs folded in one round: the marks of a burst of new runs are worked off in bites that do not hold the writer's lock for long.
MOST_RUNS = 200


@dataclass(frozen=True, slots=True)
class Mark:
    """One row of run_dirty, and the runs it is about: its own, and those that claim its trace. seq 0: no row, a run whose time has come."""

    project: int
    run_key: bytes
    trace_id: bytes
    seq: int
    runs: frozenset[bytes]


def pending_marks(connection: Connection, now_ns: int) -> list[Mark]:
    """Return the marks of the runs that have waited longest, and one for each run whose state time alone may have changed.

    On a server the rows are locked until the transaction ends, and those that another replica has locked are left to it.
    """
    oldest = (
        select(RunDirty.project, RunDirty.run_key)
        .group_by(RunDirty.project, RunDirty.run_key)
        .order_by(func.min(RunDirty.seq))
        .limit(MOST_RUNS)
        .subquery()
    )
    marked = (
        select(RunDirty.__table__)
        .join(oldest, (RunDirty.project == oldest.c.project) & (RunDirty.run_key == oldest.c.run_key))
        .with_for_update(of=RunDirty, skip_locked=True)
    )
    late = connection.execute(
        select(RunEntry.project, RunEntry.run_key).where(RunEntry.recheck_ns > 0, RunEntry.recheck_ns <= now_ns).limit(MOST_RUNS)
    )
    rows = connection.execute(marked).all()
    runs = _runs_of_traces(connection, {(row.project, row.trace_id) for row in rows})
    marks = [
        Mark(row.project, row.run_key, row.trace_id, row.seq, runs.get((row.project, row.trace_id), frozenset()) | {row.run_key})
        for row in rows
    ]
    return marks + [Mark(row.project, row.run_key, b"", 0, frozenset({row.run_key})) for row in late]


def still_pending(connection: Connection, marks: Sequence[Mark]) -> list[Mark]:
    """Return those of these marks that nobody has taken away since pending_marks() found them, or is about to. Locks them as it does."""
    found: set[tuple[Any, ...]] = set()
    for project, run_keys in by_project({(mark.project, mark.run_key) for mark in marks}).items():
        for some in slices(sorted(run_keys)):
            these = (RunDirty.project == project, RunDirty.run_key.in_(some))
            rows = connection.execute(select(RunDirty.__table__).where(*these).with_for_update(of=RunDirty, skip_locked=True))
            found.update((row.project, row.run_key, row.trace_id, row.seq) for row in rows)
    return [mark for mark in marks if not mark.seq or (mark.project, mark.run_key, mark.trace_id, mark.seq) in found]


def _runs_of_traces(connection: Connection, traces: set[tuple[int, bytes]]) -> dict[tuple[int, bytes], frozenset[bytes]]:
    """Return the runs that claim traces which have spans that name none: those may change hands, so a fact there is news to all of them.

    In any other trace a fact is news to the run it names alone.
    """
    claims: dict[tuple[int, bytes], set[tuple[bytes, str]]] = defaultdict(set)
    for project, trace_ids in by_project(traces).items():
        for some in slices(trace_ids):
            rows = connection.execute(_claims(connection.dialect.name), {"project_": project, "traces_": some})
            for trace_id, run_key, source in rows.all():
                claims[project, trace_id].add((run_key, source))
    nameless = {trace for trace, found in claims.items() if any(source == TRACE_SOURCE for _, source in found)}
    return {trace: frozenset(run_key for run_key, _ in claims[trace]) for trace in nameless}


@cache
def _claims(dialect: str) -> Select[bytes, bytes, str]:
    columns = table_of(RunTrace).c
    mine = (columns.project == bindparam("project_"), is_among(dialect, columns.trace_id, "traces_"))
    return select(columns.trace_id, columns.run_key, columns.source).where(*mine)


def take_away(connection: Connection, marks: Iterable[Mark]) -> None:
    """Delete these marks: their runs have been folded."""
    rows = [{"project": mark.project, "run_key": mark.run_key, "trace_id": mark.trace_id, "seq": mark.seq} for mark in marks if mark.seq]
    if rows:
        write_rows(connection, _delete_marks, rows)


@cache
def _delete_marks(dialect: str) -> Delete:
    table = table_of(RunDirty)
    given = rows_given(dialect, table)
    return delete(table).where(*(column == given[column.name] for column in table.columns))


def by_project(keys: Iterable[tuple[int, bytes]]) -> dict[int, list[bytes]]:
    """Sort keys, of runs or traces, by project: each project is asked for by itself."""
    found: dict[int, list[bytes]] = defaultdict(list)
    for project, key in keys:
        found[project].append(key)
    return found
