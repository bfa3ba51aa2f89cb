"""Runs that lose facts to retention: frozen before the first goes, because the rest would fold to something else; gone with the last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Delete, bindparam, delete, not_, select, update
from sqlalchemy.sql.dml import ReturningDelete

from collector.model import ODD_DAY
from otel_bridge.conventions import TRACE_SOURCE
from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.facts import slices
from storage_plugins.sql.folding import Round, fold_marks, write_round
from storage_plugins.sql.marks import Mark
from storage_plugins.sql.news import Horizon, horizon
from storage_plugins.sql.retention import Chunk, Claimed, Cut, claims_in
from storage_plugins.sql.tables import FACTS, Base, RunChange, RunDirty, RunEntry, RunTrace, table_of


class Freeze(NamedTuple):
    """Runs to freeze. last: those of them that had news, folded for the last time."""

    project: int
    run_keys: Sequence[bytes]
    last: Round


class Gone(NamedTuple):
    """Rows of run_traces of which no fact was left at a moment of the store."""

    project: int
    claims: Sequence[Claimed]
    seen: Horizon


def read_freeze(connection: Connection, project: int, losers: Collection[bytes], now_ns: int) -> Freeze:
    """Return which of these runs are not frozen yet, and fold those that have news.

    Keep folds away until freeze() is committed: one that began before would write what it saw then. On a server those under way are waited
    for, because they hold the marks.
    """
    unfrozen = sorted(set(losers) - _frozen(connection, project, losers))
    marks = [Mark(project, run_key, b"", 0, frozenset({run_key})) for run_key in _marked(connection, project, unfrozen)]
    return Freeze(project, unfrozen, fold_marks(connection, marks, now_ns))


def freeze(connection: Connection, found: Freeze, catalogue: Catalogue, now_ns: int) -> None:
    """Freeze these runs: their cached rows stay as they are now. Must be committed before the first of their facts is deleted."""
    if found.last.folded:
        write_round(connection, found.last, catalogue, now_ns)
    for some in slices(found.run_keys):
        these = (RunEntry.project == found.project, RunEntry.run_key.in_(some))
        connection.execute(update(table_of(RunEntry)).where(*these).values(frozen=1, recheck_ns=0))


def read_gone(connection: Connection, cut: Cut, chunk: Chunk) -> Gone:
    """Return what run_traces says of facts that are no more, once read_old() finds nothing in these traces."""
    seen, claims = horizon(connection), claims_in(connection, chunk.project, chunk.traces)
    odd = _odd_facts(connection, chunk.project, {claim.trace_id for claim in claims if claim.day == ODD_DAY})
    gone = {claim for claim in claims if claim.day < cut.first_day and not _is_kept(claim, chunk) and not _is_odd(claim, odd)}
    left = [claim for claim in claims if claim not in gone]
    held = _traces_of_one_run(claims, {claim.trace_id for claim in left if claim.source == TRACE_SOURCE})
    return Gone(chunk.project, [claim for claim in gone if claim.source == TRACE_SOURCE or claim.trace_id not in held], seen)


def forget(connection: Connection, gone: Gone) -> int:
    """Delete what was said of facts that are no more, and the runs of which nothing is left. Returns how many of these were listed.

    Nobody may write facts of old days meanwhile, or of none. What had news since it was read stays, and is looked at again the next time.
    """
    traces = {claim.trace_id for claim in gone.claims}
    news = select(RunChange.trace_id).where(gone.seen.is_news(table_of(RunChange).c.seq), RunChange.project == gone.project)
    busy = set(connection.scalars(news.where(RunChange.trace_id.in_(traces))))
    claims = [claim for claim in gone.claims if claim.trace_id not in busy]
    if not claims:
        return 0
    connection.execute(_delete_claim(), [{f"{name}_": value for name, value in claim._asdict().items()} for claim in claims])
    return _forget_runs(connection, gone.project, {claim.run_key for claim in claims}, traces)


def _forget_runs(connection: Connection, project: int, run_keys: Collection[bytes], traces: Collection[bytes]) -> int:
    """Delete those of these runs that have no trace left. Each statement looks for itself: one may be getting young facts just now."""
    these = {"project_": project, "run_keys_": sorted(run_keys)}
    connection.execute(_delete_marks(), these)
    connection.execute(_delete_news(), these | {"traces_": sorted(traces)})
    return sum(not hidden for hidden in connection.scalars(_delete_runs(), these))


# Made once: to put them together each time costs three times what they do, and the writer's lock is held meanwhile.


@cache
def _delete_claim() -> Delete:
    key = table_of(RunTrace).primary_key.columns
    return delete(table_of(RunTrace)).where(*(column == bindparam(f"{column.name}_") for column in key))


@cache
def _delete_marks() -> Delete:
    return delete(table_of(RunDirty)).where(*_empty(RunDirty))


@cache
def _delete_news() -> Delete:
    return delete(table_of(RunChange)).where(*_empty(RunChange), RunChange.trace_id.in_(bindparam("traces_", expanding=True)))


@cache
def _delete_runs() -> ReturningDelete[int]:
    return delete(table_of(RunEntry)).where(*_empty(RunEntry)).returning(RunEntry.hidden)


def _empty(table: type[Base]) -> tuple[ColumnElement[bool], ...]:
    """Return the condition that a row is of one of the runs asked for, and that this run has no trace."""
    columns, of = table_of(table).c, table_of(RunTrace).c
    left = select(of.run_key).where(of.project == columns.project, of.run_key == columns.run_key).correlate(table_of(table)).exists()
    return columns.project == bindparam("project_"), columns.run_key.in_(bindparam("run_keys_", expanding=True)), not_(left)


def _frozen(connection: Connection, project: int, run_keys: Collection[bytes]) -> set[bytes]:
    query = select(RunEntry.run_key).where(RunEntry.project == project, RunEntry.frozen == 1)
    return {run_key for some in slices(sorted(run_keys)) for run_key in connection.scalars(query.where(RunEntry.run_key.in_(some)))}


def _marked(connection: Connection, project: int, run_keys: Collection[bytes]) -> set[bytes]:
    """Return those of these runs that have news no fold has seen: marks of their own, or of a trace of theirs, whose nameless facts changed."""
    own = select(RunDirty.run_key).where(RunDirty.project == project)
    joined = (RunTrace.project == RunDirty.project) & (RunTrace.trace_id == RunDirty.run_key)
    of_traces = select(RunTrace.run_key).join(RunDirty, joined).where(RunTrace.project == project)
    found: set[bytes] = set()
    for some in slices(sorted(run_keys)):
        found |= set(connection.scalars(own.where(RunDirty.run_key.in_(some)).with_for_update(of=RunDirty)))
        found |= set(connection.scalars(of_traces.where(RunTrace.run_key.in_(some)).with_for_update(of=RunDirty)))
    return found


def _odd_facts(connection: Connection, project: int, traces: Collection[bytes]) -> set[tuple[bytes, bytes]]:
    """Return (trace_id, run_key) of the facts of no day that are left in these traces; run_key is empty for those that name none."""
    found: set[tuple[bytes, bytes]] = set()
    for table in FACTS:
        columns = table_of(table).c
        odd = (columns.project == project, columns.trace_id.in_(traces), columns.day == ODD_DAY)
        found |= {(row.trace_id, row.run_key) for row in connection.execute(select(columns.trace_id, columns.run_key).where(*odd).distinct())}
    return found


def _is_kept(claim: Claimed, chunk: Chunk) -> bool:
    return claim.trace_id in chunk.kept_traces if claim.source == TRACE_SOURCE else claim.run_key in chunk.kept


def _is_odd(claim: Claimed, odd: Collection[tuple[bytes, bytes]]) -> bool:
    named = b"" if claim.source == TRACE_SOURCE else claim.run_key
    return claim.day == ODD_DAY and (claim.trace_id, named) in odd


def _traces_of_one_run(claims: Iterable[Claimed], nameless: Collection[bytes]) -> set[bytes]:
    """Return those of these traces that one run claims: it stays as long as they hold facts that name none, which are its own."""
    named: dict[bytes, set[bytes]] = defaultdict(set)
    for claim in claims:
        if claim.source != TRACE_SOURCE:
            named[claim.trace_id].add(claim.run_key)
    return {trace_id for trace_id in nameless if len(named[trace_id]) == 1}
