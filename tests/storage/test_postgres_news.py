"""News among replicas: heard at once by a hint, soon without one; none missed and none told twice, in whatever order transactions end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from collector.metrics import Metrics
from collector.steady import SOURCE, at, batch_of, run_begun, task_begun
from collector.storage import Storage
from collector.tail import Tail
from collector.testing.questions import fold_all, view_of, wait_for
from otel_bridge.facts import ProcessBeat
from otel_bridge.identity import run_key
from storage_plugins.postgres.storage import PostgresStorage
from tests.in_process import PATIENCE_S, eventually
from tests.postgres import Postgres
from tests.storage.opened_postgres import ask, opened, waiting


@pytest.fixture
def storage(postgres_url: str) -> Iterator[PostgresStorage]:
    """A replica's storage."""
    with opened(postgres_url) as storage:
        yield storage


def news(storage: Storage, cursor: str) -> tuple[set[str], str]:
    """Return which of the runs r0, r1, ... got facts since a cursor, and the cursor after them."""
    names = {run_key(SOURCE, f"r{number}"): f"r{number}" for number in range(9)}
    changes = wait_for(storage.reader.changes(cursor))
    return {names[key] for key in changes.run_keys}, changes.cursor


def latest(storage: Storage) -> str:
    """Return the cursor of now."""
    return wait_for(storage.reader.latest_cursor())


# --- hints -----------------------------------------------------------------------------------------------------------------------------


# R092
def test_a_commit_is_told_to_the_other_replicas_and_not_to_its_own(postgres_url: str) -> None:
    with opened(postgres_url) as one, opened(postgres_url) as other:
        heard_by_one, heard_by_other = threading.Semaphore(0), threading.Event()
        one.listen(heard_by_one.release)
        other.listen(heard_by_other.set)
        assert heard_by_one.acquire(timeout=PATIENCE_S)  # who begins to listen looks
        assert heard_by_other.wait(PATIENCE_S)
        heard_by_other.clear()

        one.writer.write(batch_of(run_begun("r1")))

        assert heard_by_other.wait(PATIENCE_S)
        other.writer.write(batch_of(run_begun("r2")))
        assert heard_by_one.acquire(timeout=PATIENCE_S)
        assert not heard_by_one.acquire(blocking=False)


# R092
def test_a_fold_is_told_to_the_other_replicas(postgres_url: str) -> None:
    with opened(postgres_url) as one, opened(postgres_url) as other:
        heard = threading.Event()
        one.listen(lambda: None)
        other.listen(heard.set)
        assert heard.wait(PATIENCE_S)  # who begins to listen looks
        heard.clear()
        one.writer.write(batch_of(run_begun("r1")))
        assert heard.wait(PATIENCE_S)
        heard.clear()

        fold_all(one)

        assert heard.wait(PATIENCE_S)


# R089 R096
def test_a_commit_nobody_was_told_of_is_news_at_the_next_look(postgres_url: str) -> None:
    with opened(postgres_url) as silent, opened(postgres_url) as other:
        silent.writer.write(batch_of(run_begun("r1")))

        async def watch() -> list[str]:
            tail = Tail(other.reader, Metrics(), queue_size=10)
            following = asyncio.create_task(tail.run())
            async with tail.subscribe(run_key(SOURCE, "r1")) as subscription:
                assert subscription is not None
                await asyncio.to_thread(silent.writer.write, batch_of(task_begun("r1", "load:1", 1)))
                told = await subscription.next(PATIENCE_S)
            following.cancel()
            assert told is not None
            return [task.node for task in told.tasks]

        assert ["load:1"] == asyncio.run(watch())


# --- the order of commits --------------------------------------------------------------------------------------------------------------


@contextmanager
def held_up(storage: Storage, url: str, run_id: str) -> Iterator[None]:
    """Write a run in a transaction that has its number and cannot end before the body has."""
    slow = threading.Thread(target=storage.writer.write, args=(batch_of(run_begun(run_id), ProcessBeat("gate", at(0), 1000)),))
    with psycopg.connect(url) as gate:
        gate.execute("INSERT INTO processes (project, process, heard_ns, interval_ms, exited_ns) VALUES (1, 'gate', 0, 0, 0)")
        slow.start()
        eventually(lambda: waiting(url) == 1)
        yield
        gate.rollback()
    slow.join()


# R089
def test_who_took_its_number_first_and_commits_last_is_news_once_for_every_cursor(storage: PostgresStorage, postgres_url: str) -> None:
    storage.writer.write(batch_of(run_begun("r0")))
    before = latest(storage)
    with held_up(storage, postgres_url, "r1"):
        while_open = latest(storage)
        storage.writer.write(batch_of(run_begun("r2")))
        between = latest(storage)
        first, cursor = news(storage, before)
    after = latest(storage)

    assert ({"r2"}, {"r1"}, set()) == (first, *(news(storage, one)[0] for one in (cursor, after)))
    assert [{"r1", "r2"}, {"r1", "r2"}, {"r1"}] == [news(storage, one)[0] for one in (before, while_open, between)]


# R089
def test_a_view_is_newer_for_every_commit_whatever_their_order(storage: PostgresStorage, postgres_url: str) -> None:
    storage.writer.write(batch_of(run_begun("r0")))
    versions = [view_of(storage, "r0").version]
    with held_up(storage, postgres_url, "r1"):
        storage.writer.write(batch_of(run_begun("r2")))
        versions.append(view_of(storage, "r0").version)
    versions.append(view_of(storage, "r0").version)

    assert sorted(set(versions)) == versions


def test_a_fold_beside_an_open_transaction_leaves_its_mark_alone(storage: PostgresStorage, postgres_url: str) -> None:
    with held_up(storage, postgres_url, "r1"):
        storage.writer.write(batch_of(run_begun("r2")))
        fold_all(storage)
        listed = ask(postgres_url, "SELECT run_id FROM runs")
    fold_all(storage)

    assert [("r2",)] == listed
    assert [("r1",), ("r2",)] == ask(postgres_url, "SELECT run_id FROM runs ORDER BY run_id")


# --- other people's transactions -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["the same database", "another database"])
def foreign(request: pytest.FixtureRequest, postgres: Postgres, postgres_url: str) -> Iterator[psycopg.Connection]:
    """A connection of another program."""
    with psycopg.connect(postgres_url if request.param == "the same database" else postgres.url("postgres")) as connection:
        yield connection


# R089
def test_a_long_foreign_transaction_costs_no_news_and_no_cursor(
    storage: PostgresStorage, postgres_url: str, foreign: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage_plugins.sql.rounds.PRUNE_EVERY", 1)
    storage.writer.write(batch_of(run_begun("r0")))
    foreign.execute("SELECT pg_current_xact_id()")
    told, cursor = [], latest(storage)
    for number in range(1, 5):
        storage.writer.write(batch_of(run_begun(f"r{number}")))
        fold_all(storage)  # these news are older than are kept, and pruned: but not past what is open
        found, cursor = news(storage, cursor)
        told.append(found)
    foreign.commit()

    assert [{"r1"}, {"r2"}, {"r3"}, {"r4"}] == told
    assert set() == news(storage, cursor)[0]
    assert [] == ask(postgres_url, "SELECT * FROM run_changes WHERE run_key = %s", run_key(SOURCE, "r0"))


# R089
def test_news_written_while_a_foreign_transaction_was_open_are_pruned_after_it(
    storage: PostgresStorage, postgres_url: str, foreign: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage_plugins.sql.rounds.PRUNE_EVERY", 1)
    foreign.execute("SELECT pg_current_xact_id()")
    storage.writer.write(batch_of(run_begun("r1")))
    fold_all(storage)
    foreign.commit()
    storage.writer.write(batch_of(run_begun("r2")))
    fold_all(storage)

    assert [] == ask(postgres_url, "SELECT * FROM run_changes WHERE run_key = %s", run_key(SOURCE, "r1"))
