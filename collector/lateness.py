"""How late the event loop is: whatever holds it holds every answer and every socket."""

from __future__ import annotations

import asyncio

from collector.metrics import Metrics

# Often enough to meet what holds it for a few milliseconds; a look costs 15 us.
LOOK_EVERY_S = 0.02


async def measure_lateness(metrics: Metrics) -> None:
    """Observe how much later than asked for the event loop wakes a task up, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + LOOK_EVERY_S
        await asyncio.sleep(LOOK_EVERY_S)
        metrics.loop_lag_seconds.observe(max(0.0, loop.time() - due_s))
