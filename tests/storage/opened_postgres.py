"""A Postgres storage opened for a test, and a look past it into its database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg

from storage_plugins.postgres.days import FACT_TABLES
from storage_plugins.postgres.storage import PostgresStorage

FOLD_EVERY_MS = 5
# Who reads all the time would hold them up for ever. Much more than the 20 ms they may be held, for a slow machine: the bench has the figures.
IN_A_HURRY = "5s"


@contextmanager
def opened(url: str) -> Iterator[PostgresStorage]:
    """Open a storage on a database, and close it at the end."""
    storage = PostgresStorage(url, FOLD_EVERY_MS)
    try:
        storage.open()
        yield storage
    finally:
        storage.close()


def ask(url: str, statement: LiteralString | bytes, *values: object) -> list[tuple[Any, ...]]:
    """Return what a statement of the test's own finds."""
    with psycopg.connect(url) as connection:
        return connection.execute(statement, values).fetchall()


def tell(url: str, statement: LiteralString | bytes, *values: object) -> None:
    """Run a statement of the test's own that finds nothing, in autocommit mode."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement, values)


def waiting(url: str) -> int:
    """Count who waits for a lock."""
    ((count,),) = ask(url, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
    return int(count)


def deadlocks(url: str) -> int:
    """Count those there have been."""
    ((count,),) = ask(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(count)


@contextmanager
def reading(url: str) -> Iterator[None]:
    """Read every fact, in a transaction that stays open."""
    with psycopg.connect(url) as reader:
        for table in FACT_TABLES:
            reader.execute(f"SELECT count(*) FROM {table}".encode())
        yield


def hurry(url: str) -> None:
    """Let who connects from now on fail where it has to wait for a lock for long."""
    tell(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET lock_timeout = '{IN_A_HURRY}'".encode())
