"""The queue between the program's threads and the bridge: bounded in bytes, in order, and never in anybody's way."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from typing import Any

from otel_bridge.bell import Bell
from otel_bridge.outbox import MOST_AT_ONCE, Outbox
from otel_bridge.worth import Worth

PATIENCE_S = 60.0


def contents(outbox: Outbox) -> list[Any]:
    return [item.content for item in outbox.take(10**6)]


class Interrupting(int):
    """A size whose reckoning is interrupted once, as a signal handler or a finalizer may at any line, by something that is told."""

    outbox: Outbox
    is_over = False

    def __radd__(self, other: int) -> int:
        if not self.is_over:
            self.is_over = True
            self.outbox.put(Worth.LINE, 1, "told in the middle")
        return other + int(self)

    __rsub__ = __radd__


def test_what_was_told_is_taken_in_the_order_of_telling_whatever_it_is_worth() -> None:
    outbox = Outbox(10_000)
    told = [Worth(number % len(Worth)) for number in range(3 * MOST_AT_ONCE)]
    for number, worth in enumerate(told):
        outbox.put(worth, 1, number)

    first, second = outbox.take(MOST_AT_ONCE + 1), outbox.take(10**6)

    assert MOST_AT_ONCE + 1 == len(first)
    assert list(range(3 * MOST_AT_ONCE)) == [item.content for item in [*first, *second]]


# R162
def test_a_full_outbox_drops_lines_then_starts_then_spans_and_ends_last() -> None:
    outbox = Outbox(100)
    for worth in (Worth.END, Worth.SPAN, Worth.START, Worth.LINE, Worth.LINE):
        outbox.put(worth, 20, worth)

    left = []
    for worth in (Worth.END, Worth.END, Worth.END, Worth.END, Worth.END):
        outbox.put(worth, 20, worth)
        left.append(outbox.dropped())

    assert [{Worth.LINE: 1}, {Worth.LINE: 2}, {Worth.LINE: 2, Worth.START: 1}] == [_some(counts) for counts in left[:3]]
    assert [{Worth.LINE: 2, Worth.START: 1, Worth.SPAN: 1}, {Worth.LINE: 2, Worth.START: 1, Worth.SPAN: 1, Worth.END: 1}] == [
        _some(counts) for counts in left[3:]
    ]


def test_of_one_worth_the_oldest_goes_first_and_no_more_than_must() -> None:
    outbox = Outbox(100)
    for number in range(10):
        outbox.put(Worth.LINE, 30, number)

    assert [7, 8, 9] == contents(outbox)
    assert {Worth.LINE: 7} == _some(outbox.dropped())


def test_room_that_was_taken_back_can_be_used_again() -> None:
    outbox = Outbox(100)
    for _ in range(50):
        outbox.put(Worth.LINE, 50, None)
        outbox.put(Worth.LINE, 50, None)
        outbox.take(10)

    assert {} == _some(outbox.dropped())


def test_something_told_in_the_middle_of_telling_is_kept_beside_it() -> None:
    outbox = Outbox(1_000)
    size = Interrupting(10)
    size.outbox = outbox

    outbox.put(Worth.END, size, "told")

    assert ["told", "told in the middle"] == contents(outbox)


def test_something_told_in_the_middle_of_taking_wakes_the_taker_again() -> None:
    outbox = Outbox(1_000)
    size = Interrupting(10)
    size.outbox, size.is_over = outbox, True
    outbox.put(Worth.END, size, "told")
    size.is_over = False

    taken = outbox.take(1)

    assert (["told"], True) == ([item.content for item in taken], outbox.has_some.is_set())
    assert ["told in the middle"] == contents(outbox)


def test_the_bound_holds_though_its_sum_was_interrupted_again_and_again() -> None:
    outbox = Outbox(100)
    for _ in range(50):
        size = Interrupting(10)
        size.outbox = outbox
        outbox.put(Worth.END, size, None)
        outbox.take(10)

    for number in range(200):
        outbox.put(Worth.LINE, 10, number)

    assert list(range(190, 200)) == contents(outbox)


def test_the_bell_rings_while_something_waits_and_only_then() -> None:
    outbox = Outbox(1_000)
    rings = [outbox.has_some.wait(0)]

    for _ in range(2):
        outbox.put(Worth.LINE, 1, None)
    rings.append(outbox.has_some.wait(0))
    outbox.take(1)
    rings.append(outbox.has_some.wait(0))
    outbox.take(1)
    rings.append(outbox.has_some.wait(0))

    assert [False, True, True, False] == rings


def test_a_bell_wakes_who_waits_and_rings_on() -> None:
    bell = Bell()
    woken: list[bool] = []
    waiting = threading.Thread(target=lambda: woken.append(bell.wait(PATIENCE_S)))
    waiting.start()

    bell.set()
    bell.set()
    waiting.join(PATIENCE_S)

    assert ([True], True) == (woken, bell.is_set())


def test_threads_that_tell_at_once_lose_nothing_and_keep_their_order() -> None:
    outbox = Outbox(10**9)
    threads = [threading.Thread(target=_tell_many, args=(outbox, name)) for name in range(8)]
    for thread in threads:
        thread.start()

    taken: list[tuple[int, int]] = []
    while any(thread.is_alive() for thread in threads) or outbox.has_some.is_set():
        if outbox.has_some.wait(0.01):
            taken += contents(outbox)

    assert [(name, number) for name in range(8) for number in range(2_000)] == sorted(taken)
    for name in range(8):
        assert list(range(2_000)) == [number for by, number in taken if by == name]


def _tell_many(outbox: Outbox, name: int) -> None:
    for number in range(2_000):
        outbox.put(Worth(number % len(Worth)), 1, (name, number))


def test_a_signal_handler_that_tells_something_neither_hangs_nor_loses() -> None:
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(_STORM)], capture_output=True, text=True, timeout=PATIENCE_S)

    assert ("True\n", "") == (told.stdout, told.stderr)


# The taker empties it over and over, so that most that is told rings the bell.
_STORM = """
import signal, threading
from otel_bridge.outbox import Outbox
from otel_bridge.worth import Worth

outbox, told, taken, is_over = Outbox(10**9), 0, 0, threading.Event()

def tell(*_):
    global told
    told += 1
    outbox.put(Worth.LINE, 1, None)

def take():
    global taken
    while not is_over.is_set() or len(outbox):
        outbox.has_some.wait(0.01)
        taken += len(outbox.take(1))

taker = threading.Thread(target=take)
taker.start()
signal.signal(signal.SIGALRM, tell)
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
put = 0
for put in range(1, 20_001):
    outbox.put(Worth.END, 1, None)
signal.setitimer(signal.ITIMER_REAL, 0)
is_over.set()
taker.join()
print(taken == put + told and told > 10)
"""


def _some(counts: Any) -> dict[Worth, int]:
    return {worth: count for worth, count in counts.items() if count}
