"""The Postgres storage: opening, and which connection does what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from collector.errors import Unavailable
from storage_plugins.migrations import make_or_check, migrate
from storage_plugins.postgres.connections import READ_WITHIN_S, Server, reason_of
from storage_plugins.postgres.hints import Hints
from storage_plugins.postgres.retention import PostgresRetention
from storage_plugins.postgres.writer import PostgresWriter
from storage_plugins.sql.news import go_on_counting
from storage_plugins.sql.reader import READERS, SqlReader
from storage_plugins.sql.rounds import Rounds


class PostgresStorage:
    """collector.storage.Storage in one database, which any number of processes may share."""

    name = "postgres"
    shared = True
    writer: PostgresWriter
    reader: SqlReader

    def __init__(self, url: str, fold_every_ms: int, retention_days: int = 0) -> None:
        """url: `postgresql://user@host/database`, as libpq takes it. retention_days: 0 = keep for ever."""
        self._server = Server(url)
        self._fold_every_ms = fold_every_ms
        self._retention_days = retention_days
        self._reads: Engine | None = None
        self._cache: Engine | None = None
        self._hints = Hints(self._server)

    def open(self) -> None:
        """See Storage."""
        self._reads = self._server.make_engine(READERS + 1, isolation="REPEATABLE READ")  # beside the readers: retention
        self._cache = self._server.make_engine(1, isolation="READ COMMITTED")
        with _reachable():
            make_or_check(self._cache)
            with self._cache.begin() as connection:
                go_on_counting(connection)
        retention = PostgresRetention(self._server, self.snapshot, self._retention_days)
        self.writer = PostgresWriter(self._server, self._cache, Rounds(self._fold_every_ms), retention, self._hints.committed)
        self.reader = SqlReader(self.snapshot)

    def migrate(self) -> tuple[str, str]:
        """See Storage."""
        engine = self._server.make_engine(2, isolation="READ COMMITTED")
        try:
            with _reachable():
                return migrate(engine)
        finally:
            engine.dispose()

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Open a transaction that sees one moment of the store."""
        assert self._reads is not None
        with self._server.begin(self._reads, READ_WITHIN_S) as connection:
            yield connection

    def listen(self, hint: Callable[[], None]) -> None:
        """See Storage."""
        self._hints.start(hint)

    def close(self) -> None:
        """See Storage. May be called after a failed open."""
        self._hints.stop()
        if hasattr(self, "writer"):
            self.reader.close()
            self.writer.close()
        for engine in (self._reads, self._cache):
            if engine is not None:
                engine.dispose()
        self._server.close()


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        raise Unavailable(f"cannot open the database: {reason_of(error)}") from error
