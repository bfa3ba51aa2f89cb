"""The tail over a real store: nobody waits for a busy one, and no news is lost to a read that failed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

import pytest

from collector.answers import Changes, RunNews, RunView
from collector.app import _keep_running
from collector.batch import Batch
from collector.errors import Unavailable
from collector.metrics import Metrics
from collector.questions import WHOLE, LogQuery, ViewQuery
from collector.steady import SOURCE, batch_of, log_line, plain_span, run_begun, task_begun
from collector.tail import Subscription, Tail
from otel_bridge.identity import run_key
from storage_plugins.sql.reader import SqlReader
from storage_plugins.sqlite.storage import SqliteStorage
from tests.in_process import PATIENCE_S

NEVER_S = 3600.0
NOW = asyncio.Event()
NOW.set()


class TroubledReader(SqlReader):
    """A third party's reader: does something after it has read a run, or its news, and before it looks for any."""

    after_view: Callable[[], Awaitable[None]] | None = None
    after_news: Callable[[], Awaitable[None]] | None = None
    are_too_many: bool = False
    failing: Mapping[bytes, Exception] = {}
    asked: Sequence[Sequence[RunView]] = ()
    before_changes: Callable[[], Awaitable[None]] | None = None

    async def view_run(self, run_key: bytes, query: ViewQuery = WHOLE) -> RunView | None:
        """See Reader."""
        view = await super().view_run(run_key, query)
        if self.after_view is not None:
            await self.after_view()
        return view

    async def read_news(self, befores: Sequence[RunView]) -> Mapping[bytes, RunNews | None]:
        """See Reader."""
        self.asked = [*self.asked, befores]
        for before in befores:
            if before.run.run_key in self.failing:
                raise self.failing[before.run.run_key]
        news = await super().read_news(befores)
        doing, self.after_news = self.after_news, None
        if doing is not None:
            await doing()
        return dict.fromkeys(news) if self.are_too_many else news

    async def changes(self, cursor: str, until: str | None = None) -> Changes:
        """See Reader."""
        doing, self.before_changes = self.before_changes, None
        if doing is not None:
            await doing()
        return await super().changes(cursor, until)


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
    running = asyncio.create_task(_keep_running("tail", tail.run, tail._metrics))
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


def waiting(event: asyncio.Event, error: Exception | None = None) -> Callable[[], Awaitable[None]]:
    """Return what waits for an event, and then fails if it is told how."""

    async def wait() -> None:
        await event.wait()
        if error is not None:
            raise error

    return wait


async def until(question: Callable[[], bool]) -> None:
    """Let the others go on until the answer is yes."""
    async with asyncio.timeout(PATIENCE_S):
        while not question():
            await asyncio.sleep(0)


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
@pytest.mark.parametrize("error", [KeyError("a fault of the store's"), Unavailable("not just now")])
def test_a_run_that_cannot_be_shown_costs_those_it_is_read_with_nothing(storage: SqliteStorage, error: Exception) -> None:
    """Not even if it never can."""

    async def watch() -> list[list[str]]:
        bad, good = (run_key(SOURCE, run_id) for run_id in ("bad", "good"))
        async with tailing(storage) as (tail, reader), tail.subscribe(bad), tail.subscribe(good) as subscription:
            assert subscription is not None
            reader.failing = {bad: error}
            told = []
            for node in ("load:1", "load:2"):
                write(storage, tail, batch_of(task_begun("bad", node, 1), task_begun("good", node, 1)))
                told.append(await next_nodes(subscription))
            return told

    storage.writer.write(batch_of(run_begun("bad"), run_begun("good")))

    assert [["load:1"], ["load:2"]] == asyncio.run(watch())


# R089
def test_no_more_runs_are_read_together_than_take_little(storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three runs at most, and ten facts."""
    monkeypatch.setattr("collector.tail.GROUP_RUNS", 3)
    monkeypatch.setattr("collector.tail.GROUP_FACTS", 10)
    run_ids = [f"r{number}" for number in range(7)]
    news = [task_begun(run_id, "load:1", 1) for run_id in (*run_ids, "big")]

    async def watch() -> list[set[str]]:
        async with tailing(storage) as (tail, reader), contextlib.AsyncExitStack() as watching:
            subscriptions = [await watching.enter_async_context(tail.subscribe(run_key(SOURCE, run_id))) for run_id in (*run_ids, "big")]
            write(storage, tail, batch_of(*news))
            for subscription in subscriptions:
                assert subscription is not None
                assert ["load:1"] == await next_nodes(subscription)
            return [{view.run.run_id for view in views} for views in reader.asked]

    storage.writer.write(batch_of(*(run_begun(run_id) for run_id in (*run_ids, "big")), *(task_begun("big", f"a:{n}", 1) for n in range(12))))

    groups = asyncio.run(watch())
    assert {"big"} in groups
    assert {*run_ids, "big"} == set().union(*groups)
    assert max(map(len, groups)) == 3


# R089
def test_a_run_that_was_quiet_is_followed_from_where_the_others_are(storage: SqliteStorage) -> None:
    """Not from its last news: what others wrote since would be looked through."""

    async def watch() -> tuple[list[str], bool]:
        quiet, busy = (run_key(SOURCE, run_id) for run_id in ("quiet", "busy"))
        async with tailing(storage) as (tail, reader), tail.subscribe(quiet) as subscription, tail.subscribe(busy) as other:
            assert subscription is not None and other is not None
            write(storage, tail, batch_of(task_begun("busy", "load:1", 1)))
            await next_nodes(other)
            reached = tail._cursor
            write(storage, tail, batch_of(task_begun("quiet", "load:2", 1)))
            told = await next_nodes(subscription)
            return told, reader.asked[-1][0].cursor == reached != subscription.view.cursor

    storage.writer.write(batch_of(run_begun("quiet"), run_begun("busy")))

    assert (["load:2"], True) == asyncio.run(watch())


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
