"""The SQLite storage: opening, pragmas, and which connection does what."""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from collector.errors import Unavailable
from collector.settings import Settings
from storage_plugins.migrations import bring_up_to_date
from storage_plugins.sql.reader import READERS, SqlReader
from storage_plugins.sql.rounds import Rounds
from storage_plugins.sqlite.retention import Access, SqliteRetention
from storage_plugins.sqlite.turns import Turns
from storage_plugins.sqlite.writer import SqliteWriter

# How long SQLite waits for another program's lock before it says that it is busy. The cache's writer gives up soon: it holds our own lock
# meanwhile, and what it cannot write now it folds again later.
BUSY_MS = 5_000
CACHE_BUSY_MS = 100

_memories = itertools.count(1)


class SqliteStorage:
    """collector.storage.Storage in one file, or in memory with the same tables and statements."""

    name = "sqlite"
    shared = False
    writer: SqliteWriter
    reader: SqlReader

    def __init__(self, url: str, fold_every_ms: int, retention_days: int = 0) -> None:
        """url: `sqlite:///path/to/file`, or `memory:` for a store that goes with the process. retention_days: 0 = keep for ever."""
        self._fold_every_ms = fold_every_ms
        self._retention_days = retention_days
        self._path = None if url == "memory:" else Path(make_url(url).database or "")
        # The memdb VFS is one database for all connections of this process, as long as one is open.
        self._target = f"file:/flowspan-{os.getpid()}-{next(_memories)}?vfs=memdb" if self._path is None else self._path.absolute().as_uri()
        self._turns = Turns() if self._path is None else None
        self._facts: sqlite3.Connection | None = None
        self._engine: Engine | None = None
        self._cache: Engine | None = None
        self._sweeps: Engine | None = None

    def open(self) -> None:
        """See Storage."""
        try:
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            self._facts = self._connect("FULL", BUSY_MS)
            self._engine = self._make_engine(READERS + 2, BUSY_MS)  # beside the readers: the fold, and retention
            self._cache = self._make_engine(1, CACHE_BUSY_MS)
            self._sweeps = self._make_engine(1, CACHE_BUSY_MS)
            event.listen(self._sweeps, "connect", _leave_checkpoints)
            bring_up_to_date(self._engine)
        except (OSError, sqlite3.Error, DBAPIError) as error:
            self.close()
            raise Unavailable(f"cannot open {self._path or 'a store in memory'}: {getattr(error, 'orig', error)}") from error
        rounds, lock = Rounds(self._fold_every_ms), self._turns or threading.Lock()
        retention = SqliteRetention(Access(self.snapshot, self._sweeps, lock), rounds, self._retention_days)
        self.writer = SqliteWriter(self._facts, self.snapshot, self._cache, rounds, retention, lock)
        self.reader = SqlReader(self.snapshot)

    def migrate(self) -> tuple[str, str]:
        """See Storage."""
        try:
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            self._engine = self._make_engine(1, BUSY_MS)
            return bring_up_to_date(self._engine)
        except (OSError, sqlite3.Error, DBAPIError) as error:
            raise Unavailable(f"cannot open {self._path or 'a store in memory'}: {getattr(error, 'orig', error)}") from error
        finally:
            self.close()

    def listen(self, hint: Callable[[], None]) -> None:
        """See Storage. One process has it all."""

    def close(self) -> None:
        """See Storage. May be called twice, and after a failed open."""
        if hasattr(self, "reader"):
            self.reader.close()
        for engine in (self._engine, self._cache, self._sweeps):
            if engine is not None:
                engine.dispose()
        if self._facts is not None:
            self._facts.close()
        self._engine = self._cache = self._sweeps = self._facts = None

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Open a transaction that sees one moment of the store."""
        assert self._engine is not None
        with self._turns.reading() if self._turns else nullcontext(), self._engine.connect() as connection, connection.begin():
            yield connection

    def _connect(self, synchronous: str, busy_ms: int) -> sqlite3.Connection:
        """synchronous: FULL for facts (200 means committed), NORMAL for reads and the cache (a lost fold is made again from its mark)."""
        connection = sqlite3.connect(self._target, uri=True, isolation_level=None, check_same_thread=False, timeout=busy_ms / 1000)
        # Only a new file can be made to give free pages back, and only before its first page is written. Ingest pays 1-2 % for it (2026-11).
        # To one that has pages it would be a write: whoever reads would wait for those who write, and in memory for those who read.
        if connection.execute("PRAGMA page_count").fetchone() == (0,):
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        for pragma in ("journal_mode = WAL", f"synchronous = {synchronous}", "foreign_keys = OFF"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _make_engine(self, connections: int, busy_ms: int) -> Engine:
        engine = create_engine(
            "sqlite+pysqlite://",
            creator=lambda: self._connect("NORMAL", busy_ms),
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
        )
        # The driver is in autocommit mode, so that a transaction begins where we say: a read sees one snapshot from its first statement on.
        event.listen(engine, "begin", _begin)
        return engine


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN")


def _leave_checkpoints(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA wal_autocheckpoint = 0")


def storage_for(settings: Settings) -> SqliteStorage | None:
    """Return the storage for a SQLite address, None for any other."""
    url = settings.storage_url()
    if url == "memory:" or url.startswith("sqlite:"):
        return SqliteStorage(url, settings.fold_every_ms, settings.retention_days)
    return None
