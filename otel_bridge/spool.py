"""Parcels on disk: what could not be sent outlives the process and is delivered by the next one. SQLite, bounded, shared by a user's processes.

The file holds what the program told and may hold secrets of it: it is readable by its owner alone. Keys are never in it.
No connection outlives a call: a child that is forked meanwhile has none to close, and closing the parent's would undo what it is writing.
"""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

from otel_bridge.held import held
from otel_bridge.parcels import Parcel
from otel_bridge.worth import Worth

logger = logging.getLogger(__name__)

# A process that took a parcel and died gives it back by this. More than the slowest request takes: twice the timeout.
LEASE_S = 60.0
# Who finds the file busy waits so long; an ending program too.
BUSY_S = 1.0
# A file that cannot be used is not tried again at once: each try may take BUSY_S.
REST_S = 5.0
# A parcel that is not taken though the server answers rests 1 s, then twice as long, up to this.
MOST_SUSPECT_S = 120
# About what a row costs beside its body.
ROW_BYTES = 200
# "FLSP" in the file's header (sqlite.org/fileformat2.html, 1.3.18): a file that does not say so is somebody else's, and left alone.
APPLICATION_ID = 0x464C5350
LAYOUT = 1

_LAYOUT = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {LAYOUT}",
    """
    CREATE TABLE parcels (
        place INTEGER PRIMARY KEY AUTOINCREMENT,
        url TEXT NOT NULL,
        path TEXT NOT NULL,
        worth INTEGER NOT NULL,
        records INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        teller TEXT NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0,
        leased_until REAL NOT NULL DEFAULT 0
    )
    """,
    # Apart, so that a look at the parcels does not read their bodies: 5 ms in place of 60 where 64 MiB are kept.
    "CREATE TABLE bodies (place INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    "CREATE INDEX parcels_by_worth ON parcels (url, worth, place, bytes)",
    "CREATE INDEX parcels_by_tries ON parcels (url, tries, place, leased_until)",
)
_PUT = "INSERT INTO parcels (url, path, worth, records, bytes, teller) VALUES (?, ?, ?, ?, ?, ?)"
_PUT_BODY = "INSERT INTO bodies (place, body) VALUES (?, ?)"
_HELD = "SELECT url, sum(bytes) FROM parcels GROUP BY url"
_LEAST = "SELECT place, worth, records, bytes FROM parcels WHERE url = ? ORDER BY worth, place LIMIT 1"
# What was tried least goes first, so that one that nobody takes does not stand before the others.
_FREE = "SELECT place FROM parcels WHERE url = ? AND leased_until <= ? ORDER BY tries, place LIMIT 1"
_LEASE = "UPDATE parcels SET leased_until = ? WHERE place = ?"
_CLAIMED = "SELECT path, body, worth, records, place FROM parcels JOIN bodies USING (place) WHERE place = ?"
_SUSPECT = "UPDATE parcels SET tries = tries + 1, leased_until = ? + min(1 << min(tries, 10), ?) WHERE place = ?"
_SOME = "SELECT count(*) FROM (SELECT 1 FROM parcels WHERE url = ? LIMIT 1)"
_LEFT = "SELECT count(*) FROM parcels WHERE teller = ?"


class Spool:
    """A Store in one file, for any thread. A file that cannot be used is an OSError of `put`, a warning, and nothing elsewhere."""

    def __init__(self, file: Path, most_bytes: int, url: str, clock: Callable[[], float] = time.time, *, api_key: str = "") -> None:
        """most_bytes: of parcels. url, api_key: whom they are for, and as whom; others in the file wait. clock: of the leases, s."""
        self._file = file
        self._most_bytes = most_bytes
        self._url = _without_password(url) + _mark_of(api_key)
        self._clock = clock
        self._teller = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._rests_until_s = 0.0
        self._has_warned = False

    def put(self, parcels: Sequence[Parcel]) -> Mapping[Worth, int]:
        """Keep parcels; return how many records of each worth had to go for them. Raises OSError if the file cannot be used."""
        with self._transaction() as cursor:
            for parcel in parcels:
                size = len(parcel.body) + ROW_BYTES
                cursor.execute(_PUT, (self._url, parcel.path, int(parcel.worth), parcel.records, size, self._teller))
                cursor.execute(_PUT_BODY, (cursor.lastrowid, parcel.body))
            return self._make_room(cursor)

    def claim(self) -> Parcel | None:
        """Return a parcel nobody else is sending; a process that died while it sent one gives it back after LEASE_S."""
        if not self._file.exists():
            return None
        try:
            return self._claim()
        except OSError:
            return None

    def give_back(self, place: int, *, is_suspect: bool) -> None:
        """End the lease of a parcel. is_suspect: others go before it, and it rests the longer the more often this happened."""
        if is_suspect:
            self._change(_SUSPECT, (self._clock(), MOST_SUSPECT_S, place))
        else:
            self._change(_LEASE, (0, place))

    def done(self, place: int) -> None:
        """Forget a parcel. If the file cannot be written, it will be sent once more, which does no harm."""
        try:
            with self._transaction() as cursor:
                _delete(cursor, place)
        except OSError:
            return

    def holds_some(self) -> bool:
        """Return whether there is anything for this address, if only in somebody else's hands."""
        return self._count(_SOME, self._url) > 0

    def left(self) -> int:
        """Return how many of the parcels put here by this object nobody has delivered; 0 if the file cannot be read."""
        return self._count(_LEFT, self._teller)

    def _count(self, statement: str, of: str) -> int:
        if not self._file.exists():
            return 0
        try:
            with self._transaction("BEGIN") as cursor:
                return int(cursor.execute(statement, (of,)).fetchone()[0])
        except OSError:
            return 0

    def pause(self, timeout_s: float) -> bool:
        """Let nobody use the file until `resume`; return whether that is so.

        For forks: SQLite knows by memory which locks its process has on a file. A child forked within a transaction would have them for ever
        in its memory and nowhere else, and find the file locked by itself (sqlite.org/howtocorrupt.html, 2.6).
        """
        return self._lock.acquire(timeout=timeout_s)

    def resume(self) -> None:
        """End a pause."""
        self._lock.release()

    def _claim(self) -> Parcel | None:
        with self._transaction("BEGIN") as cursor:  # who only looks keeps nobody from writing
            if cursor.execute(_FREE, (self._url, self._clock())).fetchone() is None:
                return None
        with self._transaction() as cursor:
            free = cursor.execute(_FREE, (self._url, self._clock())).fetchone()
            if free is None:  # somebody was faster
                return None
            cursor.execute(_LEASE, (self._clock() + LEASE_S, free[0]))
            path, body, worth, records, place = cursor.execute(_CLAIMED, free).fetchone()
        return Parcel(path, body, Worth(worth), records, place)

    def _change(self, statement: str, values: tuple[float, ...]) -> None:
        try:
            with self._transaction() as cursor:
                cursor.execute(statement, values)
        except OSError:  # its lease ends by itself
            return

    def _make_room(self, cursor: sqlite3.Cursor) -> Mapping[Worth, int]:
        """Drop the least useful of the address that holds the most: one that nobody answers at does not cost the others their room."""
        held: dict[str, int] = dict(cursor.execute(_HELD).fetchall())
        gone: dict[Worth, int] = {}
        while sum(held.values()) > self._most_bytes:
            largest = max(held, key=lambda url: held[url])
            place, worth, records, size = cursor.execute(_LEAST, (largest,)).fetchone()
            _delete(cursor, place)
            held[largest] -= size
            gone[Worth(worth)] = gone.get(Worth(worth), 0) + records
        return gone

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Cursor]:
        """Whatever is wrong with the file is an OSError; it is then left alone for REST_S."""
        with held(self._lock) as is_held:
            if not is_held:
                raise OSError("another thread uses the spool and does not come back")
            if time.monotonic() < self._rests_until_s:
                raise OSError("the spool rests")
            try:
                with closing(self._open()) as connection:
                    cursor = connection.cursor()
                    cursor.execute(begin)
                    yield cursor
                    cursor.execute("COMMIT")  # what does not come here is rolled back when it is closed
                    self._shrink(cursor)
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
                raise OSError(f"the spool {self._file} cannot be used: {error}") from error

    def _open(self) -> sqlite3.Connection:
        _make_private(self._file)
        connection = sqlite3.connect(self._file, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            # Without a sync: that would slow the program's own disk. What is written survives the process; if the power fails, perhaps not.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # says something to an empty file only
            _lay_out(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _shrink(self, cursor: sqlite3.Cursor) -> None:
        """Give the disk back what an outage took, once it is delivered."""
        if cursor.execute("PRAGMA freelist_count").fetchone()[0] and cursor.execute("SELECT 1 FROM parcels LIMIT 1").fetchone() is None:
            cursor.executescript("PRAGMA incremental_vacuum")  # `execute` would free one page

    def _give_up(self, error: Exception) -> None:
        self._rests_until_s = time.monotonic() + REST_S
        if not self._has_warned:
            self._has_warned = True
            logger.warning("the spool %s cannot be used, what cannot be sent is kept in memory only: %s", self._file, error)
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            self._set_aside()

    def _set_aside(self) -> None:
        """A damaged spool makes room for a new one. A file that does not say it is one stays where it is."""
        try:
            with self._file.open("rb") as file:
                header = file.read(100)
            if header[:16] == b"SQLite format 3\x00" and header[68:72] == APPLICATION_ID.to_bytes(4, "big"):
                self._file.replace(self._file.with_name(f"{self._file.name}.damaged"))
                self._rests_until_s = 0.0
        except OSError:
            return


def _make_private(file: Path) -> None:
    """Make the file ourselves, because SQLite would make it readable for everybody."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))


def _lay_out(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty file; raise NotASpool if it is somebody else's."""
    if _stamp(connection) == (APPLICATION_ID, LAYOUT):
        return
    connection.execute("BEGIN IMMEDIATE")
    if _stamp(connection) != (APPLICATION_ID, LAYOUT):  # nobody else was faster
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] or _stamp(connection) != (0, 0):
            raise NotASpool("it is something else's, or of another version of the bridge")
        for statement in _LAYOUT:
            connection.execute(statement)
    connection.execute("COMMIT")


def _stamp(connection: sqlite3.Connection) -> tuple[int, int]:
    return connection.execute("PRAGMA application_id").fetchone()[0], connection.execute("PRAGMA user_version").fetchone()[0]


class NotASpool(OSError):
    """The file belongs to somebody else."""


def _delete(cursor: sqlite3.Cursor, place: int) -> None:
    cursor.execute("DELETE FROM bodies WHERE place = ?", (place,))
    cursor.execute("DELETE FROM parcels WHERE place = ?", (place,))


def _without_password(url: str) -> str:
    """The file holds no credentials, those of an address neither."""
    scheme, slashes, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return scheme + slashes + authority.rpartition("@")[2] + slash + path


def _mark_of(api_key: str) -> str:
    """Tell keys apart, too briefly to be guessed back: what was told with one project's key is not delivered with another's."""
    return f"#{sha256(api_key.encode(errors='surrogatepass')).hexdigest()[:8]}" if api_key else ""
