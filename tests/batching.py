"""A batcher at work on a strict store, for tests of what becomes of requests that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from collector.batcher import Batcher
from collector.errors import FlowspanError
from collector.metrics import Metrics
from collector.rows import RowMaker
from collector.settings import Settings
from collector.verdict import Decoded, Verdict
from otel_bridge.lifecycle import facts_of
from tests.builders import RECEIVED_NS, event
from tests.strict_store import PATIENCE_S, StrictStore

Result = TypeVar("Result")


@dataclass
class Bench:
    """A batcher at work on a strict store."""

    store: StrictStore
    batcher: Batcher
    metrics: Metrics
    commits: list[None]

    async def send(self, *names: str, size_bytes: int = 1) -> Verdict:
        """Send one request with an event for each of these flows."""
        with self.batcher.reserve() as reservation:
            reservation.grow(size_bytes)
            return await self.batcher.submit("events", lambda: decoded(*names), size_bytes)

    async def outcome(self, *names: str) -> Verdict | FlowspanError:
        """Send, and return the error if it is refused."""
        try:
            return await self.send(*names)
        except FlowspanError as error:
            return error

    async def entered(self) -> None:
        """Wait until the store is asked to write."""
        await asyncio.to_thread(self.store.entered.wait, PATIENCE_S)


def decoded(*names: str) -> Decoded:
    """Return a body that says that a run of each of these flows has begun."""
    maker = RowMaker(RECEIVED_NS)
    for name in names:
        maker.add_all(facts_of(event("flow_started", 0, flow=name, run_id=name), RECEIVED_NS))
    return Decoded(maker.batch, len(names))


def at_work(store: StrictStore, act: Callable[[Bench], Awaitable[Result]], **settings: float) -> Result:
    """Run a batcher on a store for as long as act takes."""

    async def work() -> Result:
        metrics, commits = Metrics(), []  # type: ignore[var-annotated]  # a list of nothing but Nones
        batcher = Batcher(store, Settings(**settings), metrics, lambda: commits.append(None))  # type: ignore[arg-type]  # pydantic checks them
        running = asyncio.create_task(batcher.run())
        try:
            return await act(Bench(store, batcher, metrics, commits))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            batcher.close()

    return asyncio.run(work())
