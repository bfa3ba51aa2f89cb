"""What the log says of a store that is down: that it is, and that it is back, however many senders hear of it meanwhile."""

from __future__ import annotations

import logging

import pytest

from collector.errors import FlowspanError
from tests.batching import Bench, at_work
from tests.strict_store import StrictStore


async def send_in_vain(bench: Bench) -> None:
    """Send three requests, one after the other: each is a group that fails."""
    for name in ("a", "b", "c"):
        assert isinstance(await bench.outcome(name), FlowspanError)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return what the batcher logs, from warnings on."""
    caplog.set_level(logging.WARNING, "collector.batcher")
    return caplog


def test_an_outage_is_two_lines_however_many_groups_fail_in_it(log: pytest.LogCaptureFixture) -> None:
    store = StrictStore(down=True)

    async def act(bench: Bench) -> float:
        await send_in_vain(bench)
        store.down = False
        await bench.send("later")
        await bench.send("again")
        return float(bench.metrics.store_failures._value.get())

    failures = at_work(store, act)

    began, ended = log.records
    assert (3, logging.ERROR, logging.WARNING) == (failures, began.levelno, ended.levelno)
    assert "down" in began.getMessage()
    assert "the store takes facts again" in ended.getMessage()


def test_the_next_outage_is_told_again(log: pytest.LogCaptureFixture) -> None:
    store = StrictStore()

    async def act(bench: Bench) -> None:
        for _ in range(2):
            store.down = True
            await send_in_vain(bench)
            store.down = False
            await bench.send("between")

    at_work(store, act)

    assert [logging.ERROR, logging.WARNING] * 2 == [record.levelno for record in log.records]


def test_a_storage_that_goes_on_breaking_its_promise_is_one_traceback(log: pytest.LogCaptureFixture) -> None:
    at_work(StrictStore(bug=True), send_in_vain)

    assert [True, False] == [record.exc_info is not None for record in log.records]


def test_a_health_check_that_finds_the_store_back_says_so(log: pytest.LogCaptureFixture) -> None:
    store = StrictStore(down=True)

    async def act(bench: Bench) -> None:
        await send_in_vain(bench)
        store.down = False
        await bench.batcher.check()

    at_work(store, act)

    assert "the store takes facts again" in log.messages[-1]
