"""Writes to one SQLite file: facts with a full sync before it returns, the fold's cache without one (it can be made again).

One transaction at a time, held by a lock of ours: SQLite's own waiting polls, and up to 100 ms apart.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from collector.answers import Expired
from collector.batch import Batch, Touched
from collector.errors import Rejected, Unavailable
from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.rounds import Rounds
from storage_plugins.sqlite import statements
from storage_plugins.sqlite.retention import SqliteRetention

# Folds are numbered too, and not synced: if the machine loses its power their numbers are given again. The first write of a process leaves
# so many out, or a reader's cursor from before would take new facts for known.
FIRST_STEP = 1_000_000
# Content SQLite will never take, whoever asks; everything else may work later.
REFUSED = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError, UnicodeError)


class SqliteWriter:
    """collector.storage.Writer for one SQLite database."""

    at_once = 1

    def __init__(
        self,
        facts: sqlite3.Connection,
        snapshot: Callable[[], AbstractContextManager[Connection]],
        cache: Engine,
        rounds: Rounds,
        retention: SqliteRetention,
        lock: AbstractContextManager[object],
    ) -> None:
        """facts: a connection of our own in autocommit mode, synchronous=FULL. snapshot, cache: for the fold's two halves.

        lock: held by whoever writes; retention does, too.
        """
        self._facts = facts
        self._snapshot = snapshot
        self._cache = cache
        self._lock = lock
        self._catalogue = Catalogue()
        self._rounds = rounds
        self._retention = retention
        self._step = FIRST_STEP

    def write(self, batch: Batch) -> None:
        """See collector.storage.Writer."""
        touched = batch.touched()
        with self._lock, self._transaction() as connection:
            (seq,) = connection.execute(statements.TICK, (self._step,)).fetchone()
            self._write_facts(connection, batch, seq)
            self._write_news(connection, touched, batch, seq)
        self._step = 1

    def _write_facts(self, connection: sqlite3.Connection, batch: Batch, seq: int) -> None:
        connection.executemany(statements.RESOURCES, batch.resources.values())
        connection.executemany(statements.SCOPES, batch.scopes.values())
        connection.executemany(statements.SPANS, statements.with_seq(batch.spans, seq))
        for columns in batch.span_columns:
            connection.executemany(statements.SPANS, statements.tuples_of(columns.arrow, seq))
        connection.executemany(statements.MOMENTS, statements.with_seq(batch.moments, seq))
        connection.executemany(statements.LOGS, statements.with_seq(batch.logs, seq))
        connection.executemany(statements.PROCESSES, batch.processes)

    def _write_news(self, connection: sqlite3.Connection, touched: list[Touched], batch: Batch, seq: int) -> None:
        project, heard_ns = batch.origin()
        traces = [(project, *one, seq) for one in touched]
        connection.executemany(statements.RUN_TRACES, traces)
        connection.executemany(statements.RUN_CHANGES, [(seq, project, one.run_key, one.trace_id, heard_ns) for one in touched])
        connection.executemany(statements.RUN_DIRTY, [(project, one.run_key, one.trace_id, seq) for one in touched])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._facts
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except REFUSED as error:
            self._roll_back()
            raise Rejected(f"the store refuses this content: {error}") from error
        except sqlite3.Error as error:
            self._roll_back()
            raise Unavailable(f"the store cannot be written just now: {error}") from error

    def _roll_back(self) -> None:
        """After a full disk SQLite may have rolled back by itself; then there is nothing left to undo."""
        if self._facts.in_transaction:
            self._facts.execute("ROLLBACK")

    def fold(self, now_ns: int) -> float | None:
        """See collector.storage.Writer. The lock is held for the writing only."""
        try:
            with self._rounds.one_at_a_time():
                with self._snapshot() as connection:
                    plan = self._rounds.read(connection, now_ns)
                if plan.due:
                    with self._lock, self._cache.begin() as connection:
                        self._rounds.write(connection, plan, self._catalogue, now_ns)
                return self._rounds.finish(plan)
        except DBAPIError as error:
            self._catalogue.forget()
            raise Unavailable(f"runs cannot be folded just now: {error.orig}") from error

    def expire(self, now_ns: int) -> Expired | None:
        """See collector.storage.Writer."""
        return self._retention.step(now_ns)
