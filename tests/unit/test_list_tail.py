"""The list tail over a real store: no change is lost to a read that failed, and a busy flow is counted now and then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from collector import list_tail
from collector.answers import FlowSummary, ListChanges, Resync, RunSummary
from collector.errors import Unavailable
from collector.list_tail import ListNews, ListTail, ListWatcher
from collector.metrics import Metrics
from collector.steady import batch_of, run_begun
from collector.testing.questions import fold_all
from collector.testing.stories import run_of_flow
from otel_bridge.facts import Fact
from storage_plugins.sql.reader import SqlReader
from storage_plugins.sqlite.storage import SqliteStorage
from tests.tailing import beside

PATIENCE_S = 60.0


class TroubledReader(SqlReader):
    """A third party's reader: cannot read what it is told not to, and counts what it is asked."""

    failures = 0
    looks = 0

    async def list_changes(self, cursor: str) -> ListChanges:
        """See Reader."""
        self.looks += 1
        return await super().list_changes(cursor)

    async def find_flow(self, flow_key: str) -> FlowSummary | None:
        """See Reader."""
        if self.failures:
            self.failures -= 1
            raise Unavailable("not just now")
        return await super().find_flow(flow_key)


@contextlib.asynccontextmanager
async def tailing(storage: SqliteStorage, queue_size: int = 100) -> AsyncIterator[tuple[ListTail, TroubledReader]]:
    """Run a tail over a reader that can be troubled."""
    reader = TroubledReader(storage.snapshot)
    tail = ListTail(reader, Metrics(), queue_size)
    async with beside(tail.run(), reader):
        yield tail, reader


def fold(storage: SqliteStorage, tail: ListTail, *facts: Fact) -> None:
    """Store facts, bring the lists up to date, and say so."""
    storage.writer.write(batch_of(*facts))
    fold_all(storage)
    tail.hint()


async def next_news(watcher: ListWatcher) -> ListNews:
    """Return the next news."""
    news = await watcher.next(PATIENCE_S)
    assert news is not None
    return news


def names(runs: Sequence[RunSummary]) -> list[str]:
    """Return the ids of runs."""
    return [one.run.run_id for one in runs]


# R089 R097
def test_changes_whose_flows_could_not_be_counted_are_told_once_they_can(storage: SqliteStorage) -> None:
    async def watch() -> ListNews:
        async with tailing(storage) as (tail, reader), tail.subscribe(with_flows=True) as watcher:
            reader.failures = 1
            fold(storage, tail, run_begun("r1"))
            return await next_news(watcher)

    news = asyncio.run(watch())

    assert (["r1"], ["etl"]) == (names(news.runs), list(news.flows))


# R097
def test_a_busy_flow_is_counted_now_and_then_and_its_runs_are_told_at_once(storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_tail, "FLOW_EVERY_S", 3600.0)

    async def watch() -> list[ListNews]:
        async with tailing(storage) as (tail, _), tail.subscribe(with_flows=True) as watcher:
            heard = []
            for number in range(3):
                fold(storage, tail, run_begun(f"r{number}", number))
                heard.append(await next_news(watcher))
            fold(storage, tail, run_of_flow("r9", "other", 9))
            return [*heard, await next_news(watcher)]

    heard = asyncio.run(watch())

    assert [["r0"], ["r1"], ["r2"], ["r9"]] == [names(news.runs) for news in heard]
    assert [["etl"], [], [], ["other"]] == [list(news.flows) for news in heard]


# R097
def test_a_flow_that_had_to_wait_is_told_with_its_last_counts(storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_tail, "FLOW_EVERY_S", 0.2)

    async def watch() -> int:
        async with tailing(storage) as (tail, _), tail.subscribe(with_flows=True) as watcher:
            total = 0
            for number in range(4):
                fold(storage, tail, run_begun(f"r{number}", number))
            while total < 4:
                flow = (await next_news(watcher)).flows.get("etl")
                total = sum(flow.run_counts.values()) if flow else total
            return total

    assert 4 == asyncio.run(watch())


# R091 R097
def test_nothing_is_read_while_nobody_watches(storage: SqliteStorage) -> None:
    async def watch() -> tuple[int, int]:
        async with tailing(storage) as (tail, reader):
            async with tail.subscribe() as watcher:
                fold(storage, tail, run_begun("r1"))
                await next_news(watcher)
            watched = reader.looks
            fold(storage, tail, run_begun("r2"))
            async with tail.subscribe() as watcher:
                fold(storage, tail, run_begun("r3"))
                assert ["r3"] == names((await next_news(watcher)).runs)
            return watched, reader.looks

    before, after = asyncio.run(watch())

    assert before <= 2
    assert after - before <= 2


# R089 R097
def test_a_watcher_that_does_not_keep_up_begins_again_and_the_others_go_on(storage: SqliteStorage) -> None:
    async def watch() -> list[str]:
        async with tailing(storage, queue_size=1) as (tail, _), tail.subscribe() as slow, tail.subscribe() as quick:
            heard = []
            for number in range(3):
                fold(storage, tail, run_begun(f"r{number}", number))
                heard += names((await next_news(quick)).runs)
            with pytest.raises(Resync):
                await slow.next(PATIENCE_S)
            return heard

    assert ["r0", "r1", "r2"] == asyncio.run(watch())
