"""Writes to one SQLite file: facts with a full sync before it returns, the fold's cache without one (it can be made again).

One transaction at a time, held by a lock of ours: SQLite's own waiting polls, and up to 100 ms apart.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from collector.errors import Rejected, Unavailable
from collector.model import Batch, Touched
from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.folding import MOST_RUNS, Mark, fold_marks, pending_marks, write_round
from storage_plugins.sql.news import prune
from storage_plugins.sqlite import statements

NS = 10**9
# Rounds of folding between two looks at whether old news can go.
PRUNE_EVERY = 20
# Runs whose last fold is remembered before the quiet ones are forgotten.
MOST_FOLDED_AT = 10_000
# Content SQLite will never take, whoever asks; everything else may work later.
REFUSED = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError, UnicodeError)


class SqliteWriter:
    """collector.storage.Writer for one SQLite database."""

    def __init__(self, facts: sqlite3.Connection, reads: Engine, cache: Engine, fold_every_ms: int) -> None:
        """facts: a connection of our own in autocommit mode, synchronous=FULL. reads, cache: engines for the fold's two halves."""
        self._facts = facts
        self._reads = reads
        self._cache = cache
        self._fold_every_s = fold_every_ms / 1000
        self._lock = threading.Lock()
        self._folding = threading.Lock()
        self._catalogue = Catalogue()
        self._folded_at: dict[bytes, float] = {}
        self._rounds = 0

    def write(self, batch: Batch) -> None:
        """See collector.storage.Writer."""
        touched = batch.touched()
        with self._lock, self._transaction() as connection:
            (seq,) = connection.execute(statements.TICK).fetchone()
            self._write_facts(connection, batch, seq)
            self._write_news(connection, touched, batch, seq)

    def _write_facts(self, connection: sqlite3.Connection, batch: Batch, seq: int) -> None:
        connection.executemany(statements.RESOURCES, batch.resources.values())
        connection.executemany(statements.SCOPES, batch.scopes.values())
        connection.executemany(statements.SPANS, statements.with_seq(batch.spans, seq))
        connection.executemany(statements.MOMENTS, statements.with_seq(batch.moments, seq))
        connection.executemany(statements.LOGS, statements.with_seq(batch.logs, seq))
        connection.executemany(statements.PROCESSES, batch.processes)

    def _write_news(self, connection: sqlite3.Connection, touched: list[Touched], batch: Batch, seq: int) -> None:
        project = next((rows[0].project for rows in (batch.spans, batch.moments, batch.logs) if rows), 0)
        heard_ns = max((row.received_ns for rows in (batch.spans, batch.moments, batch.logs) for row in rows[:1]), default=0)
        traces = [(project, one.run_key, one.trace_id, one.source, one.run_id, one.generation, seq) for one in touched]
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
        """See collector.storage.Writer. One round at a time; the lock is held for the writing only."""
        try:
            with self._folding:
                return self._fold_round(now_ns)
        except DBAPIError as error:
            self._catalogue.forget()
            raise Unavailable(f"runs cannot be folded just now: {error.orig}") from error

    def _fold_round(self, now_ns: int) -> float | None:
        now = time.monotonic()
        with self._snapshot() as connection:
            waits = {mark: self._wait_s(mark, now) for mark in pending_marks(connection, now_ns)}
            due = [mark for mark, wait_s in waits.items() if wait_s <= 0]
            done = fold_marks(connection, due, now_ns)
        if due:
            with self._lock, self._cache.begin() as connection:
                write_round(connection, done, self._catalogue, now_ns)
                self._prune_now_and_then(connection)
            self._folded_at |= dict.fromkeys((one.picture.run.run_key for one in done.folded), time.monotonic())
        self._forget_quiet_runs(now)
        if due and len(waits) >= MOST_RUNS:  # there may be more, which this round has not seen
            return 0.0
        return min((wait_s for wait_s in waits.values() if wait_s > 0), default=None)

    def _wait_s(self, mark: Mark, now: float) -> float:
        last = max((self._folded_at.get(run_key, 0.0) for run_key in mark.runs), default=0.0)
        return last + self._fold_every_s - now

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        with self._reads.connect() as connection, connection.begin():
            yield connection

    def _prune_now_and_then(self, connection: Connection) -> None:
        self._rounds += 1
        if self._rounds % PRUNE_EVERY == 0:
            prune(connection)

    def _forget_quiet_runs(self, now: float) -> None:
        if len(self._folded_at) > MOST_FOLDED_AT:
            self._folded_at = {key: at for key, at in self._folded_at.items() if now - at < self._fold_every_s}
