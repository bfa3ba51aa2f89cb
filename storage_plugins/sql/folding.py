"""Brings `runs`, `flows` and `tasks` up to date with the facts: what is due is read and folded from a snapshot, then written in one go.

The marks in run_dirty say what to fold. Only the marks that were seen before the facts were read are taken away, so a crash, or a commit
in between, costs a second fold and never a forgotten one.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Connection, Delete, bindparam, delete, func, select

from collector.attributes import to_json
from collector.fold import fold
from collector.picture import RunPicture
from collector.storage import Heard
from otel_bridge.conventions import TRACE_SOURCE
from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.facts import heard_of, load_facts, slices
from storage_plugins.sql.news import horizon, take_number
from storage_plugins.sql.small_runs import Gathered, load_small_runs
from storage_plugins.sql.tables import RunDirty, RunEntry, RunTrace, table_of
from storage_plugins.sql.upsert import Insert, insert_of

log = logging.getLogger(__name__)

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


@dataclass(slots=True)
class Folded:
    """A run's new cache row, ready to write."""

    project: int
    picture: RunPicture
    version: int
    heard: Heard


@dataclass(slots=True)
class Round:
    """What one round folds: made from a snapshot, written by write_round."""

    folded: list[Folded] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)


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
    for some in slices(sorted({trace_id for _, trace_id in traces})):
        rows = select(RunTrace.project, RunTrace.trace_id, RunTrace.run_key, RunTrace.source).where(RunTrace.trace_id.in_(some))
        for project, trace_id, run_key, source in connection.execute(rows.where(RunTrace.project.in_({project for project, _ in traces}))):
            claims[project, trace_id][run_key] = source
    return {trace: frozenset(found) for trace, found in claims.items() if TRACE_SOURCE in found.values()}


def fold_marks(connection: Connection, marks: Iterable[Mark], now_ns: int) -> Round:
    """Fold the runs these marks are about from one snapshot. A run that cannot be folded keeps its marks, and costs the others nothing."""
    done = Round(marks=list(marks))
    failed: set[bytes] = set()
    version = horizon(connection).version  # before the facts: what is committed from now on brings a mark of its own
    runs = {(mark.project, run_key) for mark in done.marks for run_key in mark.runs}
    for project, run_key, gathered in _gather(connection, runs - _frozen(connection, runs)):
        try:
            done.folded.append(Folded(project, fold(run_key, gathered.facts, now_ns), version, gathered.heard))
        except Exception:
            log.exception("run %s cannot be folded, by a fault of ours; its marks stay", run_key.hex())
            failed.add(run_key)
    done.marks = [mark for mark in done.marks if failed.isdisjoint(mark.runs)]
    return done


def _gather(connection: Connection, runs: set[tuple[int, bytes]]) -> Iterator[tuple[int, bytes, Gathered]]:
    """Yield the facts of these runs in the order of their keys: the small ones are read together, each of the others when its turn comes."""
    small = {
        project: load_small_runs(connection, project, [run_key for other, run_key in runs if other == project])
        for project in {project for project, _ in runs}
    }
    for project, run_key in sorted(runs):
        gathered = small[project].pop(run_key, None)
        if gathered is None:
            facts = load_facts(connection, project, run_key)
            gathered = None if facts is None else Gathered(facts, heard_of(connection, project, run_key))
        if gathered is not None:
            yield project, run_key, gathered


def _frozen(connection: Connection, runs: set[tuple[int, bytes]]) -> set[tuple[int, bytes]]:
    """Return those of these runs that lost earlier days: they are folded no more, what is left of them would look like something else."""
    projects = {project for project, _ in runs}
    query = select(RunEntry.project, RunEntry.run_key).where(RunEntry.project.in_(projects), RunEntry.frozen == 1)
    return {
        (row.project, row.run_key)
        for some in slices(sorted({run_key for _, run_key in runs}))
        for row in connection.execute(query.where(RunEntry.run_key.in_(some)))
    }


def write_round(connection: Connection, done: Round, catalogue: Catalogue, now_ns: int) -> None:
    """Write the folded runs and their catalogue, and take away the marks they were folded for.

    Runs are written in the order of their keys, as fold_marks made them: two replicas that fold the same never wait for each other in a circle.
    """
    renamed = _flows_left(connection, done.folded)
    if done.folded:
        seq = take_number(connection)
        connection.execute(_upsert_runs(connection.dialect.name), [_run_values(one, seq) for one in done.folded])
    catalogue.write(connection, [(one.project, one.picture) for one in done.folded], renamed, now_ns)
    keys = [
        {"project_": mark.project, "run_key_": mark.run_key, "trace_id_": mark.trace_id, "seq_": mark.seq} for mark in done.marks if mark.seq
    ]
    if keys:
        connection.execute(_delete_marks(), keys)


def _flows_left(connection: Connection, folded: Iterable[Folded]) -> list[tuple[int, str]]:
    """List the flows that runs were cached under, and are no more: a task's event may name the flow before the run's own gives its key."""
    now = {(one.project, one.picture.run.run_key): one.picture.run.flow_key for one in folded}
    left = set()
    for some in slices(sorted({run_key for _, run_key in now})):
        cached = select(RunEntry.project, RunEntry.run_key, RunEntry.flow_key).where(RunEntry.run_key.in_(some), RunEntry.flow_key != "")
        for project, run_key, was in connection.execute(cached.where(RunEntry.project.in_({project for project, _ in now}))):
            if now.get((project, run_key), was) != was:
                left.add((project, was))
    return sorted(left)


@cache
def _delete_marks() -> Delete:
    return delete(RunDirty).where(
        RunDirty.project == bindparam("project_"),
        RunDirty.run_key == bindparam("run_key_"),
        RunDirty.trace_id == bindparam("trace_id_"),
        RunDirty.seq == bindparam("seq_"),
    )


@cache
def _upsert_runs(dialect: str) -> Insert:
    """Made once: to put it together for each run costs more than to run it."""
    table = table_of(RunEntry)
    statement = insert_of(dialect)(table)
    changed = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in ("project", "run_key")}
    return statement.on_conflict_do_update(
        index_elements=["project", "run_key"],
        set_=changed,
        where=(RunEntry.version <= statement.excluded.version) & (RunEntry.frozen == 0),
    )


def _run_values(one: Folded, seq: int) -> dict[str, Any]:
    run = one.picture.run
    return {
        "project": one.project,
        "run_key": run.run_key,
        "source": run.source,
        "run_id": run.run_id,
        "generation": run.generation,
        "kind": run.kind,
        "status": run.status,
        "flow_key": run.flow_key,
        "flow_name": run.flow_name,
        "started_ns": run.started_ns,
        "finished_ns": run.finished_ns,
        "sort_ns": run.started_ns or run.first_ns,
        "error": run.error,
        "tasks_declared": run.tasks_declared,
        "counts": to_json(run.counts),
        "params": to_json(run.params),
        "metadata": to_json(run.metadata),
        "tags": to_json(run.tags),
        "processes": to_json(run.processes),
        "hidden": int(run.hidden),
        "first_day": run.first_day,
        "last_day": run.last_day,
        "recheck_ns": run.recheck_ns,
        "heard_ns": one.heard.last_ns,
        "version": one.version,
        "frozen": 0,
        "seq": seq,
    }
