"""Parcels on disk: what could not be sent outlives the process and is delivered by the next one. SQLite, bounded, shared by a user's processes.

The file holds what the program told and may hold secrets of it: it is readable by its owner alone. Keys are never in it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from otel_bridge.parcels import Parcel
from otel_bridge.worth import Worth

# A process that took a parcel and died gives it back by this.
LEASE_S = 60.0
# Who finds the file busy waits so long, in a thread that has nothing better to do.
BUSY_S = 5.0

_TABLE = """
CREATE TABLE IF NOT EXISTS parcels (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    url TEXT NOT NULL,
    path TEXT NOT NULL,
    worth INTEGER NOT NULL,
    records INTEGER NOT NULL,
    body BLOB NOT NULL,
    leased_until REAL NOT NULL DEFAULT 0
)
"""
_PUT = "INSERT INTO parcels (url, path, worth, records, body) VALUES (?, ?, ?, ?, ?)"
_BYTES = "SELECT coalesce(sum(length(body)), 0) FROM parcels"
_LEAST = "SELECT place, worth, records, length(body) FROM parcels ORDER BY worth, place LIMIT 1"
_CLAIM = """
UPDATE parcels
SET leased_until = ?
WHERE place = (SELECT place FROM parcels WHERE url = ? AND leased_until < ? ORDER BY place LIMIT 1)
RETURNING place, path, body, worth, records
"""
_DONE = "DELETE FROM parcels WHERE place = ?"


class Spool:
    """A Store in one file, for any thread. A file that cannot be used is an OSError of `put`, and nothing elsewhere."""

    def __init__(self, file: Path, most_bytes: int, url: str) -> None:
        """most_bytes: of bodies. url: whom the parcels are for; those of other addresses in the same file are left alone."""
        self._file = file
        self._most_bytes = most_bytes
        self._url = url
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def put(self, parcel: Parcel) -> Mapping[Worth, int]:
        """Keep a parcel; return how many records of each worth had to go for it. Raises OSError if the file cannot be used."""
        with self._lock:
            try:
                return self._put(self._open(), parcel)
            except sqlite3.Error as error:
                self._close()
                raise OSError(f"the spool {self._file} cannot be used: {error}") from error

    def claim(self) -> Parcel | None:
        """Return the oldest parcel nobody else is sending; a process that died while it sent one gives it back after LEASE_S."""
        if self._connection is None and not self._file.exists():
            return None
        now_s = time.time()
        with self._lock:
            try:
                found = self._open().execute(_CLAIM, (now_s + LEASE_S, self._url, now_s)).fetchone()
            except (sqlite3.Error, OSError):
                self._close()
                return None
        if found is None:
            return None
        place, path, body, worth, records = found
        return Parcel(path, body, Worth(worth), records, place)

    def done(self, place: int) -> None:
        """Forget a parcel. If the file cannot be written, it will be sent once more, which does no harm."""
        with self._lock:
            try:
                self._open().execute(_DONE, (place,))
            except (sqlite3.Error, OSError):
                self._close()

    def forget_connection(self) -> None:
        """Do without the connection of the process this one was forked from. It stays open: closing it would drop its locks."""
        _of_parents.append(self._connection)
        self._connection = None
        self._lock = threading.Lock()

    def _put(self, connection: sqlite3.Connection, parcel: Parcel) -> Mapping[Worth, int]:
        gone: dict[Worth, int] = {}
        with closing(connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                cursor.execute(_PUT, (self._url, parcel.path, int(parcel.worth), parcel.records, parcel.body))
                held = int(cursor.execute(_BYTES).fetchone()[0])
                while held > self._most_bytes:
                    place, worth, records, size = cursor.execute(_LEAST).fetchone()
                    cursor.execute(_DONE, (place,))
                    held -= size
                    gone[Worth(worth)] = gone.get(Worth(worth), 0) + records
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")
        return gone

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made by ourselves, because SQLite would make it readable for everybody.
            os.close(os.open(self._file, os.O_CREAT | os.O_RDWR, 0o600))
            connection = sqlite3.connect(self._file, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_TABLE)
            self._connection = connection
        return self._connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


_of_parents: list[sqlite3.Connection | None] = []
