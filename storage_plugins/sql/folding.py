"""Brings `runs`, `flows` and `tasks` up to date with the facts: what is due is read and folded from a snapshot, then written in one go.

The marks in run_dirty say what to fold. A mark goes only if no newer facts came while we folded, so a crash, or a commit in between,
costs a second fold and never a forgotten one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Connection, Delete, Select, bindparam, delete, func, select
from sqlalchemy.dialects.sqlite import Insert, insert

from collector.attributes import to_json
from collector.fold import fold
from collector.picture import KIND_RUN, RunPicture
from collector.storage import Heard
from otel_bridge.conventions import TRACE_SOURCE
from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.facts import load_facts, version_of
from storage_plugins.sql.tables import RunDirty, RunEntry, RunTrace, table_of

log = logging.getLogger(__name__)

# Runs folded in one round: the marks of a burst of new runs are worked off in bites that do not hold the writer's lock for long.
MOST_RUNS = 200


@dataclass(frozen=True, slots=True)
class Mark:
    """One row of run_dirty, and the runs it is about: its own, and those that claim its trace."""

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
    """Return the marks of the runs that have waited longest, and one for each run whose state time alone may have changed."""
    oldest = (
        select(RunDirty.project, RunDirty.run_key)
        .group_by(RunDirty.project, RunDirty.run_key)
        .order_by(func.min(RunDirty.seq))
        .limit(MOST_RUNS)
        .subquery()
    )
    marked = select(RunDirty.__table__).join(oldest, (RunDirty.project == oldest.c.project) & (RunDirty.run_key == oldest.c.run_key))
    late = connection.execute(
        select(RunEntry.project, RunEntry.run_key).where(RunEntry.recheck_ns > 0, RunEntry.recheck_ns <= now_ns).limit(MOST_RUNS)
    )
    marks = [Mark(row.project, row.run_key, row.trace_id, row.seq, _runs_of(connection, row)) for row in connection.execute(marked).all()]
    return marks + [Mark(row.project, row.run_key, b"", 0, frozenset({row.run_key})) for row in late]


def _runs_of(connection: Connection, mark: Any) -> frozenset[bytes]:
    """A fact that names its run is news to that run alone, unless its trace has spans that name none: those may change hands."""
    claims = connection.execute(
        select(RunTrace.run_key, RunTrace.source).where(RunTrace.project == mark.project, RunTrace.trace_id == mark.trace_id)
    ).all()
    if all(claim.source != TRACE_SOURCE for claim in claims):
        return frozenset({mark.run_key})
    return frozenset(claim.run_key for claim in claims) | {mark.run_key}


def fold_marks(connection: Connection, marks: Iterable[Mark], now_ns: int) -> Round:
    """Fold the runs these marks are about from one snapshot. A run that cannot be folded keeps its marks, and costs the others nothing."""
    done = Round(marks=list(marks))
    failed: set[bytes] = set()
    for project, run_key in sorted({(mark.project, run_key) for mark in done.marks for run_key in mark.runs}):
        facts = load_facts(connection, project, run_key)
        if facts is None:
            continue
        version, heard = version_of(connection, project, run_key)
        try:
            done.folded.append(Folded(project, fold(run_key, facts, now_ns), version, heard))
        except Exception:
            log.exception("run %s cannot be folded, by a fault of ours; its marks stay", run_key.hex())
            failed.add(run_key)
    done.marks = [mark for mark in done.marks if failed.isdisjoint(mark.runs)]
    return done


def write_round(connection: Connection, done: Round, catalogue: Catalogue, now_ns: int) -> None:
    """Write the folded runs and their catalogue, and take away the marks that no newer facts have renewed."""
    renamed = _flows_left(connection, done.folded)
    if done.folded:
        connection.execute(_upsert_runs(), [_run_values(one) for one in done.folded])
    for project, flow_key in renamed:
        catalogue.drop_if_unused(connection, project, flow_key)
    for one in done.folded:
        if one.picture.run.flow_key and one.picture.run.kind == KIND_RUN:
            catalogue.write(connection, one.project, one.picture, now_ns)
    if done.marks:
        keys = [{"project_": mark.project, "run_key_": mark.run_key, "trace_id_": mark.trace_id, "seq_": mark.seq} for mark in done.marks]
        connection.execute(_delete_marks(), keys)


def _flows_left(connection: Connection, folded: Iterable[Folded]) -> list[tuple[int, str]]:
    """List the flows that runs were cached under, and are no more: a task's event may name the flow before the run's own gives its key."""
    left = []
    for one in folded:
        run = one.picture.run
        was = connection.execute(_cached_flow(), {"project_": one.project, "run_key_": run.run_key}).scalar()
        if was and was != run.flow_key:
            left.append((one.project, was))
    return left


@cache
def _cached_flow() -> Select[str]:
    return select(RunEntry.flow_key).where(RunEntry.project == bindparam("project_"), RunEntry.run_key == bindparam("run_key_"))


@cache
def _delete_marks() -> Delete:
    return delete(RunDirty).where(
        RunDirty.project == bindparam("project_"),
        RunDirty.run_key == bindparam("run_key_"),
        RunDirty.trace_id == bindparam("trace_id_"),
        RunDirty.seq <= bindparam("seq_"),
    )


@cache
def _upsert_runs() -> Insert:
    """Made once: to put it together for each run costs more than to run it."""
    table = table_of(RunEntry)
    statement = insert(table)
    changed = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in ("project", "run_key")}
    return statement.on_conflict_do_update(
        index_elements=["project", "run_key"], set_=changed, where=RunEntry.version <= statement.excluded.version
    )


def _run_values(one: Folded) -> dict[str, Any]:
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
    }
