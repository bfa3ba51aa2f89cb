"""A database that hangs without closing its connections is noticed: what takes too long has its socket shut down, and fails like any other
lost connection.

statement_timeout cannot do it (the server would have to be awake), nor TCP's keep-alives (the machine is, and answers them).
"""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from psycopg import Connection

# How late a deadline may be noticed.
LOOK_EVERY_S = 0.25


class Deadlines:
    """Watches over calls that wait for the server, in one thread."""

    def __init__(self) -> None:
        """Begin with nothing to watch; the thread starts with the first call."""
        self._numbers = itertools.count()
        self._watched: dict[int, tuple[float, socket.socket]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def within(self, seconds: float, connection: Connection[tuple[Any, ...]]) -> Iterator[None]:
        """Do what the block does within so many seconds, or lose the connection: then the block sees an OperationalError.

        Raises OperationalError at once for a connection that is lost already.
        """
        # A handle of our own: the driver closes its socket when a connection fails, and the number may be somebody else's by then.
        with socket.socket(fileno=os.dup(connection.fileno())) as handle:
            number = next(self._numbers)
            self._watch(number, time.monotonic() + seconds, handle)
            try:
                yield
            finally:
                with self._changed:
                    self._watched.pop(number, None)

    def close(self) -> None:
        """End the thread. What still waits for the server has its socket shut down, and so has what would begin to."""
        with self._changed:
            self._closed = True
            for _, handle in self._watched.values():
                _shut_down(handle)
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _watch(self, number: int, until: float, handle: socket.socket) -> None:
        with self._changed:
            if self._closed:
                _shut_down(handle)
                return
            self._watched[number] = (until, handle)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="flowspan-deadlines", daemon=True)
                self._thread.start()
            if len(self._watched) == 1:
                self._changed.notify()

    def _look(self) -> None:
        with self._changed:
            while not self._closed:
                self._changed.wait(LOOK_EVERY_S if self._watched else None)
                now = time.monotonic()
                for number in [number for number, (until, _) in self._watched.items() if until < now]:
                    _, handle = self._watched.pop(number)
                    _shut_down(handle)


def _shut_down(handle: socket.socket) -> None:
    with suppress(OSError):
        handle.shutdown(socket.SHUT_RDWR)
