"""Takes away what is older than is kept: steps of Writer.expire in a thread of its own, with rests between them, when the store is open."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from concurrent.futures import ThreadPoolExecutor

from collector.answers import Expired
from collector.errors import Unavailable
from collector.metrics import Metrics
from collector.storage import Writer

log = logging.getLogger(__name__)

# Rest after a step, as a multiple of what it took: 4 leaves four fifths of a core, and of the store, to everybody else. SQLite deletes
# 600-1,900 facts a second so, beside 4,000 that come in (their commits: p50 34 ms with and without, p99 98 and 116, 2026-11).
REST_FACTOR = 4.0
# Once nothing is left to do. A day ends once a day, but replicas come and go, and a server's clock is not everybody's.
LOOK_EVERY_S = 900.0
# After the store could not do it.
RETRY_S = 60.0
# Replicas that were started together look at different times: between this much of the wait and the whole of it.
LEAST_WAIT = 0.5


class Retention:
    """Calls Writer.expire until nothing is left to do, and again a while later."""

    def __init__(self, writer: Writer, metrics: Metrics) -> None:
        """writer: its expire() is called from a thread of ours, one step at a time."""
        self._writer = writer
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flowspan-expire")

    async def run(self) -> None:
        """Take away what is too old until cancelled."""
        while True:
            rest_s = await self._step()
            await asyncio.sleep(rest_s)

    def close(self) -> None:
        """Wait for a step under way, and end the thread."""
        self._thread.shutdown()

    async def _step(self) -> float:
        """Do one step, and return how many seconds to rest."""
        began = time.perf_counter()
        try:
            expired = await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.expire, time.time_ns())
        except Unavailable as error:
            self._metrics.store_failures.inc()
            log.warning("what is too old could not be deleted, will try again: %s", error.in_full())
            return RETRY_S
        if expired is None:
            return LOOK_EVERY_S * random.uniform(LEAST_WAIT, 1.0)
        took_s = time.perf_counter() - began
        self._count(expired, took_s)
        return REST_FACTOR * took_s

    def _count(self, expired: Expired, took_s: float) -> None:
        self._metrics.expire_seconds.observe(took_s)
        self._metrics.expired_facts.inc(expired.facts)
        self._metrics.expired_runs.inc(expired.runs)
        self._metrics.freed_bytes.inc(expired.freed_bytes)
