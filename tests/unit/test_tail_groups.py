"""The tail reads the news of many runs together: how many, which by themselves, and from where."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from collector.errors import Unavailable
from collector.steady import SOURCE, batch_of, log_line, run_begun, task_begun
from otel_bridge.identity import run_key
from storage_plugins.sqlite.storage import SqliteStorage
from tests.in_process import PATIENCE_S
from tests.tailing import next_nodes, tailing, until, waiting, write


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
def test_every_line_is_told_once_whatever_the_looks(storage: SqliteStorage) -> None:
    async def watch() -> list[list[str]]:
        async with tailing(storage) as (tail, _), tail.subscribe(run_key(SOURCE, "r1")) as subscription:
            assert subscription is not None
            told = []
            for message in ("first", "second", "third"):
                write(storage, tail, batch_of(log_line("r1", message, 1)))
                news = await subscription.next(PATIENCE_S)
                assert news is not None
                told.append([line.message for line in news.lines])
            return told

    storage.writer.write(batch_of(run_begun("r1")))

    assert [["first"], ["second"], ["third"]] == asyncio.run(watch())


# R089
def test_news_that_could_not_be_read_are_told_though_others_were_looked_at_meanwhile(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is being read does not move on with the tail."""
    monkeypatch.setattr("collector.tail.SLOW_S", 0)

    async def watch() -> list[str]:
        over, slow, other = asyncio.Event(), run_key(SOURCE, "slow"), run_key(SOURCE, "other")
        async with tailing(storage) as (tail, reader), tail.subscribe(slow) as subscription, tail.subscribe(other) as quick:
            assert subscription is not None and quick is not None
            reader.after_news = waiting(over, Unavailable("not just now"))
            write(storage, tail, batch_of(task_begun("slow", "load:1", 1)))
            await until(lambda: reader.after_news is None)
            write(storage, tail, batch_of(task_begun("other", "load:2", 1)))
            await next_nodes(quick)
            over.set()
            return await next_nodes(subscription)

    storage.writer.write(batch_of(run_begun("slow"), run_begun("other")))

    assert ["load:1"] == asyncio.run(watch())
