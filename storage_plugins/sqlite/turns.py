"""Turns at a store in memory: SQLite's VFS for it has no write-ahead log, so one writes or many read, and whoever is late has to wait.

SQLite waits by polling, up to 100 ms apart, and says "database is locked" when a commit has waited for a reader for long: a fold beside one
that took 150 ms was given up two times in three, and one beside short ones waited up to 630 ms (2026-11).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


class Turns:
    """Let many read, or one write. A writer's turn is `with turns:`; who comes while it waits for readers to leave comes after it.

    No wait has a limit of its own: it ends with the reads and the write before it, all of them this process's. They may not be nested.
    """

    def __init__(self) -> None:
        """Begin with nobody there."""
        # Held by who writes; readers go through it.
        self._door = threading.Lock()
        self._left = threading.Condition()
        self._readers = 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read, beside others who read."""
        with self._door, self._left:
            self._readers += 1
        try:
            yield
        finally:
            with self._left:
                self._readers -= 1
                self._left.notify()

    def __enter__(self) -> None:
        self._door.acquire()
        with self._left:
            self._left.wait_for(lambda: not self._readers)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._door.release()
