"""Flows and tasks that are coroutines and asynchronous generators."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar, cast

import pytest

from otel_bridge import flow, log, run, task
from tests import watching
from tests.watching import Told, here

told = watching.told

T = TypeVar("T")


@task
async def fetch(number: int, turn: asyncio.Event, next_turn: asyncio.Event) -> str:
    """Work in turns with others."""
    await turn.wait()
    log(f"page {number}")
    next_turn.set()
    return here().node


@flow
async def crawl() -> list[str]:
    """Fetch three pages, the last first."""
    turns = [asyncio.Event() for _ in range(4)]
    turns[3].set()
    return await asyncio.gather(*(fetch(number, turns[number + 1], turns[number]) for number in range(3)))


# R159 R166
def test_coroutines_that_interleave_keep_their_places(told: Told) -> None:
    nodes = asyncio.run(crawl())

    shown = told.run_of("crawl")
    assert ["fetch:1", "fetch:2", "fetch:3"] == nodes
    assert [("fetch:3", "page 2"), ("fetch:2", "page 1"), ("fetch:1", "page 0")] == told.lines(shown["run_id"])
    assert ("SUCCEEDED", dict.fromkeys(nodes, "SUCCEEDED")) == (shown["status"], told.states(shown["run_id"]))


def test_a_coroutine_function_stays_one() -> None:
    assert inspect.iscoroutinefunction(fetch)
    assert inspect.iscoroutinefunction(crawl)
    assert inspect.isasyncgenfunction(pages)
    assert ("fetch", "Work in turns with others.", "pages") == (fetch.__name__, fetch.__doc__, pages.__name__)


# R165
def test_a_cancelled_coroutine_is_cancelled_and_one_that_takes_too_long_is_late(told: Told) -> None:
    @task
    async def wait() -> None:
        await asyncio.Event().wait()

    @task
    async def hurry() -> None:
        await asyncio.wait_for(wait(), 0)

    @flow(run_id="hurried")
    async def hurried() -> None:
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await hurry()

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(hurried())

    states = told.states("hurried")
    assert ("CANCELLED", "FAILED", "FAILED") == (states["wait:1"], states["hurry:1"], told.run("hurried")["status"])


@task
async def pages(most: int) -> AsyncGenerator[int, str]:
    """Yield pages, and log what is sent in return."""
    for number in range(most):
        await asyncio.sleep(0)
        answer = yield number
        log(f"got {answer}")


def test_an_async_generator_is_at_its_place_only_while_its_own_code_runs(told: Told) -> None:
    async def consume() -> list[str]:
        return [here().node async for _ in pages(2)]

    with run("consumed") as r:
        places = asyncio.run(consume())

    assert ["", ""] == places
    assert [("pages:1", "got None"), ("pages:1", "got None")] == told.lines(r.run_id)
    assert {"pages:1": "SUCCEEDED"} == told.states(r.run_id)


def test_an_async_generator_takes_what_is_sent_and_thrown(told: Told) -> None:
    async def talk() -> int:
        book = pages(3)
        await anext(book)
        second = await book.asend("hello")
        with pytest.raises(ValueError, match="torn"):
            await book.athrow(ValueError("torn"))
        return second

    with run("talked") as r:
        second = asyncio.run(talk())

    assert (1, {"pages:1": "FAILED"}) == (second, told.states(r.run_id))
    assert [("pages:1", "got hello")] == [line for line in told.lines(r.run_id) if "got" in line[1]]


@task
async def endless(closed: list[str]) -> AsyncIterator[int]:
    """Yield until nobody wants any more; that takes a while to notice."""
    try:
        while True:
            yield 1
    finally:
        await asyncio.sleep(0)
        closed.append(here().node)


def test_an_async_generator_that_is_wanted_no_more_has_succeeded(told: Told) -> None:
    closed: list[str] = []

    async def take_one() -> int:
        async with aclosing(cast(AsyncGenerator[int, None], endless(closed))) as ones:
            return await anext(ones)

    with run("stopped early") as r:
        assert 1 == asyncio.run(take_one())

    assert (["endless:1"], {"endless:1": "SUCCEEDED"}) == (closed, told.states(r.run_id))


def test_an_async_generator_is_closed_once_when_its_loop_ends(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    closed: list[str] = []

    async def take_one() -> AsyncIterator[int]:
        ones = endless(closed)
        await anext(ones)
        return ones

    with run("held on to") as r:
        held = asyncio.run(take_one())

    assert (["endless:1"], {"endless:1": "SUCCEEDED"}) == (closed, told.states(r.run_id))
    assert [] == [record.message for record in caplog.records if record.name == "asyncio"]
    assert held is not None


def undressed(function: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., Coroutine[Any, Any, T]]:
    """Decorate as many do: what comes of it is no coroutine function, but returns coroutines."""

    def dressed(*args: Any) -> Coroutine[Any, Any, T]:
        log("called")
        return function(*args)

    return dressed


@task
@undressed
async def fall(depth: int) -> str:
    """Fall, and fail from a depth of two on."""
    await asyncio.sleep(0)
    if depth > 1:
        raise ValueError("too deep")
    return here().node


# R159 R165
def test_a_function_that_returns_a_coroutine_ends_with_it(told: Told) -> None:
    @flow(run_id="fell")
    @undressed
    async def fell() -> str:
        first, second = fall(1), fall(2)
        log(f"then {await first}")
        return await second

    with pytest.raises(ValueError, match="deep"):
        asyncio.run(fell())

    assert ("FAILED", {"dressed:1": "SUCCEEDED", "dressed:2": "FAILED"}) == (told.run("fell")["status"], told.states("fell"))
    assert [(None, "called"), ("dressed:1", "called"), ("dressed:2", "called"), (None, "then dressed:1")] == told.lines("fell")[:4]


def test_outside_of_a_run_the_coroutine_is_the_functions_own() -> None:
    async def made() -> None: ...

    own = made()
    through = task(lambda: own)()
    own.close()

    assert own is through


def test_blocks_are_asynchronous_too_and_may_be_used_at_once(told: Told) -> None:
    block, both_in = task("both"), asyncio.Event()

    async def fail() -> None:
        async with block:
            await both_in.wait()
            raise ValueError(here().node)

    async def go_on() -> str:
        async with block as node:
            both_in.set()
            await asyncio.sleep(0)
            return node if node == here().node else ""

    async def both() -> str:
        async with run("at once") as r:
            failed, node = await asyncio.gather(fail(), go_on(), return_exceptions=True)
            assert ("both:1", "both:2") == (str(failed), node)
        return r.run_id

    run_id = asyncio.run(both())

    assert {"both:1": "FAILED", "both:2": "SUCCEEDED"} == told.states(run_id)


def _node() -> str:
    return here().node


# R164
def test_what_runs_in_a_thread_for_a_coroutine_is_at_its_place(told: Told) -> None:
    @task
    async def ask() -> list[str]:
        loop = asyncio.get_running_loop()
        return [await asyncio.to_thread(_node), await loop.run_in_executor(None, _node)]

    with run("asked"):
        nodes = asyncio.run(ask())

    assert ["ask:1"] * 2 == nodes
