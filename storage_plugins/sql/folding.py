"""Brings `runs`, `flows` and `tasks` up to date with the facts: what is due is read and folded from a snapshot, then written in one go.

What is due marks.py finds, and rounds.py when.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, select
from sqlalchemy.exc import DBAPIError

from collector.fold import fold
from collector.picture import RunPicture
from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.claimed_traces import fold_claimed_traces
from storage_plugins.sql.facts import find_place, heard_of, load_few_facts, slices
from storage_plugins.sql.large_folds import fold_large_run
from storage_plugins.sql.large_runs import LARGE_FACTS
from storage_plugins.sql.marks import Mark, by_project, take_away
from storage_plugins.sql.news import Horizon, horizon, take_number
from storage_plugins.sql.plain_runs import fold_plain_runs
from storage_plugins.sql.run_entries import Folded, RunOf, write_entries
from storage_plugins.sql.small_runs import Gathered, heard_of_runs, load_small_runs
from storage_plugins.sql.tables import RunEntry, table_of
from storage_plugins.sql.upsert import is_among

log = logging.getLogger(__name__)

# What the cache may know of a run that the fold must know before it reads its facts.
IS_FROZEN, IS_LARGE = "frozen", "large"


@dataclass(slots=True)
class Round:
    """What one round folds: made from a snapshot, written by write_round.

    marks: those that are taken away then. left: large runs that wait for a round of their own, whoever has waited longest first.
    """

    folded: list[Folded] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    left: Sequence[RunOf] = ()


def fold_marks(connection: Connection, marks: Iterable[Mark], now_ns: int, large_facts: int = LARGE_FACTS, *, large_too: bool = True) -> Round:
    """Fold the runs these marks are about from one snapshot. A run that cannot be folded keeps its marks, and costs the others nothing.

    large_facts: a run of more ends and moments is large. large_too: False leaves those to another round; they keep their marks too.
    """
    done = Round(marks=list(marks))
    seen = horizon(connection)  # before the facts: what is committed from now on brings a mark of its own
    runs = {(mark.project, run_key) for mark in done.marks for run_key in mark.runs}
    cached = _cached(connection, runs)
    thawed = {run for run in runs if cached.get(run) != IS_FROZEN}
    known = {run for run in thawed if cached.get(run) == IS_LARGE}
    folding = _Folding(connection, seen, now_ns, large_facts)
    folding.fold_together(thawed, known)
    large = folding.fold_small(thawed - folding.folded.keys() - known) + sorted(known - folding.folded.keys())
    if large_too:
        folding.fold_large(large)
    else:
        done.left = _by_oldest_mark(large, done.marks)
    done.folded = [folding.folded[run] for run in sorted(folding.folded)]
    unfolded = folding.failed.union(done.left)
    done.marks = [mark for mark in done.marks if unfolded.isdisjoint((mark.project, run_key) for run_key in mark.runs)]
    return done


def _by_oldest_mark(runs: Iterable[RunOf], marks: Iterable[Mark]) -> list[RunOf]:
    oldest: dict[RunOf, int] = {}
    for mark in marks:
        for run in ((mark.project, run_key) for run_key in mark.runs):
            oldest[run] = min(mark.seq, oldest.get(run, mark.seq))
    return sorted(runs, key=lambda run: (oldest[run], run))


@dataclass(slots=True)
class _Folding:
    """Folds runs as they are at one moment. failed: those that cannot be folded."""

    connection: Connection
    seen: Horizon
    now_ns: int
    large_facts: int
    folded: dict[RunOf, Folded] = field(default_factory=dict)
    failed: set[RunOf] = field(default_factory=set)

    def fold_together(self, runs: Set[RunOf], large: Set[RunOf]) -> None:
        """Fold those of which little need be read: plain traces, and traces that named runs claim. large: those known to be."""
        with _else_one_by_one():
            for project, run_keys in by_project(runs - large).items():
                plain = fold_plain_runs(self.connection, project, run_keys, self.large_facts)
                self._add(project, {run_key: RunPicture(run, [], {}) for run_key, run in plain.items()})
        with _else_one_by_one():
            for project, run_keys in by_project(runs - self.folded.keys()).items():
                self._add(project, fold_claimed_traces(self.connection, project, run_keys, self.now_ns))

    def _add(self, project: int, pictures: Mapping[bytes, RunPicture]) -> None:
        """Take over runs that are a trace each."""
        heard = heard_of_runs(self.connection, project, {run_key: [run_key] for run_key in pictures})
        self.folded |= {(project, key): Folded(project, picture, self.seen, heard[key]) for key, picture in pictures.items()}

    def fold_small(self, runs: Set[RunOf]) -> list[RunOf]:
        """Fold the small ones: their facts are read together, or one by one. Returns the others: they are large, or nothing names them."""
        small: dict[RunOf, Gathered] = {}
        with _else_one_by_one():
            for project, run_keys in by_project(runs).items():
                gathered = load_small_runs(self.connection, project, run_keys, self.large_facts)
                small |= {(project, run_key): one for run_key, one in gathered.items()}
        others = []
        for run in sorted(runs):
            with _unless_it_fails(run, self.failed):
                one = small.pop(run, None) or _load_one(self.connection, run, self.large_facts)
                if one is None:
                    others.append(run)
                else:
                    self.folded[run] = Folded(run[0], fold(run[1], one.facts, self.now_ns), self.seen, one.heard)
        return others

    def fold_large(self, runs: Iterable[RunOf]) -> None:
        """Fold large runs, but for those that nothing names."""
        for run in runs:
            with _unless_it_fails(run, self.failed):
                began = time.monotonic()
                found = fold_large_run(self.connection, *run, self.seen.version, self.now_ns)
                if found is not None:
                    picture, outline = found
                    heard = heard_of(self.connection, *run)
                    self.folded[run] = Folded(run[0], picture, self.seen, heard, outline, time.monotonic() - began)


@contextmanager
def _unless_it_fails(run: RunOf, failed: set[RunOf]) -> Iterator[None]:
    try:
        yield
    except DBAPIError:
        raise
    except Exception:
        log.exception("run %s cannot be folded, by a fault of ours; its marks stay", run[1].hex())
        failed.add(run)


@contextmanager
def _else_one_by_one() -> Iterator[None]:
    """What runs that are folded together have in common may be the fault of one of them."""
    try:
        yield
    except DBAPIError:
        raise
    except Exception:
        log.exception("runs cannot be folded together, by a fault of ours; each is folded by itself")


def _load_one(connection: Connection, run: RunOf, most_facts: int) -> Gathered | None:
    """Return what load_small_runs() does of one run, however many traces it has; None if it is large, or nothing names it."""
    claims, place = find_place(connection, *run)
    facts = load_few_facts(connection, place, claims, most_facts) if claims else None
    return Gathered(facts, heard_of(connection, *run)) if facts is not None else None


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
    for project, run_keys in by_project(runs).items():
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
    take_away(connection, done.marks)


def _flows_left(connection: Connection, folded: Iterable[Folded]) -> list[tuple[int, str]]:
    """List the flows that runs were cached under, and are no more: a task's event may name the flow before the run's own gives its key."""
    now = {one.key: one.picture.run.flow_key for one in folded}
    was = {(project, row.run_key): row.flow_key for project, row in _entries(connection, now)}
    return sorted({(run[0], flow_key) for run, flow_key in was.items() if flow_key not in ("", now[run])})
