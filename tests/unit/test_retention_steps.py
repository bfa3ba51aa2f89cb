"""Deleting what is too old goes on step by step, counts what went, and survives a store that cannot."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from collector import retention
from collector.answers import Expired
from collector.errors import Unavailable
from collector.metrics import Metrics
from collector.picture import KIND_RUN, RUNNING, Run
from collector.retention import Retention
from collector.rows import DAY_NS
from tests.strict_store import PATIENCE_S, StrictStore
from viewer.display import deleted_text

# Noon of a day.
NOW_NS = 20_000 * DAY_NS + DAY_NS // 2


@dataclass
class ForgetfulStore(StrictStore):
    """A third-party store with some old facts, and a bad moment between them."""

    steps: Iterator[Expired | None] = field(default_factory=lambda: iter([Expired(5, 1), None, Expired(3, 2, 4096)]))
    done: threading.Event = field(default_factory=threading.Event)

    def expire(self, now_ns: int) -> Expired | None:
        """See Writer."""
        step = next(self.steps, Expired())
        if step is None:
            raise Unavailable("not now")
        if step != Expired():
            return step
        self.done.set()
        return None


async def run_until_done(store: ForgetfulStore, metrics: Metrics) -> None:
    """Delete what is too old, until the store says that nothing is left."""
    forgetting = Retention(store, metrics)
    task = asyncio.create_task(forgetting.run())
    await asyncio.to_thread(store.done.wait, PATIENCE_S)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    forgetting.close()


# R156
def test_deleting_goes_on_after_a_store_could_not_and_counts_what_went(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "RETRY_S", 0.0)
    store, metrics = ForgetfulStore(), Metrics()

    asyncio.run(run_until_done(store, metrics))

    told = metrics.render().decode()
    for line in (
        "expired_facts_total 8.0",
        "expired_runs_total 3.0",
        "freed_bytes_total 4096.0",
        "expire_seconds_count 2.0",
        "store_failures_total 1.0",
    ):
        assert f"flowspan_{line}" in told


# R156
@pytest.mark.parametrize(
    ("first_day", "partly_deleted", "days", "expected"),
    [
        (19_000, True, 30, "Some of this run is older than 30 days and has been deleted."),
        (19_998, True, 1, "Some of this run is older than 1 day and has been deleted."),
        (19_000, True, 0, "Some of this run is too old and has been deleted."),
        (19_969, False, 30, "Log lines of this run that are older than 30 days have been deleted."),
        (19_970, False, 30, ""),
        (19_000, False, 0, ""),
    ],
)
def test_the_page_of_a_run_says_what_was_deleted(first_day: int, partly_deleted: bool, days: int, expected: str) -> None:
    run = Run(b"k", "flowspan", "r1", 0, KIND_RUN, RUNNING, first_ns=first_day * DAY_NS, partly_deleted=partly_deleted)

    assert expected == deleted_text(run, days, NOW_NS)
