"""Deletes what is too old from one SQLite file, step by step between the commits of others, and gives the space back to the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from collector.answers import Expired
from collector.errors import Unavailable
from collector.model import ODD_DAY
from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.frozen import freeze, read_freeze
from storage_plugins.sql.retention import Cut
from storage_plugins.sql.rounds import Rounds
from storage_plugins.sql.sweep import Bites, Steps, Sweeps, sweep
from storage_plugins.sql.tables import FACTS, Base, table_of

# Facts found in one read, for which nobody waits.
READ_FACTS = 1000
# What one transaction deletes while it holds the writer's lock: facts; rows of run_traces with the runs that have no other; pages moved and
# cut off. 2.5-4.5 ms of CPU; on a machine whose two cores six programs shared 3-5 ms at p50, 13-17 at p95, 25-34 the longest (2026-11).
MOST_FACTS = 250
MOST_RUNS = 25
MOST_PAGES = 150
# What PRAGMA auto_vacuum says of a file that gives pages back when it is told to.
INCREMENTAL = 2


def _delete_by_key(table: type[Base]) -> str:
    key = " AND ".join(f'"{column.name}" = ?' for column in table_of(table).primary_key.columns)
    return f"DELETE FROM {table_of(table)} WHERE {key} AND (day <> {ODD_DAY} OR received_ns < ?)"  # noqa: S608  # names of our own tables


DELETE = {table: _delete_by_key(table) for table in FACTS}


@dataclass(frozen=True, slots=True)
class Access:
    """How a sweep comes by the file. snapshot: to read. engine: to write; it leaves checkpoints to us. lock: held by whoever writes."""

    snapshot: Callable[[], AbstractContextManager[Connection]]
    engine: Engine
    lock: AbstractContextManager[object]


class SqliteRetention:
    """Sweeps through the file, and cuts off what it freed."""

    def __init__(self, access: Access, rounds: Rounds, days: int) -> None:
        """rounds: the fold's. days: how long facts are kept, 0 = for ever."""
        self._ground = SqliteGround(access, rounds)
        self._sweeps = Sweeps(days, self._make_sweep)

    def step(self, now_ns: int) -> Expired | None:
        """See collector.storage.Writer.expire."""
        try:
            return self._sweeps.step(now_ns)
        except (DBAPIError, sqlite3.Error) as error:
            self._ground.catalogue.forget()
            raise Unavailable(f"old facts cannot be deleted just now: {getattr(error, 'orig', error)}") from error

    def _make_sweep(self, cut: Cut, now_ns: int) -> Steps:
        self._ground.now_ns = now_ns
        yield from sweep(self._ground, cut)
        yield from self._ground.give_back()


class SqliteGround:
    """storage_plugins.sql.sweep.Ground for one file. now_ns: when the sweep began."""

    bites = Bites(READ_FACTS, MOST_FACTS, MOST_RUNS)

    def __init__(self, access: Access, rounds: Rounds) -> None:
        """rounds: the fold's."""
        self._access = access
        self._rounds = rounds
        self.catalogue = Catalogue()
        self.now_ns = 0

    def reading(self) -> AbstractContextManager[Connection]:
        """See Ground."""
        return self._access.snapshot()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """See Ground. Nobody else writes meanwhile. What it moves into the file itself is moved afterwards, when others may write."""
        with self._access.lock, self._access.engine.begin() as connection:
            yield connection
        with self._access.engine.connect() as connection:
            _driver(connection).execute("PRAGMA wal_checkpoint(PASSIVE)")

    def forgetting(self) -> AbstractContextManager[Connection]:
        """See Ground."""
        return self.writing()

    def freeze(self, project: int, losers: Collection[bytes]) -> None:
        """See Ground. Folds are kept away."""
        with self._rounds.one_at_a_time():
            with self.reading() as connection:
                found = read_freeze(connection, project, losers, self.now_ns)
            if found.run_keys:
                with self.writing() as connection:
                    freeze(connection, found, self.catalogue, self.now_ns)

    def delete_facts(self, connection: Connection, cut: Cut, table: type[Base], keys: Sequence[tuple[Any, ...]]) -> None:
        """See Ground. Past SQLAlchemy, which costs as much as the deletion itself."""
        _driver(connection).executemany(DELETE[table], [(*key, cut.begins_ns) for key in keys])

    def give_back(self) -> Steps:
        """Cut free pages off the file, if it was made so that it can be: one from before this was asked for uses them again."""
        while True:
            with self.writing() as connection:
                before, free, page_bytes = (_ask(connection, name) for name in ("page_count", "freelist_count", "page_size"))
                if not free or _ask(connection, "auto_vacuum") != INCREMENTAL:
                    return
                for _ in range(min(free, MOST_PAGES)):
                    _driver(connection).execute("PRAGMA incremental_vacuum(1)")  # the driver stops after one page, whatever number is asked for
                freed_bytes = (before - _ask(connection, "page_count")) * page_bytes
            yield Expired(freed_bytes=freed_bytes)


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _ask(connection: Connection, pragma: str) -> int:
    (answer,) = _driver(connection).execute(f"PRAGMA {pragma}").fetchone()
    return int(answer)
