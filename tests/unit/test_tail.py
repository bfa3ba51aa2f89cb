"""The tail over a real store: nobody waits for a busy one, and no news is lost to a read that failed."""

from __future__ import annotations

import asyncio

import pytest

from collector.errors import Unavailable
from collector.questions import LogQuery
from collector.steady import SOURCE, batch_of, log_line, plain_span, run_begun, task_begun
from otel_bridge.identity import run_key
from storage_plugins.sqlite.storage import SqliteStorage
from tests.in_process import PATIENCE_S
from tests.tailing import NOW, next_nodes, tailing, until, waiting, write

NEVER_S = 3600.0


# R089
def test_a_run_can_be_opened_while_others_are_written_all_the_time(storage: SqliteStorage) -> None:
    async def watch() -> list[str]:
        async with tailing(storage) as (tail, reader), tail.subscribe(run_key(SOURCE, "first")):

            async def others_are_written() -> None:
                cursor = tail._cursor
                write(storage, tail, batch_of(run_begun("busy")))
                while tail._cursor == cursor:
                    await reader.latest_cursor()

            reader.after_view = others_are_written
            async with asyncio.timeout(PATIENCE_S), tail.subscribe(run_key(SOURCE, "second")) as second:
                reader.after_view = None
                assert second is not None
                write(storage, tail, batch_of(task_begun("second", "load:1", 1)))
                return await next_nodes(second)

    storage.writer.write(batch_of(run_begun("first"), run_begun("second")))

    assert ["load:1"] == asyncio.run(watch())


# R089
def test_news_that_could_not_be_read_are_told_once_they_can(storage: SqliteStorage) -> None:
    async def watch() -> list[str]:
        async with tailing(storage) as (tail, reader), tail.subscribe(run_key(SOURCE, "r1")) as subscription:
            assert subscription is not None
            reader.after_news = waiting(NOW, Unavailable("not just now"))
            write(storage, tail, batch_of(task_begun("r1", "load:1", 1)))
            return await next_nodes(subscription)

    storage.writer.write(batch_of(run_begun("r1")))

    assert ["load:1"] == asyncio.run(watch())


# R089
def test_who_comes_while_the_news_for_those_before_are_read_is_told_what_follows(storage: SqliteStorage) -> None:
    """Those news turn out to be too many; that is nothing to who came after."""

    async def watch() -> list[str]:
        over, key = asyncio.Event(), run_key(SOURCE, "r1")
        async with tailing(storage) as (tail, reader):
            async with tail.subscribe(key):
                reader.after_news, reader.are_too_many = waiting(over), True
                write(storage, tail, batch_of(task_begun("r1", "load:1", 1)))
                await until(lambda: reader.after_news is None)
            async with tail.subscribe(key) as subscription:
                assert subscription is not None
                over.set()
                await until(lambda: not tail._reading)
                reader.are_too_many = False
                write(storage, tail, batch_of(task_begun("r1", "load:2", 2)))
                return await next_nodes(subscription)

    storage.writer.write(batch_of(run_begun("r1")))

    assert ["load:2"] == asyncio.run(watch())


# R089
def test_a_fault_while_news_are_read_ends_nothing(storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.app.RESTART_S", 0.01)

    async def watch() -> list[str]:
        over = asyncio.Event()
        async with tailing(storage) as (tail, reader), tail.subscribe(run_key(SOURCE, "r1")) as subscription:
            assert subscription is not None
            reader.after_news = waiting(over, Unavailable("not just now"))
            write(storage, tail, batch_of(task_begun("r1", "load:1", 1)))
            await until(lambda: reader.after_news is None)
            reader.before_changes = waiting(NOW, KeyError("a fault of the store's"))
            await until(lambda: reader.before_changes is None)
            return await next_nodes(subscription)

    storage.writer.write(batch_of(run_begun("r1")))

    assert ["load:1"] == asyncio.run(watch())


# R089
def test_news_that_come_while_others_are_read_are_told_right_after_them(storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the next look that nobody asked for, though no look waited for them."""
    monkeypatch.setattr("collector.watching.LOOK_ANYWAY_S", NEVER_S)
    monkeypatch.setattr("collector.tail.SLOW_S", 0)

    async def watch() -> list[str]:
        over = asyncio.Event()
        async with tailing(storage) as (tail, reader), tail.subscribe(run_key(SOURCE, "r1")) as subscription:
            assert subscription is not None
            reader.after_news = waiting(over)
            write(storage, tail, batch_of(task_begun("r1", "load:1", 1)))
            await until(lambda: reader.after_news is None)
            write(storage, tail, batch_of(task_begun("r1", "load:2", 2)))
            await until(lambda: bool(tail._behind))
            for _ in range(50):  # that look ends, and the next is not due yet
                await asyncio.sleep(0)
            over.set()
            return [*await next_nodes(subscription), *await next_nodes(subscription)]

    storage.writer.write(batch_of(run_begun("r1")))

    assert ["load:1", "load:2"] == asyncio.run(watch())


# R089 R021
def test_lines_that_come_before_what_ties_their_trace_to_the_run_are_told_then(storage: SqliteStorage) -> None:
    """The SDK's usual order: log records after a second, spans after five."""
    span = plain_span(7, 1, "load", 1)
    early = log_line("r1", "early", 1)
    early.trace_id, early.span_id = span.trace_id, span.span_id
    early.work = type(early.work)()
    span.work = run_begun("r1").work

    async def watch() -> list[str]:
        async with tailing(storage) as (tail, _), tail.subscribe(run_key(SOURCE, "r1")) as subscription:
            assert subscription is not None
            write(storage, tail, batch_of(early))
            write(storage, tail, batch_of(task_begun("r1", "load:1", 1)))
            await subscription.next(PATIENCE_S)
            write(storage, tail, batch_of(span))
            news = await subscription.next(PATIENCE_S)
            return [entry.message for entry in news.lines] if news is not None else []

    storage.writer.write(batch_of(run_begun("r1")))

    assert ["early"] == asyncio.run(watch())
    assert ["early"] == [entry.message for entry in asyncio.run(storage.reader.read_logs(run_key(SOURCE, "r1"), LogQuery())).items]
