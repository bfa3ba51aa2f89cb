"""When the next round of folding begins, over a real store."""

from __future__ import annotations

import asyncio

import pytest

from collector.folder import Folder
from collector.metrics import Metrics
from collector.steady import batch_of, run_begun
from storage_plugins.sqlite.storage import SqliteStorage
from tests.in_process import PATIENCE_S


def test_a_round_that_took_long_is_not_rested_from_for_long(storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited for its store: after a minute's hang the lists would stand still for two more."""
    monkeypatch.setattr("collector.folder.REST_FACTOR", 1e9)
    monkeypatch.setattr("collector.folder.LONGEST_REST_S", 0.01)
    storage.writer.write(batch_of(run_begun("r1")))

    async def fold_twice() -> None:
        rounds: asyncio.Queue[None] = asyncio.Queue()
        folder = Folder(storage.writer, Metrics(), lambda: rounds.put_nowait(None))
        running = asyncio.create_task(folder.run())
        try:
            async with asyncio.timeout(PATIENCE_S):
                await rounds.get()
                folder.hint()
                await rounds.get()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            folder.close()

    asyncio.run(fold_twice())
