"""What the tails have in common: watchers with a bounded queue each, and the pace at which news are looked for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from collector.answers import Resync
from collector.errors import Unavailable

log = logging.getLogger(__name__)

Told = TypeVar("Told")

# News are gathered this long before they are read: 20 pictures a second are more than an eye follows.
GATHER_S = 0.05
# A hint may be lost with the process that committed; then this is how late its news are.
LOOK_ANYWAY_S = 1.0
# A look may take longer than GATHER_S: rest this many times what the last one took besides. At 1,000 events/s into ten watched runs an event is
# on its sockets within 290 ms (p95; Postgres 320), at 1.0 within 440 (580), and neither costs the senders anything.
REST_FACTOR = 0.3


@dataclass(slots=True, eq=False)
class Watcher(Generic[Told]):
    """One watcher's news, in order. None in the queue: it fell behind, and this is the last it hears."""

    queue: asyncio.Queue[Told | None]

    async def next(self, timeout_s: float) -> Told | None:
        """Return the next news, or None if there were none for timeout_s. Raises Resync if this watcher fell behind."""
        try:
            async with asyncio.timeout(timeout_s):
                news = await self.queue.get()
        except TimeoutError:
            return None
        if news is None:
            raise Resync
        return news

    def tell(self, news: Told) -> bool:
        """Put news into the queue. False if it is full: then this watcher must begin again."""
        if self.queue.full():
            return False
        self.queue.put_nowait(news)
        return True

    def give_up(self) -> None:
        """Let its news go; the one thing left in its queue is the word that it must begin again."""
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


async def keep_looking(look: Callable[[], Awaitable[None]], hinted: asyncio.Event, is_watched: Callable[[], bool]) -> None:
    """Look after each hint, and every second while somebody watches, until cancelled. Hints that come while it looks or rests are one."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_ANYWAY_S if is_watched() else None):
                await hinted.wait()
        hinted.clear()
        began = time.monotonic()
        try:
            await look()
        except Unavailable as error:
            log.warning("news cannot be read just now, will look again: %s", error.in_full())
            await asyncio.sleep(LOOK_ANYWAY_S)
            hinted.set()
        await asyncio.sleep(min(GATHER_S + REST_FACTOR * (time.monotonic() - began), LOOK_ANYWAY_S))
