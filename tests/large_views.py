"""What a reader says of a run as a large one, compared with what the fold of all its facts says. Every run with a span is large here."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, TypeVar

from collector.answers import LogEntry, Page, RunNews, RunView
from collector.picture import Run, TaskRun
from collector.questions import WHOLE, LogQuery, TaskQuery, ViewQuery
from collector.showing import news_since, show
from otel_bridge.facts import Fact
from storage_plugins.sql import run_logs
from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.facts import find_place
from storage_plugins.sql.folding import fold_marks, write_round
from storage_plugins.sql.marks import Mark
from storage_plugins.sql.reader import SqlReader
from tests.builders import RECEIVED_NS
from tests.large_runs import Told

Answer = TypeVar("Answer")

FEW = ViewQuery(3, LogQuery(newest=True, limit=4))
QUESTIONS = (
    LogQuery(limit=2),
    LogQuery(limit=3, newest=True),
    LogQuery(limit=2, min_severity=17),
    LogQuery(limit=2, node="load:1", newest=True),
    LogQuery(limit=100, node=""),
)


def ask(answer: Coroutine[Any, Any, Answer]) -> Answer:
    return asyncio.run(answer)


def reader_of(told: Told) -> SqlReader:
    return SqlReader(told.storage.snapshot, told.project, large_facts=0)


def fold_now(told: Told, run_key: bytes) -> None:
    """Fold one run, however lately it was."""
    writer = told.storage.writer
    with told.storage.snapshot() as connection:
        done = fold_marks(connection, [mark_of(told, run_key)], RECEIVED_NS, large_facts=0)
    with getattr(writer, "_lock", nullcontext()), writer._cache.begin() as connection:
        write_round(connection, done, Catalogue(), RECEIVED_NS)


def mark_of(told: Told, run_key: bytes) -> Mark:
    return Mark(told.project, run_key, b"", 0, frozenset({run_key}))


def plain(run: Run) -> Run:
    """Return a run with its sequences as lists, as they come back from the cache, and without what the time of the fold decides."""
    return replace(run, tags=list(run.tags), trace_ids=list(run.trace_ids), processes=list(run.processes), recheck_ns=0)


def small_view(told: Told, key: bytes, query: ViewQuery) -> RunView:
    """Return what the fold of all facts shows, without what the catalogue says."""
    return show(told.folded(key), query, 0, "", ask(reader_of(told).view_run(key, query)).heard)  # type: ignore[union-attr]  # it is there


def small_lines(told: Told, key: bytes, query: LogQuery) -> Page[LogEntry]:
    picture = told.folded(key)
    with told.storage.snapshot() as connection:
        _, place = find_place(connection, told.project, key)
        return run_logs.read_logs(connection, place, lambda _: picture, query)


def is_shown_as_folded(told: Told, key: bytes) -> bool:
    """Compare a run as the reader has it with what the fold says of it; return whether it is shown as a large one."""
    view = ask(reader_of(told).view_run(key, FEW))
    assert view is not None
    expected = small_view(told, key, FEW)
    assert (plain(expected.run), expected.tasks) == (plain(view.run), view.tasks)
    assert (expected.extent, expected.culprit) == (view.extent, view.culprit)
    assert FEW.lines is not None
    assert small_lines(told, key, FEW.lines) == view.lines
    assert told.folded(key).tasks == list(pages_of_tasks(told, key))
    return view.is_large


def pages_of_tasks(told: Told, key: bytes) -> Iterator[TaskRun]:
    query = TaskQuery(2)
    for _ in range(100):
        page = ask(reader_of(told).read_tasks(key, query))
        yield from page.items
        if page.next_cursor is None:
            return
        query = replace(query, cursor=page.next_cursor)


def says_what_is_folded(told: Told, key: bytes) -> bool:
    """Compare every page of every question for its lines; return whether there was any line."""
    found = 0
    for question in QUESTIONS:
        query: LogQuery | None = question
        while query is not None:
            page = ask(reader_of(told).read_logs(key, query))
            assert small_lines(told, key, query) == page
            found += len(page.items)
            query = replace(query, cursor=page.next_cursor) if page.next_cursor is not None else None
    return found > 0


def has_the_same_news(told: Told, key: bytes, after: list[Fact]) -> bool:
    """Write more, fold, and compare the news with those of a small run; return whether there were any that a large run tells."""
    fold_now(told, key)
    view, small = ask(reader_of(told).view_run(key)), told.folded(key)
    assert view is not None
    told.write(after)
    waiting = ask(reader_of(told).read_news([view])) if view.is_large else {}
    fold_now(told, key)
    news = news_of(told, view)
    assert {} == waiting
    if news is None or not view.is_large:
        return False
    expected = expected_news(told, view, small.tasks)
    assert (expected.tasks, expected.lines) == (news.tasks, news.lines)
    assert (plain(expected.view.run), expected.view.tasks) == (plain(news.view.run), news.view.tasks)
    return True


def news_of(told: Told, view: RunView) -> RunNews | None:
    """Return the news since a view; None if there are none, or a new view is the cheaper answer."""
    return ask(reader_of(told).read_news([view])).get(view.run.run_key)


def expected_news(told: Told, before: RunView, tasks: list[TaskRun]) -> RunNews:
    key = before.run.run_key
    now = ask(reader_of(told).view_run(key, ViewQuery(0)))
    assert now is not None
    view = show(told.folded(key), WHOLE, now.version, now.cursor, now.heard)
    news = news_since(replace(before, tasks=tasks), view, lambda query: small_lines(told, key, query))
    assert news is not None
    return news
