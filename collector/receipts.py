"""The last requests that tried to bring something in, and what became of each: the answer to "I sent it and see nothing"."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import NamedTuple

KEPT = 20
LONGEST_REASON = 300


class Receipt(NamedTuple):
    """One request. reason: why it, or part of it, was refused; empty if all of it was stored. records: how many were stored."""

    time_ns: int
    method: str
    path: str
    client: str
    user_agent: str
    status: int
    records: int
    reason: str


class Receipts:
    """Keeps the newest receipts and wakes those who wait for the next."""

    def __init__(self) -> None:
        """Begin with none."""
        self._recent: deque[Receipt] = deque(maxlen=KEPT)
        self._news = asyncio.Event()
        self.count = 0

    def add(self, receipt: Receipt) -> None:
        """Keep a receipt, and forget the oldest."""
        self._recent.appendleft(receipt)
        self.count += 1
        self._news.set()

    def recent(self) -> list[Receipt]:
        """List what is kept, newest first."""
        return list(self._recent)

    async def wait(self, seen: int, timeout_s: float) -> int:
        """Return the count of receipts once it differs from seen, or after timeout_s."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.count == seen:
                    self._news.clear()
                    await self._news.wait()
        return self.count
