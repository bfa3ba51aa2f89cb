"""A tail over a real store, and a reader that can be troubled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from collector.answers import Changes, RunNews, RunView
from collector.app import _keep_running
from collector.batch import Batch
from collector.metrics import Metrics
from collector.questions import WHOLE, ViewQuery
from collector.tail import Subscription, Tail
from storage_plugins.sql.reader import SqlReader
from storage_plugins.sqlite.storage import SqliteStorage
from tests.in_process import PATIENCE_S

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


@contextlib.asynccontextmanager
async def tailing(storage: SqliteStorage) -> AsyncIterator[tuple[Tail, TroubledReader]]:
    """Run a tail over a reader that can be troubled."""
    reader = TroubledReader(storage.snapshot)
    tail = Tail(reader, Metrics(), 100)
    async with beside(_keep_running("tail", tail.run, tail._metrics), reader):
        yield tail, reader


@contextlib.asynccontextmanager
async def beside(work: Coroutine[Any, Any, object], reader: SqlReader) -> AsyncIterator[None]:
    """Have this work done within the block; close its reader at the end."""
    running = asyncio.create_task(work)
    try:
        yield
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
