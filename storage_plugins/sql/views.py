"""One run as it is looked at: its view, its news, its task runs, its lines. Plain functions over one connection.

Each is folded from all its facts, so that what a read shows never waits for the cache; but for large runs, which are in large_views.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from collector.answers import LogEntry, Page, Resync, RunNews, RunView, TaskPage
from collector.lineage import Claim
from collector.picture import TaskKey
from collector.questions import LogQuery, TaskQuery, ViewQuery
from collector.showing import tell
from storage_plugins.sql import lists
from storage_plugins.sql.facts import Place, find_place, heard_since, load_facts_at, load_few_facts
from storage_plugins.sql.followed_runs import follow_runs
from storage_plugins.sql.large_run_outline import WHOLE_ONLY
from storage_plugins.sql.large_runs import outline
from storage_plugins.sql.large_views import LargeRun, fresh_run, kept_run
from storage_plugins.sql.pages import from_cursor, to_cursor
from storage_plugins.sql.small_views import SmallRun, fold_small


def view_run(connection: Connection, project: int, run_key: bytes, query: ViewQuery, large_facts: int) -> RunView | None:
    """See Reader. large_facts: a run of more ends and moments is large; here and below."""
    opened = open_run(connection, project, run_key, large_facts)
    return opened.view(query) if opened is not None else None


def read_news(connection: Connection, project: int, befores: Sequence[RunView], large_facts: int) -> dict[bytes, RunNews | None]:
    """See Reader. Of a large run there are none until it is folded again."""
    followed = follow_runs(connection, project, befores, large_facts)

    def news_of(before: RunView) -> RunNews | None:
        run = followed.get(before.run.run_key)
        return run.news(before) if run is not None else _open_again(connection, project, before, large_facts)

    return tell(befores, news_of)


def _open_again(connection: Connection, project: int, before: RunView, large_facts: int) -> RunNews | None:
    run_key = before.run.run_key
    if before.is_large and lists.folded_version(connection, project, run_key) <= before.version:
        return None
    opened = open_run(connection, project, run_key, large_facts)
    if opened is None:
        return None
    if isinstance(opened, LargeRun) != before.is_large:
        raise Resync
    return opened.news(before)


def read_tasks(connection: Connection, project: int, run_key: bytes, query: TaskQuery, large_facts: int) -> TaskPage:
    """See Reader."""
    after = _key_of(query.cursor) if query.cursor is not None else None
    opened = open_run(connection, project, run_key, large_facts)
    if opened is None:
        return TaskPage([])
    tasks, last = opened.tasks(query.limit, after)
    run = opened.outline.run if isinstance(opened, LargeRun) else opened.picture.run
    ids = lists.task_ids_of(connection, project, run.flow_key, tasks)
    return TaskPage(tasks, to_cursor(last) if last is not None else None, task_ids=ids)


def _key_of(cursor: str) -> TaskKey:
    started_ns, node = from_cursor(cursor, int, str)
    return int(started_ns), str(node)


def read_logs(connection: Connection, project: int, run_key: bytes, query: LogQuery, large_facts: int) -> Page[LogEntry]:
    """See Reader."""
    opened = open_run(connection, project, run_key, large_facts)
    return opened.lines(query) if opened is not None else Page([])


# --- small or large --------------------------------------------------------------------------------------------------------------------


def open_run(connection: Connection, project: int, run_key: bytes, large_facts: int) -> SmallRun | LargeRun | None:
    """Find a run, None if nothing names it. A large one is shown as it was last folded: what is left of one that lost days may be small."""
    claims, place = find_place(connection, project, run_key)
    if not claims:
        return None
    row = lists.cached_run(connection, project, run_key)
    kept = kept_run(connection, place, claims, row)
    if kept is not None and not kept.outline.run.partly_deleted:
        return kept
    is_whole = row is not None and row.outline == WHOLE_ONLY
    facts = load_few_facts(connection, place, claims, sys.maxsize if is_whole else large_facts)
    if facts is None and kept is not None:
        return kept
    return fold_small(connection, place, facts, row) if facts is not None else _open_unfolded(connection, place, claims, row)


def _open_unfolded(connection: Connection, place: Place, claims: list[Claim], row: Row[Any] | None) -> SmallRun | LargeRun:
    found = outline(connection, place.project, place.run_key, time.time_ns())
    if found is None:
        return fold_small(connection, place, load_facts_at(connection, place, claims), row)
    heard = heard_since(connection, place.project, place.run_key, row.heard_ns if row is not None else 0)
    return fresh_run(connection, place, found, row, heard)
