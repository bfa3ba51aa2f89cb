"""Transaction numbers are the server's: after a crash it may give one again, and another server begins anew. No cursor misses news for that."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from collector.picture import RUNNING, SUCCEEDED
from collector.questions import LogQuery, RunQuery
from collector.steady import SOURCE, batch_of, log_line, run_begun, run_ended
from collector.storage import Storage
from collector.testing.questions import fold_all, listed_runs, messages_of, view_of, wait_for
from otel_bridge.identity import run_key
from tests.postgres import Postgres
from tests.storage.opened_postgres import ask, opened, tell

R1 = run_key(SOURCE, "r1")


@pytest.fixture
def own() -> Iterator[Postgres]:
    """A server that no other test uses, and that writes down what nobody waits for in its own good time."""
    with Postgres(fsync=False, wal_writer_delay="10s") as server:
        yield server


def spend_numbers(url: str) -> None:
    """Use up transaction numbers that a crash gives back: of transactions rolled back, and of those nobody waited for."""
    with psycopg.connect(url, autocommit=True, options="-c synchronous_commit=off") as connection:
        for ending in ("ROLLBACK", "COMMIT"):
            connection.execute("BEGIN")
            connection.execute("SELECT pg_current_xact_id()")
            connection.execute("CREATE TABLE IF NOT EXISTS foreign_table ()")
            connection.execute(ending)


def news_of(storage: Storage, cursor: str) -> set[bytes]:
    """Return the runs that got facts since a cursor."""
    return set(wait_for(storage.reader.changes(cursor)).run_keys)


# R089
def test_a_number_given_twice_is_news_to_a_cursor_of_before_the_crash(own: Postgres) -> None:
    url = own.create_database()
    with opened(url) as storage:
        storage.writer.write(batch_of(run_begun("r0")))
        spend_numbers(url)
        cursor = wait_for(storage.reader.latest_cursor())
        own.kill()
        own.start()

    with opened(url) as storage:
        storage.writer.write(batch_of(run_begun("r1")))
        first = news_of(storage, cursor)

    assert {R1} == first


# R089
def test_a_view_is_newer_than_one_of_before_the_crash_whatever_its_numbers(own: Postgres) -> None:
    url = own.create_database()
    with opened(url) as storage:
        storage.writer.write(batch_of(run_begun("r1")))
        spend_numbers(url)
        before = view_of(storage, "r1").version
        own.kill()
        own.start()

    with opened(url) as storage:
        storage.writer.write(batch_of(run_begun("r1", -1)))
        after = view_of(storage, "r1").version

    assert before < after


def restore_from_a_busier_server(url: str) -> None:
    """Leave what a dump brings from a server that has counted a thousand million transactions more."""
    for statement in (
        "UPDATE run_changes SET seq = seq + 1000000000",
        "UPDATE run_dirty SET seq = seq + 1000000000",
        "UPDATE run_traces SET seq = seq + 1000000000",
        "UPDATE runs SET seq = seq + 1000000000, version = version + 1000000000",
        "UPDATE logs SET seq = seq + 1000000000",
        "UPDATE clock SET pruned_seq = pruned_seq + 1000000000",
    ):
        tell(url, statement)


@pytest.fixture
def restored(postgres_url: str) -> Iterator[Storage]:
    """A store with two runs, restored from another server; one was not folded yet."""
    with opened(postgres_url) as storage:
        storage.writer.write(batch_of(run_begun("r1"), log_line("r1", "known", 1)))
        fold_all(storage)
        storage.writer.write(batch_of(run_begun("r2")))
    restore_from_a_busier_server(postgres_url)
    with opened(postgres_url) as storage:
        yield storage


# R089
def test_in_a_restored_store_only_what_comes_now_is_news(restored: Storage) -> None:
    cursor = wait_for(restored.reader.latest_cursor())
    before = news_of(restored, cursor)
    restored.writer.write(batch_of(run_begun("r1", -1)))
    after = news_of(restored, cursor)

    assert (set(), {R1}) == (before, after)


# R089
def test_in_a_restored_store_only_lines_that_come_now_are_new(restored: Storage) -> None:
    view = view_of(restored, "r1")
    restored.writer.write(batch_of(log_line("r1", "new", 2)))

    assert ["new"] == messages_of(restored, "r1", LogQuery(since=view.cursor))
    assert view.version < view_of(restored, "r1").version


def test_in_a_restored_store_the_lists_follow_the_facts(restored: Storage) -> None:
    fold_all(restored)
    cursor = wait_for(restored.reader.list_runs(RunQuery())).cursor
    restored.writer.write(batch_of(run_ended("r1", 9), run_begun("r2", -1)))
    fold_all(restored)
    changed = wait_for(restored.reader.list_changes(cursor)).runs

    assert {"r1": SUCCEEDED, "r2": RUNNING} == {one.run.run_id: one.run.status for one in listed_runs(restored)}
    assert {"r1", "r2"} == {one.run.run_id for one in changed}


def test_a_cursor_from_before_the_restore_goes_on(postgres_url: str) -> None:
    with opened(postgres_url) as storage:
        storage.writer.write(batch_of(run_begun("r0")))
        tell(postgres_url, "UPDATE run_changes SET seq = seq + 1000000000")
        cursor = wait_for(storage.reader.latest_cursor())

    with opened(postgres_url) as storage:
        storage.writer.write(batch_of(run_begun("r1")))

        assert {R1} == news_of(storage, cursor)


def test_opening_a_store_again_changes_no_number(postgres_url: str) -> None:
    with opened(postgres_url) as storage:
        storage.writer.write(batch_of(run_begun("r1")))
        fold_all(storage)
    with opened(postgres_url), opened(postgres_url):
        pass

    assert [(0,)] == ask(postgres_url, "SELECT seq FROM clock")
