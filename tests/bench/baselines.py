"""The fastest plain way into each store, for the rows a server has stored: what its speed is held against."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from storage_plugins.postgres.storage import PostgresStorage
from storage_plugins.sqlite import statements
from storage_plugins.sqlite.storage import BUSY_MS, SqliteStorage
from tests.bench.places import Place
from tests.postgres import binaries

ROWS_A_TRANSACTION = 5120
FOLD_EVERY_MS = 250


def rows_a_second(place: Place) -> float:
    """Return how many of the stored spans a second go into an empty table of the same DDL: psql's text COPY, or `executemany`."""
    return _by_copy(place) if place.postgres else _by_executemany(place)


def _by_executemany(place: Place) -> float:
    """By the statement and the pragmas of the storage itself."""
    assert isinstance(place.where, Path)
    with closing(sqlite3.connect(place.where)) as source:
        rows = source.execute("SELECT * FROM spans").fetchall()
    storage = SqliteStorage(f"sqlite:///{place.folder / 'baseline.db'}", FOLD_EVERY_MS)
    storage.open()
    with closing(storage._connect("FULL", BUSY_MS)) as connection:
        connection.execute("DELETE FROM spans")
        began = time.perf_counter()
        for first in range(0, len(rows), ROWS_A_TRANSACTION):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(statements.SPANS, rows[first : first + ROWS_A_TRANSACTION])
            connection.execute("COMMIT")
        took_s = time.perf_counter() - began
    storage.close()
    return len(rows) / took_s


def _by_copy(place: Place) -> float:
    assert place.postgres and isinstance(place.where, str)
    file = place.folder / "spans.copy"
    with psycopg.connect(place.where) as source, source.cursor() as cursor, file.open("wb") as rows:
        days = [day for (day,) in cursor.execute("SELECT DISTINCT day FROM spans").fetchall()]
        with cursor.copy("COPY (SELECT * FROM spans) TO STDOUT") as copy:
            for some in copy:
                rows.write(some)
        count = cursor.rowcount
    url = place.postgres.create_database()
    _make_tables(url, days)
    began = time.perf_counter()
    _psql(url, f"\\copy spans from '{file}'")
    took_s = time.perf_counter() - began
    place.postgres.drop_database(url)
    return count / took_s


def _make_tables(url: str, days: list[int]) -> None:
    storage = PostgresStorage(url, FOLD_EVERY_MS)
    storage.open()
    storage.close()
    with psycopg.connect(url, autocommit=True) as connection:
        for day in days:
            if day:
                made = SQL("CREATE TABLE {} PARTITION OF spans FOR VALUES FROM ({}) TO ({})")
                connection.execute(made.format(Identifier(f"spans_d{day}"), day, day + 1))
        connection.execute("CHECKPOINT")


def _psql(url: str, command: str) -> None:
    psql = binaries()[0].bin / "psql"
    subprocess.run([str(psql), "--no-psqlrc", "--quiet", "--dbname", url, "--command", command], check=True)
