"""Group commit: what waits goes in together, each sender hears of its own, and nothing is acknowledged that was not stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from collector.errors import FlowspanError, Full, Rejected, TooLarge, Unavailable
from collector.rows import RowMaker
from collector.verdict import Decoded, Verdict
from tests.batching import Bench, at_work
from tests.builders import RECEIVED_NS, moment
from tests.strict_store import PATIENCE_S, StrictStore


def test_an_answer_comes_after_the_commit() -> None:
    store = StrictStore()

    verdict = at_work(store, lambda bench: bench.send("a", "b"))

    assert (2, []) == (verdict.accepted, verdict.refused)
    assert ({"a", "b"}, [2]) == (store.names(), store.writes)


def test_what_waits_is_written_in_one_transaction() -> None:
    store = StrictStore()

    async def act(bench: Bench) -> list[Verdict]:
        store.gate.clear()
        first = asyncio.create_task(bench.send("first"))
        await bench.entered()
        others = [asyncio.create_task(bench.send(f"n{number}")) for number in range(50)]
        await asyncio.sleep(0)  # lets each of them come to its place in the queue
        store.gate.set()
        return await asyncio.gather(first, *others)

    verdicts = at_work(store, act)

    assert [1, 50] == store.writes
    assert [1] * 51 == [verdict.accepted for verdict in verdicts]


def test_a_group_holds_no_more_bytes_than_it_should() -> None:
    store = StrictStore()
    mebibyte = 1024 * 1024

    async def act(bench: Bench) -> None:
        store.gate.clear()
        first = asyncio.create_task(bench.send("first"))
        await bench.entered()
        others = [asyncio.create_task(bench.send(f"n{number}", size_bytes=10 * mebibyte)) for number in range(4)]
        await asyncio.sleep(0)
        store.gate.set()
        await asyncio.gather(first, *others)

    at_work(store, act)

    assert [1, 1, 1, 1, 1] == store.writes


def test_a_body_that_cannot_be_read_costs_nobody_else() -> None:
    store = StrictStore()

    def unreadable() -> Decoded:
        raise Rejected("no protobuf")

    async def act(bench: Bench) -> Sequence[Verdict | BaseException]:
        store.gate.clear()
        first = asyncio.create_task(bench.send("first"))
        await bench.entered()
        bad = asyncio.create_task(bench.batcher.submit("traces", unreadable, 1))
        good = asyncio.create_task(bench.send("good"))
        await asyncio.sleep(0)
        store.gate.set()
        return await asyncio.gather(first, bad, good, return_exceptions=True)

    first, bad, good = at_work(store, act)

    assert isinstance(bad, Rejected)
    assert isinstance(first, Verdict) and isinstance(good, Verdict)
    assert {"first", "good"} == store.names()


def test_a_fault_of_ours_in_decoding_is_unavailable_not_lost() -> None:
    def broken() -> Decoded:
        raise KeyError("a bug of ours")

    with pytest.raises(Unavailable):
        at_work(StrictStore(), lambda bench: bench.batcher.submit("traces", broken, 1))


def test_of_a_refused_group_only_the_bad_record_is_refused() -> None:
    store = StrictStore(hated="bad")

    async def act(bench: Bench) -> Sequence[Verdict]:
        store.gate.clear()
        first = asyncio.create_task(bench.send("first"))
        await bench.entered()
        mixed = asyncio.create_task(bench.send("a", "b", "c", "bad", "d", "e", "f"))
        clean = asyncio.create_task(bench.send("g", "h"))
        await asyncio.sleep(0)
        store.gate.set()
        return await asyncio.gather(first, mixed, clean)

    _, mixed, clean = at_work(store, act)

    assert {"first", *"abcdefgh"} == store.names()
    assert (6, 1, 2, 0) == (mixed.accepted, len(mixed.refused), clean.accepted, len(clean.refused))
    assert "I hate bad" in mixed.refused[0].reason


def test_a_record_of_two_rows_that_are_both_refused_breaks_nothing() -> None:
    store = StrictStore(hated="bad")
    rows = RowMaker(RECEIVED_NS).add_all([moment("begun", "bad one"), moment("begun", "bad two")])

    verdict = at_work(store, lambda bench: bench.batcher.submit("logs", lambda: Decoded(rows, 1), 1))

    assert (0, 2) == (verdict.accepted, len(verdict.refused))


def test_while_the_store_is_down_nothing_is_acknowledged_and_it_recovers_by_itself() -> None:
    store = StrictStore(down=True)

    async def act(bench: Bench) -> tuple[list[Verdict | FlowspanError], Verdict, float]:
        down = await asyncio.gather(*(bench.outcome(f"n{number}") for number in range(10)))
        store.down = False
        return down, await bench.send("later"), bench.metrics.store_failures._value.get()

    down, later, failures = at_work(store, act)

    assert all(isinstance(outcome, Unavailable) for outcome in down)
    assert (1, {"later"}) == (later.accepted, store.names())
    assert failures >= 1


def test_a_storage_that_fails_unexpectedly_is_as_good_as_down() -> None:
    store = StrictStore(bug=True)

    async def act(bench: Bench) -> tuple[Verdict | FlowspanError, Verdict]:
        outcome = await bench.outcome("a")
        store.bug = False
        return outcome, await bench.send("b")

    failed, taken = at_work(store, act)

    assert isinstance(failed, Unavailable)
    assert 1 == taken.accepted


# R050
def test_past_its_bound_the_queue_is_full_until_something_was_committed() -> None:
    store = StrictStore()

    async def act(bench: Bench) -> Verdict:
        store.gate.clear()
        first = asyncio.create_task(bench.send("first", size_bytes=900))
        await bench.entered()
        with pytest.raises(Full):
            await bench.send("too much", size_bytes=200)
        store.gate.set()
        await first
        return await bench.send("later", size_bytes=200)

    verdict = at_work(store, act, queue_bytes=1024)

    assert (1, {"first", "later"}) == (verdict.accepted, store.names())


def test_a_body_larger_than_the_bound_is_too_large_for_ever() -> None:
    with pytest.raises(TooLarge):
        at_work(StrictStore(), lambda bench: bench.send("a", size_bytes=2000), queue_bytes=1024)


def test_room_is_given_back_whatever_became_of_a_request() -> None:
    store = StrictStore(down=True)

    async def act(bench: Bench) -> float:
        for _ in range(5):
            await bench.outcome("a")
        return float(bench.metrics.queue_bytes._value.get())

    assert 0 == at_work(store, act)


def test_a_store_that_hangs_is_not_waited_for_and_holds_no_bodies() -> None:
    store = StrictStore()

    async def act(bench: Bench) -> tuple[list[Verdict | FlowspanError], int, Verdict]:
        store.gate.clear()
        first = asyncio.create_task(bench.outcome("first"))
        await bench.entered()
        late = await asyncio.gather(first, *(bench.outcome(f"n{number}") for number in range(5)))
        held = len(bench.batcher._waiting)
        store.gate.set()
        return late, held, await until_taken(bench, "after")

    late, held, after = at_work(store, act, commit_timeout_s=0.05)

    assert all(isinstance(outcome, Unavailable) for outcome in late)
    assert (0, 1) == (held, after.accepted)
    assert {"first", "after"} == store.names()


async def until_taken(bench: Bench, name: str) -> Verdict:
    """Send as a sender does, again and again: a busy machine may take longer than the batcher's patience."""
    async with asyncio.timeout(PATIENCE_S):
        while not isinstance(outcome := await bench.outcome(name), Verdict):
            pass
    return outcome


def test_what_is_being_written_at_the_stop_is_answered() -> None:
    store = StrictStore()

    async def act(bench: Bench) -> asyncio.Task[Verdict]:
        store.gate.clear()
        sending = asyncio.create_task(bench.send("last"))
        await bench.entered()
        asyncio.get_running_loop().call_soon(store.gate.set)
        return sending

    sending = at_work(store, act)

    assert 1 == sending.result().accepted


def test_each_commit_is_told_of() -> None:
    async def act(bench: Bench) -> int:
        await bench.send("a")
        await bench.send("b")
        return len(bench.commits)

    assert 2 <= at_work(StrictStore(), act)
