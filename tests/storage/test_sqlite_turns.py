"""Who waits for whom: in memory one writes or many read, and nobody is told that it is locked; in a file readers wait for nobody."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from collector.steady import batch_of, run_begun
from collector.testing.questions import listed_runs
from storage_plugins.sqlite.storage import CACHE_BUSY_MS, SqliteStorage
from storage_plugins.sqlite.turns import Turns
from tests.in_process import PATIENCE_S, eventually

# Longer than SQLite itself waits.
LONG_S = 3 * CACHE_BUSY_MS / 1000


@pytest.fixture
def storage() -> Iterator[SqliteStorage]:
    """A store in memory that has folded before, and has something to fold."""
    storage = SqliteStorage("memory:", fold_every_ms=0)
    storage.open()
    storage.writer.write(batch_of(run_begun("first")))
    storage.writer.fold(0)
    storage.writer.write(batch_of(run_begun("second")))
    yield storage
    storage.close()


def assert_waits(work: Future[object]) -> None:
    with pytest.raises(TimeoutError):
        work.result(LONG_S)


# R083
def test_a_fold_in_memory_waits_for_a_read_that_takes_long(storage: SqliteStorage) -> None:
    with ThreadPoolExecutor(1) as threads:
        with storage.snapshot() as reading:
            reading.exec_driver_sql("SELECT * FROM runs").all()
            fold: Future[object] = threads.submit(storage.writer.fold, 0)
            assert_waits(fold)
        fold.result(PATIENCE_S)

    assert ["first", "second"] == sorted(one.run.run_id for one in listed_runs(storage))


def test_two_may_read_a_store_in_memory_at_once(storage: SqliteStorage) -> None:
    with storage.snapshot() as reading:
        reading.exec_driver_sql("SELECT * FROM runs").all()

        assert ["first"] == [one.run.run_id for one in listed_runs(storage)]


def test_a_first_read_of_a_file_waits_for_nobody_who_writes(tmp_path: Path) -> None:
    storage = SqliteStorage(f"sqlite:///{tmp_path}/flowspan.db", fold_every_ms=0)
    storage.open()
    with closing(storage), closing(sqlite3.connect(tmp_path / "flowspan.db", isolation_level=None)) as another_program:
        another_program.execute("BEGIN IMMEDIATE")
        with storage.snapshot() as held, storage.snapshot() as another:
            assert [] == held.exec_driver_sql("SELECT * FROM runs").all() == another.exec_driver_sql("SELECT * FROM runs").all()
        another_program.execute("ROLLBACK")


def test_who_comes_to_read_while_a_writer_waits_comes_after_it() -> None:
    turns = Turns()
    told: list[str] = []

    def write() -> None:
        with turns:
            told.append("written")

    def read() -> None:
        with turns.reading():
            told.append("read")

    with ThreadPoolExecutor(2) as threads:
        with turns.reading():
            writing = threads.submit(write)
            eventually(turns._door.locked)
            reading: Future[object] = threads.submit(read)
            assert_waits(reading)
            told.append("left")
        writing.result(PATIENCE_S)

    assert ["left", "written", "read"] == told
