"""Takes away what is too old: days whole, then what is left of it row by row. One replica at a time, beside the writers and folds of all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from collector.answers import Expired
from collector.errors import Unavailable
from collector.rows import DAY_NS
from storage_plugins.postgres.connections import Driver, Server, reason_of
from storage_plugins.postgres.days import Days
from storage_plugins.postgres.dropping import Part, detach, drop, finish, old_parts
from storage_plugins.postgres.ground import IN_THE_WAY, PostgresGround, patiently
from storage_plugins.postgres.keeping import move, traces_to_move
from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.retention import Cut, claims_in, find_losers
from storage_plugins.sql.sweep import NotNow, Steps, Sweeps, chunks, sweep

log = logging.getLogger(__name__)

# A day ends so much later than the clock says: what was received before may still be on its way into it.
GRACE_NS = 60 * 10**9
# What one step may take of the server's time before it is taken for hanging.
STEP_WITHIN_S = 60.0

# By the session: it is held from the first step of a sweep to the last, and goes with a process that is killed.
TRY_LOCK = "SELECT pg_try_advisory_lock(hashtext('flowspan retention'))"
STILL_THERE = "SELECT 1"


class PostgresRetention:
    """Sweeps through the database, if no other replica does."""

    def __init__(self, server: Server, snapshot: Callable[[], AbstractContextManager[Connection]], days: int) -> None:
        """snapshot: to read. days: how long facts are kept, 0 = for ever."""
        self._server = server
        self._snapshot = snapshot
        self._catalogue = Catalogue()
        self._sweeps = Sweeps(days, self._make_sweep)

    def step(self, now_ns: int) -> Expired | None:
        """See collector.storage.Writer.expire."""
        try:
            return self._sweeps.step(now_ns - GRACE_NS)
        except (DBAPIError, psycopg.Error) as error:
            self._catalogue.forget()
            raise Unavailable("old facts cannot be deleted just now", reason_of(error)) from error

    def close(self) -> None:
        """Let go of the connections. Not while a step is done."""
        self._sweeps.close()

    def _make_sweep(self, cut: Cut, now_ns: int) -> Steps:
        with self._alone() as driver, PostgresGround(self._server, self._snapshot, driver, self._catalogue, now_ns) as ground:
            steps = _steps(ground, cut, now_ns // DAY_NS)
            while (expired := self._next(steps, driver)) is not None:
                yield expired

    def _next(self, steps: Steps, driver: Driver) -> Expired | None:
        with self._server.deadlines.within(STEP_WITHIN_S, driver):
            driver.execute(STILL_THERE)  # who has lost this connection is alone no more
            return next(steps, None)

    @contextmanager
    def _alone(self) -> Iterator[Driver]:
        with self._server.connect() as driver:
            if driver.execute(TRY_LOCK).fetchone() != (True,):
                raise NotNow
            yield driver


def _steps(ground: PostgresGround, cut: Cut, today: int) -> Steps:
    """Drop what an earlier sweep prepared; prepare the days that go and drop them; sweep up what is left, row by row."""
    # Ahead of everybody else, who would wait for us: who attaches a day and who detaches one get in each other's way.
    Days().ensure(ground.driver, range(today, today + 3))
    yield from _drop(ground, [part for part in old_parts(ground.driver, cut.first_day) if part.pending or not part.attached])
    yield from _prepare(ground, cut)
    ground.wait_for_others()
    yield from _drop(ground, old_parts(ground.driver, cut.first_day))
    yield from sweep(ground, cut)


def _prepare(ground: PostgresGround, cut: Cut) -> Steps:
    """Freeze the runs that lose facts, and move what open runs keep."""
    for chunk in chunks(ground, cut):
        with ground.reading() as connection:
            losers = find_losers(connection, cut, chunk)
            traces = traces_to_move(claims_in(connection, chunk.project, chunk.traces), cut, chunk)
        ground.freeze_now(chunk.project, losers)
        yield Expired()
        for trace_id in traces:
            move(ground.driver, cut, chunk, trace_id)
            yield Expired()


def _drop(ground: PostgresGround, parts: list[Part]) -> Steps:
    """Drop these parts, whatever state they are in."""
    for part in parts:
        if part.attached:
            _detach(ground.driver, part)
            yield Expired()
        yield _drop_part(ground.driver, part)


def _drop_part(driver: Driver, part: Part) -> Expired:
    dropped = patiently(lambda: drop(driver, part))
    return Expired(facts=dropped.facts, freed_bytes=dropped.freed_bytes)


def _detach(driver: Driver, part: Part) -> None:
    if part.pending:
        patiently(lambda: finish(driver, part))
        return
    try:
        detach(driver, part)
    except IN_THE_WAY as error:
        log.info("%s goes when those who read it have ended: %s", part.name, error)
        raise NotNow from error
