"""A small run as it is looked at, folded from all its facts; and as it is followed: only what came since its last view is read.

Of most news, which are log lines, nothing needs to be folded again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from collector.answers import Heard, LogEntry, Page, RunNews, RunView
from collector.fold import Facts, fold
from collector.lineage import Claim
from collector.picture import RunPicture, TaskKey, TaskRun
from collector.questions import WHOLE, LogQuery, ViewQuery
from collector.showing import news_since, page_tasks, show
from storage_plugins.sql import lists, run_logs
from storage_plugins.sql.facts import Place, heard_since, load_facts_since
from storage_plugins.sql.news import horizon, horizon_of
from storage_plugins.sql.run_events import Step


@dataclass(frozen=True, slots=True)
class Kept:
    """What a view was folded from. It goes with the view, and comes back when the news since are asked for."""

    place: Place
    facts: Facts
    picture: RunPicture


@dataclass(frozen=True, slots=True)
class SmallRun:
    """A run, folded from all its facts at one moment of the store. row: its cached_run().

    task_ids: those known from an earlier view, None if there is none. has_new_ends: whether spans may have ended, with events, since that view.
    """

    connection: Connection
    place: Place
    facts: Facts
    picture: RunPicture
    heard: Heard
    row: Row[Any] | None
    task_ids: dict[str, str] | None = None
    has_new_ends: bool = True

    def view(self, query: ViewQuery) -> RunView:
        """Return what is asked to be shown of it."""
        now, project, flow_key = horizon(self.connection), self.place.project, self.picture.run.flow_key
        view = show(self.picture, query, now.version, now.to_cursor(), self.heard)
        view.flow_id = lists.flow_id(self.connection, project, self.row, flow_key)
        known = self.task_ids
        if known is None or any(task.task_key not in known for task in self.picture.tasks):
            known = lists.task_ids(self.connection, project, flow_key)
        view.task_ids = known
        view.kept = Kept(self.place, self.facts, self.picture)
        if query.lines is not None:
            view.lines = self.lines(query.lines)
        return view

    def lines(self, query: LogQuery) -> Page[LogEntry]:
        """Return a page of its log."""
        no_events: list[Step] | None = [([], None)] if query.since is not None and not self.has_new_ends else None
        return run_logs.read_logs(self.connection, self.place, lambda _: self.picture, query, no_events)

    def tasks(self, limit: int, after: TaskKey | None) -> tuple[list[TaskRun], TaskKey | None]:
        """Return the next of its task runs, and the place to go on after."""
        return page_tasks(self.picture.tasks, limit, after)

    def news(self, before: RunView) -> RunNews | None:
        """Return what this moment brings to who has a view from before."""
        return news_since(before, self.view(WHOLE), self.lines)


def fold_small(connection: Connection, place: Place, facts: Facts, row: Row[Any] | None) -> SmallRun:
    """Fold a run from all its facts."""
    picture = fold(place.run_key, facts, time.time_ns())
    picture.run = lists.as_it_was(row, picture.run)
    return SmallRun(connection, place, facts, picture, _heard(connection, place, facts, row), row)


def follow_small(
    connection: Connection, place: Place, claims: Sequence[Claim], row: Row[Any] | None, before: RunView, at_most: int
) -> SmallRun | None:
    """Return a run from what was kept with a view of it and what came since. None if it must be opened as if for the first time.

    That is so where another trace, day or run has joined, its head is no more what its facts say, or it has more ends and moments than at_most.
    What retention took away since the view is still among the facts: whoever opens the run anew does not see it.
    """
    kept = before.kept
    if not isinstance(kept, Kept) or kept.place != place or set(kept.facts.claims) != set(claims):
        return None
    if not (kept.facts.spans or kept.facts.moments) or (row is not None and row.frozen):
        return None
    facts = load_facts_since(connection, place, kept.facts, horizon_of(before.cursor), at_most)
    if facts is None:
        return None
    picture, now_ns = kept.picture, time.time_ns()
    if facts is not kept.facts or 0 < picture.run.recheck_ns <= now_ns:
        picture = fold(place.run_key, facts, now_ns)
    task_ids = before.task_ids if picture.run.flow_key == before.run.flow_key else None
    has_new_ends = facts.spans is not kept.facts.spans
    return SmallRun(connection, place, facts, picture, _heard(connection, place, facts, row), row, task_ids, has_new_ends)


def _heard(connection: Connection, place: Place, facts: Facts, row: Row[Any] | None) -> Heard:
    heard = heard_since(connection, place.project, place.run_key, row.heard_ns if row is not None else 0)
    heard.beating_until_ns = dict(facts.beating_until_ns)
    return heard
