"""Wakes a thread that waits, whoever rings: other threads, a signal handler, a finalizer in the middle of the ringing itself."""

from __future__ import annotations

import threading
from contextlib import suppress


class Bell:
    """As much of threading.Event as is needed here. An Event is set under a lock that is not reentrant: a signal handler would hang in it."""

    def __init__(self) -> None:
        """Nobody has rung."""
        self._silence = threading.Lock()
        self._silence.acquire()

    def set(self) -> None:
        """Ring, until it is cleared."""
        with suppress(RuntimeError):  # it rings already
            self._silence.release()

    def is_set(self) -> bool:
        """Return whether it rings."""
        return not self._silence.locked()

    def clear(self) -> None:
        """Be silent."""
        self._silence.acquire(blocking=False)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it rings; return whether it does. It rings on: who waits clears it. timeout_s: None = for ever."""
        rings = self._silence.acquire(timeout=-1 if timeout_s is None else max(timeout_s, 0.0))
        if rings:
            self.set()
        return rings
