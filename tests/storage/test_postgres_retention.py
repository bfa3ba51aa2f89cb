"""Retention in Postgres: days go whole, beside readers, writers, folds and other replicas, and nothing shows of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from collector.answers import Expired
from collector.errors import Unavailable
from collector.model import DEFAULT_PROJECT
from collector.picture import RUNNING, SUCCEEDED
from collector.questions import WHOLE
from collector.rows import DAY_NS
from collector.steady import SOURCE, T0_NS, at, batch_of, log_line, run_begun, task_begun, task_ended
from collector.testing.questions import fold_all, listed_runs, messages_of, view_of
from collector.testing.retention import DAY_S, LATER, expire_all
from collector.testing.stories import story
from otel_bridge.facts import LogLine, ProcessBeat, Work
from otel_bridge.identity import run_key
from storage_plugins.postgres import ground
from storage_plugins.postgres.days import FACT_TABLES, LOCK_PART
from storage_plugins.postgres.storage import PostgresStorage
from storage_plugins.sql.large_runs import LARGE_FACTS
from storage_plugins.sql.tables import partition_name
from storage_plugins.sql.views import view_run
from tests.in_process import eventually
from tests.storage.kept_postgres import counts, keeping
from tests.storage.old_facts import NO_DAY, many
from tests.storage.opened_postgres import ask, deadlocks, hurry, reading, tell
from tests.storage.postgres_processes import start

FIRST_DAY = T0_NS // DAY_NS

TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '_d[1-9]'"
PENDING = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhdetachpending"


@pytest.fixture
def storage(postgres_url: str) -> Iterator[PostgresStorage]:
    """An empty store that keeps facts for two days."""
    with keeping(postgres_url) as storage:
        yield storage


def tables_of(url: str, day: int) -> set[str]:
    """Return which fact tables have a table left for a day after the first, attached or not."""
    found = {name for (name,) in ask(url, TABLES)}
    return {table for table in FACT_TABLES if partition_name(table, FIRST_DAY + day) in found}


# R156
def test_nothing_is_left_of_what_is_too_old(storage: PostgresStorage, postgres_url: str) -> None:
    storage.writer.write(batch_of(*story(), ProcessBeat("p1", at(0), 1000), NO_DAY, LogLine(b"", b"", at(0), "of no run", Work())))
    storage.writer.write(many(3))
    fold_all(storage)

    expired = expire_all(storage)

    assert Expired(facts=9 + 6, runs=1 + 3) == expired
    assert {0} == set(counts(postgres_url).values())
    assert set() == tables_of(postgres_url, 0)


# R156
def test_the_space_of_a_day_is_given_back(storage: PostgresStorage, postgres_url: str) -> None:
    storage.writer.write(many(500))
    sizes = [ask(postgres_url, f"SELECT pg_total_relation_size('{partition_name(table, FIRST_DAY)}')".encode()) for table in FACT_TABLES]

    freed_bytes = 0
    while (expired := storage.writer.expire(LATER)) is not None:
        freed_bytes += expired.freed_bytes

    assert sum(found[0][0] for found in sizes) == freed_bytes > 200_000


# R156
def test_an_open_run_is_read_the_same_before_and_after_its_day_goes(storage: PostgresStorage, postgres_url: str) -> None:
    storage.writer.write(batch_of(run_begun("r1"), task_begun("r1", "a:1", 1), task_ended("r1", "a:1", 2), task_ended("r1", "a:1", 3)))
    storage.writer.write(batch_of(log_line("r1", "still here", 2 * DAY_S), received_s=2 * DAY_S))
    fold_all(storage)
    before, cached = view_of(storage, "r1"), listed_runs(storage)[0].run

    expire_all(storage)
    fold_all(storage)

    after = view_of(storage, "r1")
    assert (before.tasks, before.run.counts, before.run.started_ns) == (after.tasks, after.run.counts, after.run.started_ns)
    assert (cached.counts, cached.status) == (listed_runs(storage)[0].run.counts, RUNNING)
    assert set() == tables_of(postgres_url, 0)
    assert [(0,)] == ask(postgres_url, "SELECT DISTINCT day FROM spans")


# R156
def test_a_view_from_before_the_day_went_is_whole(storage: PostgresStorage, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks for the run in the day, and has not looked yet: the day waits for it."""
    monkeypatch.setattr(ground, "OTHERS_WITHIN_S", 0.1)
    storage.writer.write(batch_of(run_begun("r1"), task_ended("r1", "a:1", 2)))
    storage.writer.write(batch_of(log_line("r1", "still here", 2 * DAY_S), received_s=2 * DAY_S))
    fold_all(storage)
    with storage.snapshot() as connection:
        connection.exec_driver_sql("SELECT 1")
        expire_all(storage)
        seen = view_run(connection, DEFAULT_PROJECT, run_key(SOURCE, "r1"), WHOLE, LARGE_FACTS)
        assert {"spans", "span_moments", "logs"} == tables_of(postgres_url, 0)

    expire_all(storage)

    assert seen is not None
    assert {SUCCEEDED: 1} == seen.run.counts == view_of(storage, "r1").run.counts
    assert set() == tables_of(postgres_url, 0)


# R156
def test_the_greater_of_a_kept_fact_and_one_of_no_day_stays(storage: PostgresStorage, postgres_url: str) -> None:
    storage.writer.write(batch_of(run_begun("r1"), task_ended("r1", "a:1", 5)))
    tell(postgres_url, 'INSERT INTO spans SELECT (jsonb_populate_record(s, \'{"day": 0, "rank": 0, "name": "less"}\')).* FROM spans AS s')
    storage.writer.write(batch_of(log_line("r1", "still here", 2 * DAY_S), received_s=2 * DAY_S))
    fold_all(storage)

    expire_all(storage)

    assert [("a:1", 0)] == ask(postgres_url, "SELECT name, day FROM spans")


# R097
def test_dropping_a_day_beside_a_long_reader_holds_up_no_writer(each_postgres_url: str) -> None:
    """Neither one that commits nor one that makes days: each would fail after 5 s."""
    with keeping(each_postgres_url) as storage, keeping(each_postgres_url) as other:
        storage.writer.write(many(20))
        hurry(each_postgres_url)
        over = threading.Event()
        written: list[int] = []

        def write() -> None:
            while not over.is_set():
                day = 6 + len(written) % 30  # those before are made by the sweep itself
                other.writer.write(batch_of(run_begun(f"r{len(written)}", day * DAY_S), received_s=day * DAY_S))
                written.append(day)

        thread = threading.Thread(target=write)
        with reading(each_postgres_url):
            thread.start()
            try:
                expire_all(storage)
                pending = ask(each_postgres_url, PENDING)
                expire_all(storage)
                eventually(lambda: len(written) > 30)
            finally:
                over.set()
                thread.join()
        expire_all(storage)

    assert 1 == len(pending)
    assert len(written) == counts(each_postgres_url)["span_moments"]
    assert (set(), 0) == (tables_of(each_postgres_url, 0), deadlocks(each_postgres_url))


# R097
def test_a_day_that_waited_for_a_reader_goes_when_the_reader_has_gone(storage: PostgresStorage, postgres_url: str) -> None:
    storage.writer.write(many(3))
    with reading(postgres_url):
        expire_all(storage)
        assert [(partition_name("logs", FIRST_DAY),)] == ask(postgres_url, PENDING)

    storage.writer.expire(LATER)
    storage.writer.expire(LATER)

    assert {"spans", "span_moments"} == tables_of(postgres_url, 0)
    expire_all(storage)
    assert set() == tables_of(postgres_url, 0)


# R097
def test_who_makes_a_day_does_not_wait_for_who_makes_or_drops_another(storage: PostgresStorage, postgres_url: str) -> None:
    hurry(postgres_url)
    with keeping(postgres_url) as other, psycopg.connect(postgres_url) as maker:
        for table in FACT_TABLES:
            maker.execute(LOCK_PART, (partition_name(table, FIRST_DAY),))
        other.writer.write(batch_of(run_begun("r1", DAY_S), received_s=DAY_S))

    assert ["r1"] == [view_of(storage, "r1").run.run_id]


# R156
@pytest.mark.parametrize("steps", [1, 3, 6, 9, 12])
def test_a_sweep_whose_process_is_killed_is_finished_by_another(storage: PostgresStorage, postgres_url: str, steps: int) -> None:
    storage.writer.write(batch_of(*story(), NO_DAY))
    storage.writer.write(many(150))
    fold_all(storage)
    process = start("expire", postgres_url)
    assert process.stdin is not None and process.stdout is not None
    for _ in range(steps):
        process.stdout.readline()
        process.stdin.write("\n")
        process.stdin.flush()
    process.kill()
    process.communicate()

    eventually(lambda: storage.writer.expire(LATER) is not None or counts(postgres_url)["run_traces"] == 0)
    expire_all(storage)

    assert {0} == set(counts(postgres_url).values())
    assert set() == tables_of(postgres_url, 0)


# R156
def test_one_replica_sweeps_at_a_time(storage: PostgresStorage, postgres_url: str) -> None:
    storage.writer.write(many(3))
    with keeping(postgres_url) as first:
        assert first.writer.expire(LATER) is not None
        assert storage.writer.expire(LATER) is None

    assert storage.writer.expire(LATER) is not None


# R156
def test_a_fact_of_a_day_that_has_gone_makes_the_day_again(storage: PostgresStorage, postgres_url: str) -> None:
    storage.writer.write(batch_of(*story()))
    expire_all(storage)

    storage.writer.write(batch_of(log_line("r1", "of a slow clock", 1)))

    assert ["of a slow clock"] == messages_of(storage, "r1")
    expire_all(storage, LATER + DAY_NS)
    assert (set(), {0}) == (tables_of(postgres_url, 0), set(counts(postgres_url).values()))


# R156
def test_a_sweep_that_has_lost_its_lock_ends_and_another_begins(storage: PostgresStorage, postgres_url: str) -> None:
    storage.writer.write(many(3))
    storage.writer.expire(LATER)
    tell(postgres_url, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")

    with pytest.raises(Unavailable):
        storage.writer.expire(LATER)
    expire_all(storage)

    assert 0 == counts(postgres_url)["spans"]
