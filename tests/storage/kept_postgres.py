"""A Postgres store that keeps facts for two days, what is in it, and where a sweep stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from collector.model import Batch
from collector.steady import batch_of, plain_span, run_ended
from collector.testing.retention import DAY_S, LATER
from storage_plugins.postgres.ground import PostgresGround
from storage_plugins.postgres.storage import PostgresStorage
from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.tables import FACTS, table_of
from tests.storage.opened_postgres import FOLD_EVERY_MS

KEPT_DAYS = 2
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
# Its clock is wrong by years.
NO_DAY = run_ended("r1", 1000 * DAY_S)


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


def many(count: int) -> Batch:
    """Return so many plain traces of the first day, of two spans each."""
    spans = [(plain_span(trace, 1, "GET /", 0), plain_span(trace, 2, "load", 0, parent=1)) for trace in range(1, count + 1)]
    return batch_of(*(span for pair in spans for span in pair))


def counts(url: str) -> dict[str, int]:
    """Count the rows of every table that retention empties."""
    names = [*(table_of(table).name for table in FACTS), "runs", "run_traces", "run_dirty", "run_changes", "processes"]
    with psycopg.connect(url) as connection:
        return {name: (connection.execute(f"SELECT count(*) FROM {name}".encode()).fetchone() or (0,))[0] for name in names}
