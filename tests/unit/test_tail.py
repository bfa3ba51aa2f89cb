"""The tail over a real store: nobody waits for a busy one, and no news is lost to a read that failed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from collector.answers import RunView
from collector.batch import Batch
from collector.errors import Unavailable
from collector.metrics import Metrics
from collector.questions import WHOLE, LogQuery, ViewQuery
from collector.steady import SOURCE, batch_of, log_line, plain_span, run_begun, task_begun
from collector.tail import Subscription, Tail
from otel_bridge.identity import run_key
from storage_plugins.sql.reader import SqlReader
from storage_plugins.sqlite.storage import SqliteStorage

PATIENCE_S = 10.0


class TroubledReader(SqlReader):
    """A third party's reader: does something while a run is read, and cannot read what it is told not to."""

    meanwhile: Callable[[], Awaitable[None]] | None = None
    failures = 0

    async def view_run(self, run_key: bytes, query: ViewQuery = WHOLE) -> RunView | None:
        """See Reader."""
        if self.failures:
            self.failures -= 1
            raise Unavailable("not just now")
        view = await super().view_run(run_key, query)
        if self.meanwhile is not None:
            await self.meanwhile()
        return view


@pytest.fixture
def storage() -> Iterator[SqliteStorage]:
    """An open store in memory."""
    storage = SqliteStorage("memory:", 5)
    storage.open()
    yield storage
    storage.close()


@contextlib.asynccontextmanager
async def tailing(storage: SqliteStorage) -> AsyncIterator[tuple[Tail, TroubledReader]]:
    """Run a tail over a reader that can be troubled."""
    reader = TroubledReader(storage.snapshot)
    tail = Tail(reader, Metrics(), 100)
    running = asyncio.create_task(tail.run())
    try:
        yield tail, reader
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        reader.close()


def write(storage: SqliteStorage, tail: Tail, batch: Batch) -> None:
    """Store something, and say so."""
    storage.writer.write(batch)
    tail.hint()


async def next_nodes(subscription: Subscription) -> list[str]:
    """Return the nodes of the next news."""
    news = await subscription.next(PATIENCE_S)
    assert news is not None
    return [task.node for task in news.tasks]


# R089
def test_a_run_can_be_opened_while_others_are_written_all_the_time(storage: SqliteStorage) -> None:
    async def watch() -> list[str]:
        async with tailing(storage) as (tail, reader), tail.subscribe(run_key(SOURCE, "first")):

            async def others_are_written() -> None:
                cursor = tail._cursor
                write(storage, tail, batch_of(run_begun("busy")))
                while tail._cursor == cursor:
                    await reader.latest_cursor()

            reader.meanwhile = others_are_written
            async with asyncio.timeout(PATIENCE_S), tail.subscribe(run_key(SOURCE, "second")) as second:
                reader.meanwhile = None
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
            reader.failures = 1
            write(storage, tail, batch_of(task_begun("r1", "load:1", 1)))
            return await next_nodes(subscription)

    storage.writer.write(batch_of(run_begun("r1")))

    assert ["load:1"] == asyncio.run(watch())


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
