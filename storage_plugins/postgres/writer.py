"""Writes facts to Postgres: rows straight in by binary COPY, and by a staging table while duplicates come in. Two transactions at a time."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from collector.answers import Expired
from collector.batch import Batch
from collector.errors import Rejected, Unavailable
from collector.model import ProcessRow, ResourceRow, ScopeRow
from collector.rows import DAY_NS
from storage_plugins.postgres import statements
from storage_plugins.postgres.connections import FOLD_WITHIN_S, WRITE_WITHIN_S, Driver, Server, reason_of
from storage_plugins.postgres.copying import copy_rows, copy_spans
from storage_plugins.postgres.days import HOLD_OLD_DAYS, Days
from storage_plugins.postgres.retention import PostgresRetention
from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.news import SEQ
from storage_plugins.sql.rounds import Rounds

# Two binary COPYs at once write up to 1.5 times what one does; a third waits for the others' locks.
WRITERS = 2
# After a duplicate came, so many batches go by the staging table: a sender that resends does not resend one batch alone.
STAGED_BATCHES = 20
# Resources and scopes this process has stored lately. Past it all are forgotten, which costs a look at each.
MOST_KNOWN = 50_000

# Content Postgres will never take, whoever asks; everything else may work later.
REFUSED = (errors.DataError, errors.NotNullViolation, errors.ProgramLimitExceeded, OverflowError, UnicodeError)

RESOURCES = statements.known_by_content("resources", ResourceRow._fields)
SCOPES = statements.known_by_content("scopes", ScopeRow._fields)


@dataclass(slots=True)
class Lane:
    """One connection that writes, made when it is needed. staged: batches that still go by the staging tables."""

    driver: Driver | None = None
    staged: int = 0


class PostgresWriter:
    """collector.storage.Writer for one database."""

    at_once = WRITERS

    def __init__(self, server: Server, cache: Engine, rounds: Rounds, retention: PostgresRetention, committed: Callable[[], None]) -> None:
        """cache: an engine for the fold, READ COMMITTED. committed: told after every commit and fold."""
        self._server = server
        self._cache = cache
        self._rounds = rounds
        self._retention = retention
        self._committed = committed
        self._catalogue = Catalogue()
        self._days = Days()
        self._known: set[bytes] = set()
        self._lanes: queue.LifoQueue[Lane] = queue.LifoQueue()
        for _ in range(WRITERS):
            self._lanes.put(Lane())

    def close(self) -> None:
        """Close the connections."""
        self._retention.close()
        for _ in range(WRITERS):
            self._lose(self._lanes.get())

    # --- facts ---------------------------------------------------------------------------------------------------------------------------

    def write(self, batch: Batch) -> None:
        """See collector.storage.Writer."""
        with self._lane() as lane, self._answerable(lane) as driver, self._server.deadlines.within(WRITE_WITHIN_S, driver):
            self._write_ahead(driver, batch)
            while not self._commit_unless_in_the_way(lane, driver, batch):
                pass
        self._committed()

    def _commit_unless_in_the_way(self, lane: Lane, driver: Driver, batch: Batch) -> bool:
        """Commit, or take away what is in the way. A day that was dropped may be attached again, with some of these facts in it."""
        try:
            self._commit(lane, driver, batch)
        except errors.UniqueViolation:
            lane.staged = STAGED_BATCHES
            return False
        except errors.CheckViolation:  # a day was dropped since we knew it
            self._days.forget()
            self._days.ensure(driver, _days_of(batch))
            return False
        return True

    def _write_ahead(self, driver: Driver, batch: Batch) -> None:
        """Make what the facts point to, in transactions of its own: it may be there though they fail, and does no harm."""
        # Tomorrow's too: at midnight nobody waits, though somebody may be dropping a day just then.
        today = time.time_ns() // DAY_NS
        self._days.ensure(driver, _days_of(batch) | {today, today + 1})
        for statement, rows in ((RESOURCES, batch.resources), (SCOPES, batch.scopes)):
            new = sorted(key for key in rows if key not in self._known)
            if new:
                with driver.transaction(), driver.cursor() as cursor:
                    cursor.executemany(statement, [rows[key] for key in new])
                if len(self._known) > MOST_KNOWN:
                    self._known.clear()
                self._known.update(new)

    def _commit(self, lane: Lane, driver: Driver, batch: Batch) -> None:
        """Write everything in one transaction; tables and rows in one order everywhere, so that no two writers wait in a circle."""
        staged = lane.staged > 0
        with driver.transaction(), driver.cursor() as cursor:
            (seq,) = cursor.execute(SEQ).fetchone() or ()
            if batch.span_columns:
                copy_spans(cursor, batch, seq, staged=staged)
            elif batch.spans:
                copy_rows(cursor, statements.SPANS, batch.spans, seq, staged=staged)
            for how, rows in ((statements.MOMENTS, batch.moments), (statements.LOGS, batch.logs)):
                if rows:
                    copy_rows(cursor, how, rows, seq, staged=staged)
            _touch(cursor, batch, seq)
            _hear(cursor, batch.processes)
        lane.staged = max(lane.staged - 1, 0)

    @contextmanager
    def _lane(self) -> Iterator[Lane]:
        lane = self._lanes.get()
        try:
            yield lane
        finally:
            self._lanes.put(lane)

    @contextmanager
    def _answerable(self, lane: Lane) -> Iterator[Driver]:
        """Lend the lane's connection; turn what the server says into what the sender should do."""
        try:
            if lane.driver is None:
                lane.driver = self._server.connect()
            yield lane.driver
        except REFUSED as error:
            raise Rejected(f"the store refuses this content: {reason_of(error)}") from error
        except psycopg.Error as error:
            self._lose(lane)
            raise Unavailable("the store cannot be written just now: send it again later", reason_of(error)) from error

    def _lose(self, lane: Lane) -> None:
        if lane.driver is not None:
            lane.driver.close()
        lane.driver = None

    # --- the cache -----------------------------------------------------------------------------------------------------------------------

    def fold(self, now_ns: int) -> float | None:
        """See collector.storage.Writer. What another replica folds at this moment is left to it."""
        try:
            with self._rounds.one_at_a_time():
                with self._server.begin(self._cache, FOLD_WITHIN_S) as connection:
                    # A large run is folded here between two statements: the server takes that for idleness.
                    connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{FOLD_WITHIN_S:.0f}s'")
                    plan = self._rounds.read(connection, now_ns)
                    if plan.due:
                        self._rounds.write(connection, plan, self._catalogue, now_ns)
                if plan.due:
                    self._committed()
                return self._rounds.finish(plan)
        except (DBAPIError, psycopg.Error) as error:
            self._catalogue.forget()
            raise Unavailable("runs cannot be folded just now", reason_of(error)) from error

    def expire(self, now_ns: int) -> Expired | None:
        """See collector.storage.Writer."""
        return self._retention.step(now_ns)


def _days_of(batch: Batch) -> set[int]:
    days = {row.day for rows in (batch.spans, batch.moments, batch.logs) for row in rows}
    return days.union(*(columns.arrow["day"].unique().to_pylist() for columns in batch.span_columns))


def _touch(cursor: psycopg.Cursor[Any], batch: Batch, seq: int) -> None:
    touched = batch.touched()
    if not touched:
        return
    project, heard_ns = batch.origin()
    if min(one.day for one in touched) < time.time_ns() // DAY_NS:
        cursor.execute(HOLD_OLD_DAYS)
    columns = [list(column) for column in zip(*touched, strict=True)]
    cursor.execute(statements.TOUCH, (*columns, project, seq, seq, project, heard_ns, project, seq))


def _hear(cursor: psycopg.Cursor[Any], processes: Sequence[ProcessRow]) -> None:
    """A batch may hear of a process often; a statement may touch a row once."""
    heard: dict[tuple[int, str], ProcessRow] = {}
    for row in processes:
        known = heard.get(row[:2], row)
        times = (max(known.heard_ns, row.heard_ns), row.interval_ms or known.interval_ms, max(known.exited_ns, row.exited_ns))
        heard[row[:2]] = ProcessRow(*row[:2], *times)
    if heard:
        cursor.execute(statements.HEAR, [list(column) for column in zip(*(heard[key] for key in sorted(heard)), strict=True)])
