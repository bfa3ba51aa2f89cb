"""Brings `runs`, `flows` and `tasks` up to date with the facts: what is due is read and folded from a snapshot, then written in one go.

The marks in run_dirty say what to fold. Only the marks that were seen before the facts were read are taken away, so a crash, or a commit
in between, costs a second fold and never a forgotten one.
"""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Connection, Delete, Row, Select, bindparam, delete, func, select
from sqlalchemy.exc import DBAPIError

from collector.fold import fold
from collector.picture import RunPicture
from otel_bridge.conventions import TRACE_SOURCE
from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.facts import find_place, heard_of, load_few_facts, slices
from storage_plugins.sql.large_folds import fold_large_run
from storage_plugins.sql.large_runs import LARGE_FACTS
from storage_plugins.sql.news import Horizon, horizon, take_number
from storage_plugins.sql.plain_runs import fold_plain_runs
from storage_plugins.sql.run_entries import Folded, RunOf, write_entries
from storage_plugins.sql.small_runs import Gathered, heard_of_runs, load_small_runs
from storage_plugins.sql.tables import RunDirty, RunEntry, RunTrace, table_of
from storage_plugins.sql.upsert import is_among, rows_given, write_rows

log = logging.getLogger(__name__)

# Runs folded in one round: the marks of a burst of new runs are worked off in bites that do not hold the writer's lock for long.
MOST_RUNS = 200

# What the cache may know of a run that the fold must know before it reads its facts.
IS_FROZEN, IS_LARGE = "frozen", "large"


@dataclass(frozen=True, slots=True)
class Mark:
    """One row of run_dirty, and the runs it is about: its own, and those that claim its trace. seq 0: no row, a run whose time has come."""

    project: int
    run_key: bytes
    trace_id: bytes
    seq: int
    runs: frozenset[bytes]


@dataclass(slots=True)
class Round:
    """What one round folds: made from a snapshot, written by write_round. left: whether a large run has to wait for another round."""

    folded: list[Folded] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    left: bool = False


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


def _runs_of_traces(connection: Connection, traces: set[tuple[int, bytes]]) -> dict[tuple[int, bytes], frozenset[bytes]]:
    """Return the runs that claim traces which have spans that name none: those may change hands, so a fact there is news to all of them.

    In any other trace a fact is news to the run it names alone.
    """
    claims: dict[tuple[int, bytes], dict[bytes, str]] = defaultdict(dict)
    for project, trace_ids in _by_project(traces).items():
        for some in slices(trace_ids):
            rows = connection.execute(_claims(connection.dialect.name), {"project_": project, "traces_": some})
            for trace_id, run_key, source in rows.all():
                claims[project, trace_id][run_key] = source
    return {trace: frozenset(found) for trace, found in claims.items() if TRACE_SOURCE in found.values()}


@cache
def _claims(dialect: str) -> Select[bytes, bytes, str]:
    columns = table_of(RunTrace).c
    mine = (columns.project == bindparam("project_"), is_among(dialect, columns.trace_id, "traces_"))
    return select(columns.trace_id, columns.run_key, columns.source).where(*mine)


def _by_project(keys: Iterable[tuple[int, bytes]]) -> dict[int, list[bytes]]:
    """Return these keys, of runs or traces, by project: each project is asked for by itself."""
    found: dict[int, list[bytes]] = defaultdict(list)
    for project, key in keys:
        found[project].append(key)
    return found


def fold_marks(
    connection: Connection, marks: Iterable[Mark], now_ns: int, large_facts: int = LARGE_FACTS, large_for_s: float = math.inf
) -> Round:
    """Fold the runs these marks are about from one snapshot. A run that cannot be folded keeps its marks, and costs the others nothing.

    large_facts: a run of more ends and moments is large. large_for_s: after so long no other of these is folded; they keep their marks too.
    """
    done = Round(marks=list(marks))
    seen = horizon(connection)  # before the facts: what is committed from now on brings a mark of its own
    runs = {(mark.project, run_key) for mark in done.marks for run_key in mark.runs}
    cached = _cached(connection, runs)
    large = [run for run in runs if cached.get(run) == IS_LARGE]
    failed: set[bytes] = set()
    others = {run for run in runs if run not in cached}
    done.folded += _fold_plain(connection, others, seen, large_facts)
    for run, gathered in _gather(connection, others.difference(one.key for one in done.folded), large_facts):
        if gathered is None:
            large.append(run)
        else:
            with _unless_it_fails(run, failed):
                done.folded.append(Folded(run[0], fold(run[1], gathered.facts, now_ns), seen, gathered.heard))
    began = time.monotonic()
    while large and time.monotonic() - began < large_for_s:
        run = large.pop()
        with _unless_it_fails(run, failed):
            done.folded += _fold_large(connection, run, seen, now_ns)
    done.left = bool(large)
    done.folded.sort(key=lambda one: one.key)
    unfolded = failed.union(run_key for _, run_key in large)
    done.marks = [mark for mark in done.marks if unfolded.isdisjoint(mark.runs)]
    return done


@contextmanager
def _unless_it_fails(run: RunOf, failed: set[bytes]) -> Iterator[None]:
    try:
        yield
    except DBAPIError:
        raise
    except Exception:
        log.exception("run %s cannot be folded, by a fault of ours; its marks stay", run[1].hex())
        failed.add(run[1])


def _fold_large(connection: Connection, run: RunOf, seen: Horizon, now_ns: int) -> Iterator[Folded]:
    began = time.monotonic()
    found = fold_large_run(connection, *run, seen.version, now_ns)
    if found is not None:
        picture, outline = found
        yield Folded(run[0], picture, seen, heard_of(connection, *run), outline, time.monotonic() - began)


def _fold_plain(connection: Connection, runs: Iterable[RunOf], seen: Horizon, most_facts: int) -> Iterator[Folded]:
    for project, run_keys in _by_project(runs).items():
        plain = fold_plain_runs(connection, project, run_keys, most_facts)
        heard = heard_of_runs(connection, project, {run_key: [run_key] for run_key in plain})
        yield from (Folded(project, RunPicture(run, [], {}), seen, heard[run_key]) for run_key, run in plain.items())


def _gather(connection: Connection, runs: set[RunOf], large_facts: int) -> Iterator[tuple[RunOf, Gathered | None]]:
    """Yield the facts of these runs, None for one that is large: the small ones are read together, each of the others when its turn comes."""
    small = {project: load_small_runs(connection, project, run_keys, large_facts) for project, run_keys in _by_project(runs).items()}
    for project, run_key in sorted(runs):
        gathered = small[project].pop(run_key, None)
        if gathered is not None:
            yield (project, run_key), gathered
            continue
        claims, place = find_place(connection, project, run_key)
        if claims:
            facts = load_few_facts(connection, place, claims, large_facts)
            yield (project, run_key), None if facts is None else Gathered(facts, heard_of(connection, project, run_key))


def _cached(connection: Connection, runs: set[RunOf]) -> dict[RunOf, str]:
    """Return which of these runs need another fold than a small one.

    Those that lost earlier days are folded no more: what is left of them would look like something else.
    """
    return {
        (project, row.run_key): IS_FROZEN if row.frozen else IS_LARGE
        for project, row in _entries(connection, runs)
        if row.frozen or row.is_outlined
    }


def _entries(connection: Connection, runs: Iterable[RunOf]) -> Iterator[tuple[int, Row[Any]]]:
    """Yield what the cache says of those of these runs that it knows, each with its project."""
    for project, run_keys in _by_project(runs).items():
        for some in slices(run_keys):
            rows = connection.execute(_select_entries(connection.dialect.name), {"project_": project, "run_keys_": some})
            yield from ((project, row) for row in rows.all())


@cache
def _select_entries(dialect: str) -> Select[Any]:
    columns = table_of(RunEntry).c
    mine = (columns.project == bindparam("project_"), is_among(dialect, columns.run_key, "run_keys_"))
    return select(columns.run_key, columns.frozen, columns.flow_key, (columns.outline != "").label("is_outlined")).where(*mine)


def write_round(connection: Connection, done: Round, catalogue: Catalogue, now_ns: int) -> None:
    """Write the folded runs and their catalogue, and take away the marks they were folded for.

    Runs are written in the order of their keys, as fold_marks made them: two replicas that fold the same never wait for each other in a circle.
    """
    renamed = _flows_left(connection, done.folded)
    if done.folded:
        write_entries(connection, done.folded, take_number(connection))
    catalogue.write(connection, [(one.project, one.picture) for one in done.folded], renamed, now_ns)
    marks = [{"project": mark.project, "run_key": mark.run_key, "trace_id": mark.trace_id, "seq": mark.seq} for mark in done.marks if mark.seq]
    if marks:
        write_rows(connection, _delete_marks, marks)


def _flows_left(connection: Connection, folded: Iterable[Folded]) -> list[tuple[int, str]]:
    """List the flows that runs were cached under, and are no more: a task's event may name the flow before the run's own gives its key."""
    now = {one.key: one.picture.run.flow_key for one in folded}
    was = {(project, row.run_key): row.flow_key for project, row in _entries(connection, now)}
    return sorted({(run[0], flow_key) for run, flow_key in was.items() if flow_key not in ("", now[run])})


@cache
def _delete_marks(dialect: str) -> Delete:
    table = table_of(RunDirty)
    given = rows_given(dialect, table)
    return delete(table).where(*(column == given[column.name] for column in table.columns))
