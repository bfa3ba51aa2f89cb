"""A small run as it is looked at, folded from all its facts. How it is followed from there is in followed_runs.py."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from collector.answers import Heard, LogEntry, Page, RunNews, RunView
from collector.fold import Facts, fold
from collector.picture import RunPicture, TaskKey, TaskRun
from collector.questions import WHOLE, LogQuery, ViewQuery
from collector.showing import news_since, page_tasks, show
from collector.winners import SpanKey
from storage_plugins.sql import lists, run_logs
from storage_plugins.sql.facts import Place, heard_since
from storage_plugins.sql.news import Horizon, horizon


@dataclass(frozen=True, slots=True)
class Kept:
    """What a view was folded from. It goes with the view, and comes back when the news since are asked for."""

    place: Place
    facts: Facts
    picture: RunPicture


@dataclass(frozen=True, slots=True)
class SmallRun:
    """A run, folded from all its facts at one moment of the store. row: its cached_run()."""

    connection: Connection
    place: Place
    facts: Facts
    picture: RunPicture
    heard: Heard
    row: Row[Any] | None
    now: Horizon

    def view(self, query: ViewQuery, known_ids: dict[str, str] | None = None) -> RunView:
        """Return what is asked to be shown of it. known_ids: catalogue ids of its flow's tasks, as far as an earlier view has them."""
        project, flow_key = self.place.project, self.picture.run.flow_key
        view = show(self.picture, query, self.now.version, self.now.to_cursor(), self.heard)
        view.flow_id = lists.flow_id(self.connection, project, self.row, flow_key)
        if known_ids is None or any(task.task_key not in known_ids for task in self.picture.tasks):
            known_ids = lists.task_ids(self.connection, project, flow_key)
        view.task_ids = known_ids
        view.facts = len(self.facts.spans) + len(self.facts.moments)
        view.kept = Kept(self.place, self.facts, self.picture)
        if query.lines is not None:
            view.lines = self.lines(query.lines)
        return view

    def lines(self, query: LogQuery) -> Page[LogEntry]:
        """Return a page of its log."""
        return run_logs.read_logs(self.connection, self.place, self.whose, query)

    def whose(self, _: Iterable[SpanKey]) -> RunPicture:
        """Return the run with the owners of all its spans."""
        return self.picture

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
    heard = heard_since(connection, place.project, place.run_key, row.heard_ns if row is not None else 0)
    heard.beating_until_ns = dict(facts.beating_until_ns)
    return SmallRun(connection, place, facts, picture, heard, row, horizon(connection))
