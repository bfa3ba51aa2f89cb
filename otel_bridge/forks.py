"""Keeps forks apart from what they must not interrupt: a module being imported, a bridge being made, a spool being written."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from otel_bridge.loading import importing

if TYPE_CHECKING:
    from otel_bridge.spool import Spool

# How long a fork waits for modules that are just being imported, or a bridge that is just being made.
IMPORT_S = 10.0
# How long it waits for a spool that is just being written: longer than others may keep that waiting (spool.BUSY_S).
SPOOL_S = 2.0


class Lock(Protocol):
    """A lock of any kind."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it; return whether it was."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...


class Forks:
    """What is done around each fork of this process."""

    def __init__(self, making: Lock, spool: Callable[[], Spool | None], begin_anew: Callable[[], None]) -> None:
        """making: held while a bridge is made. spool: returns the one that is used. begin_anew: called in the child."""
        self._making = making
        self._spool = spool
        self._begin_anew = begin_anew
        self._holds_making = False
        self._holds_import = False
        self._paused: Spool | None = None
        self._is_watched = threading.Event()

    def watch(self) -> None:
        """Be called from now on; once. Who registers last is called first before a fork: we must be, before the pools of concurrent.futures
        take their lock, because the import that we wait for takes it too.
        """
        if hasattr(os, "register_at_fork") and not self._is_watched.is_set():
            self._is_watched.set()
            os.register_at_fork(before=self._before, after_in_parent=self._after, after_in_child=self._after_in_child)

    def _before(self) -> None:
        self._holds_making = self._making.acquire(timeout=IMPORT_S)
        self._holds_import = importing.acquire(timeout=IMPORT_S)
        spool = self._spool()
        self._paused = spool if spool is not None and spool.pause(SPOOL_S) else None

    def _after(self) -> None:
        if self._paused is not None:
            self._paused.resume()
        if self._holds_import:
            importing.release()
        if self._holds_making:
            self._making.release()

    def _after_in_child(self) -> None:
        """Begin anew: threads, locks and what waits belong to the parent."""
        self._after()
        self._begin_anew()
