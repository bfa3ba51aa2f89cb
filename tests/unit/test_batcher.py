"""Group commit: what waits goes in together, each sender hears of its own, and nothing is acknowledged that was not stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import pytest

from collector.batcher import Batcher
from collector.errors import FlowspanError, Full, Rejected, TooLarge, Unavailable
from collector.metrics import Metrics
from collector.rows import RowMaker
from collector.settings import Settings
from collector.verdict import Decoded, Joint, JointBody, Refusal, Verdict
from otel_bridge.lifecycle import facts_of
from tests.builders import RECEIVED_NS, event, moment
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
        return late, held, await bench.send("after")

    late, held, after = at_work(store, act, commit_timeout_s=0.05)

    assert all(isinstance(outcome, Unavailable) for outcome in late)
    assert (0, 1) == (held, after.accepted)
    assert {"first", "after"} == store.names()


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


# --- bodies of one kind ------------------------------------------------------------------------------------------------------------------


@dataclass
class NameLists:
    """A format of its own, bodies of names with spaces between: "?" is refused, "!" cannot be read, and "bug" we decode wrongly together."""

    together: list[list[bytes]] = field(default_factory=list)

    def decode_all(self, bodies: Sequence[bytes], received_ns: Sequence[int]) -> list[Decoded | FlowspanError]:
        """Decode bodies together."""
        self.together.append(list(bodies))
        if b"bug" in bodies:
            raise KeyError("a bug of ours")
        return [Rejected("no names") if body == b"!" else self.decode(body) for body in bodies]

    def decode(self, body: bytes) -> Decoded:
        """Decode one."""
        names = body.decode().split()
        if names == ["!"]:
            raise Rejected("no names")
        refused = [Refusal(place, "no name") for place, name in enumerate(names) if name == "?"]
        return Decoded(decoded(*(name for name in names if name != "?")).batch, len(names), refused)

    async def send(self, batcher: Batcher, *bodies: bytes, worth_bytes: int) -> list[Verdict | FlowspanError]:
        """Send all at once; return what became of each."""
        kind = Joint(self.decode_all, worth_bytes)
        sending = [batcher.submit("names", partial(self.decode, body), len(body), JointBody(kind, body, RECEIVED_NS)) for body in bodies]
        found = await asyncio.gather(*sending, return_exceptions=True)
        assert all(isinstance(one, Verdict | FlowspanError) for one in found), found
        return [one for one in found if isinstance(one, Verdict | FlowspanError)]


def sent_together(*bodies: bytes, worth_bytes: int) -> tuple[list[Verdict | FlowspanError], set[str], list[list[bytes]]]:
    """Return what becomes of bodies that come at once, the names stored, and what was decoded together."""
    store, lists = StrictStore(), NameLists()
    outcomes = at_work(store, lambda bench: lists.send(bench.batcher, *bodies, worth_bytes=worth_bytes))
    return outcomes, store.names(), lists.together


def test_bodies_of_one_kind_are_decoded_in_one_call_once_all_are_worth_it_together() -> None:
    bodies = [b"a", b"b c", b"d"]

    outcomes, names, together = sent_together(*bodies, worth_bytes=5)

    assert [1, 2, 1] == [one.accepted for one in outcomes if isinstance(one, Verdict)]
    assert ({"a", "b", "c", "d"}, [bodies]) == (names, together)


def test_below_what_is_worth_it_each_body_is_decoded_by_itself() -> None:
    outcomes, names, together = sent_together(b"a", b"b c", b"d", worth_bytes=6)

    assert [1, 2, 1] == [one.accepted for one in outcomes if isinstance(one, Verdict)]
    assert ({"a", "b", "c", "d"}, []) == (names, together)


def test_of_bodies_decoded_together_each_sender_hears_of_its_own() -> None:
    (sound, bad, mixed), names, _ = sent_together(b"a", b"!", b"b ? c ?", worth_bytes=0)

    assert (Verdict(1, []), {"a", "b", "c"}) == (sound, names)
    assert isinstance(bad, Rejected)
    assert Verdict(2, [Refusal(1, "no name"), Refusal(3, "no name")]) == mixed


def test_a_fault_of_ours_in_decoding_together_costs_no_sender_anything(caplog: pytest.LogCaptureFixture) -> None:
    (sound, bad, other), names, together = sent_together(b"a", b"!", b"bug", worth_bytes=0)

    assert [Verdict(1, []), Verdict(1, [])] == [sound, other]
    assert isinstance(bad, Rejected)
    assert ({"a", "bug"}, 1) == (names, len(together))
    assert ["3 bodies could not be decoded together, by a fault of ours"] == caplog.messages
