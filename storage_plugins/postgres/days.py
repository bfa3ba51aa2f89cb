"""The days of the fact tables: each is a partition, made before the first row of that day comes and dropped when it is too old."""

from __future__ import annotations

import threading
from collections.abc import Collection

from psycopg.sql import SQL, Identifier, Literal

from storage_plugins.postgres.connections import Driver
from storage_plugins.sql.tables import FACTS, partition_name, table_of

FACT_TABLES = tuple(table_of(fact).name for fact in FACTS)

# Who makes or drops a table of a day holds its lock. Of each its own: to make one takes 10-60 ms, and nobody waits for somebody else's. Two
# that make the same day (three tables) at the same moment take 117 ms each where one alone takes 89 (p50; the longest 183 and 203; two cores
# with a load of 7, 2026-11). That happens to days nobody expected: of the others the next is there before it comes.
LOCK_PART = "SELECT pg_advisory_lock(hashtext('flowspan days'), hashtext(%s))"
UNLOCK_PART = "SELECT pg_advisory_unlock(hashtext('flowspan days'), hashtext(%s))"
TRY_LOCK_PART = "SELECT pg_try_advisory_xact_lock(hashtext('flowspan days'), hashtext(%s))"

# Held by a transaction that writes facts of a day before today, or of none, before it looks whether run_traces knows of them; and, alone, by
# one that deletes what run_traces says of facts that are gone. Else the one found a row that the other deletes, and nobody found its facts.
HOLD_OLD_DAYS = SQL("SELECT pg_advisory_xact_lock_shared(hashtext('flowspan old days'))")
LOCK_OLD_DAYS = "SELECT pg_advisory_xact_lock(hashtext('flowspan old days'))"

IS_HALF_DETACHED = SQL("SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass(%s) AND inhparent = to_regclass(%s)")
EXISTS = SQL("SELECT 1 WHERE to_regclass(%s) IS NOT NULL")


class Days:
    """Knows which days have their partitions."""

    def __init__(self) -> None:
        """Begin with none known."""
        self._known: set[int] = set()
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Take nothing for granted: a partition that should be there is not."""
        self._known.clear()

    def ensure(self, connection: Driver, days: Collection[int]) -> None:
        """Make the partitions of these days, where they are missing. connection: in autocommit mode, outside a transaction."""
        if self._known.issuperset(days):
            return
        with self._lock:
            unknown = set(days) - self._known
            for day in sorted(unknown):
                for table in FACT_TABLES:
                    if not _is_attached(connection, table, day):
                        _make_alone(connection, table, day)
            self._known.update(unknown)


def _make_alone(connection: Driver, table: str, day: int) -> None:
    name = partition_name(table, day)
    connection.execute(LOCK_PART, (name,))
    try:
        _make_partition(connection, table, day)
    finally:
        connection.execute(UNLOCK_PART, (name,))


def _is_attached(connection: Driver, table: str, day: int) -> bool:
    return connection.execute(IS_HALF_DETACHED, (partition_name(table, day), table)).fetchone() == (False,)


def _make_partition(connection: Driver, table: str, day: int) -> None:
    """Attach a table made beforehand: CREATE ... PARTITION OF would wait for every reader of the table, and every writer for it.

    A table of that name that is no partition, or only half of one, was being made, or dropped: its rows are still good.
    """
    name = partition_name(table, day)
    half_detached = connection.execute(IS_HALF_DETACHED, (name, table)).fetchone()
    if half_detached == (False,):
        return
    if half_detached is None and connection.execute(EXISTS, (name,)).fetchone() is None:
        connection.execute(SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(Identifier(name), Identifier(table)))
    with connection.transaction():  # a short one: who attaches another day meanwhile waits
        if half_detached:
            connection.execute(SQL("ALTER TABLE {} DETACH PARTITION {} FINALIZE").format(Identifier(table), Identifier(name)))
        attach = SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})")
        connection.execute(attach.format(Identifier(table), Identifier(name), Literal(day), Literal(day + 1)))
