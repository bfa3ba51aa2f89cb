"""Keeps the cached runs up to date with the facts: a round of folding after commits, and a sweep for marks another process left behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from collector.errors import Unavailable
from collector.metrics import Metrics
from collector.storage import Writer

log = logging.getLogger(__name__)

# Rest after a round, as a multiple of what it took: 2 leaves two thirds of a core to those who bring the facts (512-span requests over HTTP:
# without rest 5.2 k spans/s, with it 8.6 k, 2026-11). The lists are later by that much, runs that are looked at are not.
REST_FACTOR = 2.0
# At least so long, however short the round: what comes meanwhile is one round. At 1,000 events/s into ten runs most rounds found nothing due.
LEAST_REST_S = 0.05
# At most so long: a round that took longer waited for its store (a minute's hang was two minutes' rest), or folded a large run, which pauses by
# itself.
LONGEST_REST_S = 2.0
# A mark older than this was left by a process that died, or is a run whose state time changes.
SWEEP_S = 2.0


class Folder:
    """Calls Writer.fold when something was committed, when a run is due again, and now and then."""

    def __init__(self, writer: Writer, metrics: Metrics, folded: Callable[[], None]) -> None:
        """writer: its fold() is called from a thread of ours, one round at a time. folded: told after each round."""
        self._writer = writer
        self._metrics = metrics
        self._folded = folded
        self._hinted = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flowspan-fold")

    def hint(self) -> None:
        """Say that something was committed."""
        self._hinted.set()

    async def run(self) -> None:
        """Fold until cancelled."""
        wait_s: float | None = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S if wait_s is None else max(wait_s, 0.0)):
                    await self._hinted.wait()
            self._hinted.clear()
            wait_s = await self._round()

    def close(self) -> None:
        """Wait for a round under way, and end the thread."""
        self._thread.shutdown()

    async def _round(self) -> float | None:
        began = time.perf_counter()
        try:
            wait_s = await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.fold, time.time_ns())
        except Unavailable as error:
            self._metrics.store_failures.inc()
            log.warning("runs could not be folded, their marks stay: %s", error.in_full())
            await asyncio.sleep(SWEEP_S)
            return None
        took_s = time.perf_counter() - began
        self._metrics.fold_seconds.observe(took_s)
        self._folded()
        await asyncio.sleep(min(max(REST_FACTOR * took_s, LEAST_REST_S), LONGEST_REST_S))
        return wait_s
