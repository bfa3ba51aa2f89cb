"""Each day's facts are in partitions of their own, made beside readers and writers, and made again if they are gone."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from collector.batch import Batch
from collector.rows import DAY_NS
from collector.steady import T0_NS, at, batch_of, log_line, run_begun, run_ended, task_begun, task_ended
from collector.testing.questions import everything_of, messages_of
from storage_plugins.postgres.days import FACT_TABLES
from storage_plugins.postgres.storage import PostgresStorage
from storage_plugins.sql.tables import partition_name
from tests.in_process import PATIENCE_S, eventually
from tests.storage.opened_postgres import ask, hurry, opened, reading, tell

DAY_S = 86_400
TODAY = T0_NS // DAY_NS

PARTITIONS = "SELECT relname FROM pg_class JOIN pg_inherits ON pg_class.oid = inhrelid WHERE relkind = 'r' AND NOT inhdetachpending"


@pytest.fixture
def storage(postgres_url: str) -> Iterator[PostgresStorage]:
    """A store with a run of today."""
    with opened(postgres_url) as storage:
        storage.writer.write(of_day(0))
        yield storage


def of_day(day: int) -> Batch:
    """Return a run's facts, so many days after today."""
    seconds = day * DAY_S
    lines = [log_line("r1", f"of day {day}", seconds + 2, "load:1")]
    ended = [task_ended("r1", "load:1", seconds + 3), run_ended("r1", seconds + 4)]
    return batch_of(run_begun("r1", seconds), task_begun("r1", "load:1", seconds + 1), *lines, *ended, received_s=seconds)


def partitions_of(url: str, day: int) -> set[str]:
    """Return which fact tables have a partition for a day after today."""
    found = {name for (name,) in ask(url, PARTITIONS)}
    return {table for table in FACT_TABLES if partition_name(table, TODAY + day) in found}


def test_a_day_is_made_beside_a_reader_and_a_writer_that_take_their_time(postgres_url: str) -> None:
    hurry(postgres_url)
    with opened(postgres_url) as storage:
        storage.writer.write(of_day(0))
        with reading(postgres_url), psycopg.connect(postgres_url) as writer:
            writer.execute("UPDATE spans SET name = name")
            storage.writer.write(of_day(1))

    assert {"spans", "span_moments", "logs"} == partitions_of(postgres_url, 1)


@pytest.mark.parametrize("staged", [False, True])
def test_a_day_that_another_process_dropped_is_made_again(storage: PostgresStorage, postgres_url: str, staged: bool) -> None:
    if staged:
        storage.writer.write(of_day(0))
    for table in FACT_TABLES:
        tell(postgres_url, f"DROP TABLE {partition_name(table, TODAY)}".encode())
    storage.writer.write(of_day(0))

    assert ["of day 0"] == messages_of(storage, "r1")
    assert {"spans", "span_moments", "logs"} == partitions_of(postgres_url, 0)


@pytest.mark.parametrize("staged", [False, True])
def test_a_day_that_was_detached_and_not_dropped_is_attached_again(storage: PostgresStorage, postgres_url: str, staged: bool) -> None:
    if staged:
        storage.writer.write(of_day(0))
    before = everything_of(storage, "r1")
    for table in FACT_TABLES:
        tell(postgres_url, f"ALTER TABLE {table} DETACH PARTITION {partition_name(table, TODAY)}".encode())
    storage.writer.write(of_day(0))

    assert before == everything_of(storage, "r1")


def test_a_day_whose_dropping_was_interrupted_takes_facts_again(storage: PostgresStorage, postgres_url: str) -> None:
    before = everything_of(storage, "r1")
    with reading(postgres_url):
        interrupt_detaching(postgres_url, "spans")
    storage.writer.write(of_day(0))

    assert before == everything_of(storage, "r1")
    assert {"spans", "span_moments", "logs"} == partitions_of(postgres_url, 0)


def interrupt_detaching(url: str, table: str) -> None:
    """Leave a partition half detached, as a process that is killed does: it waits for a reader then."""

    def detach() -> None:
        with psycopg.connect(url, autocommit=True) as connection, pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute(f"ALTER TABLE {table} DETACH PARTITION {partition_name(table, TODAY)} CONCURRENTLY".encode())

    thread = threading.Thread(target=detach)
    thread.start()
    eventually(lambda: ask(url, "SELECT 1 FROM pg_inherits WHERE inhdetachpending") == [(1,)])
    tell(url, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE%%' AND pid <> pg_backend_pid()")
    thread.join(PATIENCE_S)


def test_two_replicas_that_find_a_new_day_at_once_make_it_once(postgres_url: str) -> None:
    with opened(postgres_url) as one, opened(postgres_url) as other:
        for day in range(1, 6):
            ready = threading.Barrier(2)

            def write(storage: PostgresStorage, day: int = day, ready: threading.Barrier = ready) -> None:
                ready.wait(PATIENCE_S)
                storage.writer.write(of_day(day))

            threads = [threading.Thread(target=write, args=(storage,)) for storage in (one, other)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        assert [f"of day {day}" for day in range(1, 6)] == messages_of(one, "r1")


def test_a_start_that_no_clock_should_say_makes_no_partition(storage: PostgresStorage, postgres_url: str) -> None:
    far = 400 * DAY_S
    storage.writer.write(batch_of(run_begun("r2", far), run_ended("r2", far + 1), log_line("r2", "hello", far), received_s=0))

    assert set() == partitions_of(postgres_url, 400)
    assert [(0,)] == ask(postgres_url, "SELECT DISTINCT day FROM span_moments WHERE time_ns = %s", at(far))
