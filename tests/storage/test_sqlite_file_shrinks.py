"""A SQLite file shrinks as its facts are deleted, if it was made so that it can."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from collector.batch import Batch
from collector.steady import batch_of, plain_span
from collector.testing.questions import fold_all
from collector.testing.retention import LATER, expire_all
from storage_plugins.sqlite.storage import SqliteStorage


def keeping(path: Path) -> SqliteStorage:
    """Open the store, and let it keep facts for two days."""
    storage = SqliteStorage(f"sqlite:///{path}", 0, 2)
    storage.open()
    return storage


def many(count: int) -> Batch:
    """Return so many plain traces of the first day."""
    return batch_of(*(plain_span(trace, 1, "GET /", 0) for trace in range(1, count + 1)))


# R156
def test_the_file_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "flowspan.db"
    storage = keeping(path)
    storage.writer.write(many(2000))
    fold_all(storage)
    storage.close()
    before = path.stat().st_size
    again = keeping(path)

    freed_bytes = 0
    while (expired := again.writer.expire(LATER)) is not None:
        freed_bytes += expired.freed_bytes
    again.close()

    assert path.stat().st_size < before / 4
    assert path.stat().st_size + freed_bytes == before


# R156
def test_a_file_that_cannot_shrink_uses_its_pages_again(tmp_path: Path) -> None:
    path = tmp_path / "flowspan.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("CREATE TABLE made_before (x)")
        connection.execute("DROP TABLE made_before")
    storage = keeping(path)
    storage.writer.write(many(500))
    expire_all(storage)
    before = path.stat().st_size

    storage.writer.write(many(400))
    storage.close()

    assert before == path.stat().st_size
