"""A Postgres storage opened for a test, and a look past it into its database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg

from storage_plugins.postgres.storage import PostgresStorage

FOLD_EVERY_MS = 5


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
