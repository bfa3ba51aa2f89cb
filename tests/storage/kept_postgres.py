"""A Postgres store that keeps facts for two days, what is left in it, and where a sweep stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from collector.testing.retention import LATER
from storage_plugins.postgres.ground import PostgresGround
from storage_plugins.postgres.storage import PostgresStorage
from storage_plugins.sql.catalogue import Catalogue
from tests.storage.old_facts import EMPTIED, KEPT_DAYS
from tests.storage.opened_postgres import FOLD_EVERY_MS


@contextmanager
def keeping(url: str) -> Iterator[PostgresStorage]:
    """Open the store as one more replica that keeps facts for two days."""
    storage = PostgresStorage(url, FOLD_EVERY_MS, KEPT_DAYS)
    storage.open()
    try:
        yield storage
    finally:
        storage.close()


@contextmanager
def on_the_ground(storage: PostgresStorage, url: str) -> Iterator[PostgresGround]:
    """Stand where a sweep of a replica stands."""
    with psycopg.connect(url, autocommit=True) as driver, PostgresGround(storage._server, storage.snapshot, driver, Catalogue(), LATER) as one:
        yield one


def counts(url: str) -> dict[str, int]:
    """Count the rows of every table that retention empties."""
    with psycopg.connect(url) as connection:
        return {name: (connection.execute(f"SELECT count(*) FROM {name}".encode()).fetchone() or (0,))[0] for name in EMPTIED}
