"""A lock that is not waited for for ever: who holds it may hang in a file of a network home, and a program wants to fork or end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

# Longer than a spool keeps its own process waiting that others are writing (spool.BUSY_S).
STUCK_S = 2.0


class Lock(Protocol):
    """A lock, or a condition with its lock."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it; return whether that is so."""
        ...

    def release(self) -> None:
        """Let it go."""
        ...


@contextmanager
def held(lock: Lock, timeout_s: float = STUCK_S) -> Iterator[bool]:
    """Hold a lock within the block, if it could be had; yield whether it is held."""
    is_held = lock.acquire(timeout=timeout_s)
    try:
        yield is_held
    finally:
        if is_held:
            lock.release()
