"""The ground of a sweep in Postgres: its transactions, and what each waits for so that writers and folds beside it lose nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from types import TracebackType
from typing import Any, TypeVar

from psycopg import errors
from sqlalchemy import Connection, Delete, bindparam, delete, or_, select, text
from sqlalchemy.exc import DBAPIError

from collector.model import ODD_DAY
from storage_plugins.postgres.connections import WRITE_WITHIN_S, Driver, Server
from storage_plugins.postgres.days import LOCK_OLD_DAYS
from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.facts import slices
from storage_plugins.sql.frozen import freeze, read_freeze
from storage_plugins.sql.retention import Cut
from storage_plugins.sql.sweep import Bites, NotNow
from storage_plugins.sql.tables import Base, RunEntry, table_of

Answer = TypeVar("Answer")

# Who is in the way is given so many moments to go, before the sweep ends until the next look.
TRIES = 20
PAUSE_S = 0.1
IN_THE_WAY = (errors.LockNotAvailable, errors.QueryCanceled)

# Transactions that saw the store before. A read has 20 s and a fold 60, but they seldom take one.
OTHERS_WITHIN_S = 5.0
LOOK_EVERY_S = 0.01
OTHERS = (
    "SELECT pid, xact_start FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'flowspan'"
    " AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
)

# What a transaction waits for a lock: one that writers may wait for; one that only folds wait for, and that waits for them.
BRIEFLY = text("SET LOCAL lock_timeout = '20ms'")
PATIENTLY = text("SET LOCAL lock_timeout = '1s'")


class PostgresGround:
    """storage_plugins.sql.sweep.Ground for one database, as long as a sweep takes. driver: in autocommit mode."""

    # Who writes facts of an old day waits for one that forgets. Its longest waits with 100 claims: 34 ms, 50: 27, 20: under 10 (2026-11).
    bites = Bites(found=1000, facts=500, claims=20)

    def __init__(
        self,
        server: Server,
        snapshot: Callable[[], AbstractContextManager[Connection]],
        driver: Driver,
        catalogue: Catalogue,
        now_ns: int,
    ) -> None:
        """snapshot: to read. now_ns: when the sweep began."""
        self.driver = driver
        self._server = server
        self._snapshot = snapshot
        self._engine = server.make_engine(1, isolation="READ COMMITTED")
        self._catalogue = catalogue
        self._now_ns = now_ns

    def __enter__(self) -> PostgresGround:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the connection that writes."""
        self._engine.dispose()

    def reading(self) -> AbstractContextManager[Connection]:
        """See Ground."""
        return self._snapshot()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """See Ground. Raises NotNow if somebody holds what is to be written."""
        with _in_nobodys_way(), self._server.begin(self._engine, WRITE_WITHIN_S) as connection:
            connection.execute(BRIEFLY)
            yield connection

    @contextmanager
    def forgetting(self) -> Iterator[Connection]:
        """See Ground. Writers of old days are waited for a moment at a time, for they wait behind us then."""
        with self.writing() as connection:
            patiently(lambda: _lock_old_days(connection))
            yield connection

    def freeze(self, project: int, losers: Collection[bytes]) -> None:
        """See Ground. Raises NotNow if some of them are being folded for long."""
        if self.freeze_now(project, losers):
            self.wait_for_others()

    def freeze_now(self, project: int, losers: Collection[bytes]) -> bool:
        """Freeze these runs. A fold may still be under way that saw them before, and write them again when they are gone.

        Returns whether any was not frozen yet.
        """
        with _in_nobodys_way(), self._server.begin(self._engine, WRITE_WITHIN_S) as connection:
            connection.execute(PATIENTLY)
            found = read_freeze(connection, project, losers, self._now_ns)
            if found.run_keys:
                _lock_runs(connection, project, found.run_keys)
                freeze(connection, found, self._catalogue, self._now_ns)
        return bool(found.run_keys)

    def wait_for_others(self) -> None:
        """Wait until whatever transactions of ours are open now, on any replica, have ended. Raises NotNow if one takes its time."""
        until_s = time.monotonic() + OTHERS_WITHIN_S
        others = set(self.driver.execute(OTHERS))
        while others:
            if time.monotonic() > until_s:
                raise NotNow
            time.sleep(LOOK_EVERY_S)
            others &= set(self.driver.execute(OTHERS))

    def delete_facts(self, connection: Connection, cut: Cut, table: type[Base], keys: Sequence[tuple[Any, ...]]) -> None:
        """See Ground."""
        names = table_of(table).primary_key.columns.keys()
        rows = [{f"{name}_": value for name, value in zip(names, key, strict=True)} for key in sorted(keys)]
        connection.execute(_delete_fact(table), [row | {"begins_ns": cut.begins_ns} for row in rows])


def patiently(work: Callable[[], Answer]) -> Answer:
    """Do what gives up at once when somebody is in the way, and try again a few times. Raises NotNow if they do not go."""
    for _ in range(TRIES):
        try:
            return work()
        except IN_THE_WAY:
            time.sleep(PAUSE_S)
        except DBAPIError as error:
            if not isinstance(error.orig, IN_THE_WAY):
                raise
            time.sleep(PAUSE_S)
    raise NotNow


@contextmanager
def _in_nobodys_way() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if not isinstance(error.orig, IN_THE_WAY):
            raise
        raise NotNow from error


def _lock_old_days(connection: Connection) -> None:
    with connection.begin_nested():
        connection.execute(text(LOCK_OLD_DAYS))


def _lock_runs(connection: Connection, project: int, run_keys: Sequence[bytes]) -> None:
    """Lock cached runs in the order folds write them in, and before the catalogue, as they do: nobody waits in a circle."""
    query = select(RunEntry.run_key).where(RunEntry.project == project).order_by(RunEntry.run_key).with_for_update()
    for some in slices(run_keys):
        connection.execute(query.where(RunEntry.run_key.in_(some)))


@cache
def _delete_fact(table: type[Base]) -> Delete:
    columns = table_of(table).c
    key = (column == bindparam(f"{column.name}_") for column in table_of(table).primary_key.columns)
    return delete(table_of(table)).where(*key, or_(columns.day != ODD_DAY, columns.received_ns < bindparam("begins_ns")))
