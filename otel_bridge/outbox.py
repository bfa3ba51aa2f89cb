"""What the program's threads have told and nobody has mapped yet: a queue bounded in bytes, in which the least useful gives way."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from otel_bridge.bell import Bell
from otel_bridge.worth import Worth

# Taken under the lock at once: who tells something meanwhile waits 50 us, not the 1-2 ms of a whole round.
MOST_AT_ONCE = 100
_WORTHS = tuple(Worth)  # to go through the class itself costs a microsecond


class Item(NamedTuple):
    """One thing told. number: its place in the order of telling. bytes: about what it holds in memory."""

    number: int
    worth: Worth
    bytes: int
    content: Any


class Outbox:
    """Takes from any thread, signal handler or finalizer, in about a microsecond; never blocks on anything but its own short lock."""

    def __init__(self, most_bytes: int) -> None:
        """most_bytes: when more waits, the least useful goes, the oldest of it first."""
        self._most_bytes = most_bytes
        self._half_bytes = most_bytes // 2
        self._lanes: tuple[deque[Item], ...] = tuple(deque() for _ in Worth)
        self._bytes = 0
        self._number = 0
        self._dropped = dict.fromkeys(Worth, 0)
        # Reentrant: a signal handler or a finalizer may log while this very thread is inside, between any two lines of what follows.
        self._lock = threading.RLock()
        self.has_some = Bell()
        # Somebody waits for what is here, or it is half full: it is not to wait for company.
        self.is_urgent = Bell()

    def put(self, worth: Worth, size: int, content: Any) -> None:
        """Take one thing told, or drop something."""
        with self._lock:
            self._number += 1
            self._lanes[worth].append(Item(self._number, worth, size, content))
            self._bytes += size
            if self._bytes > self._half_bytes:
                if not self.is_urgent.is_set():
                    self.is_urgent.set()
                if self._bytes > self._most_bytes:
                    self._make_room()
        if not self.has_some.is_set():  # reading costs a third of setting
            self.has_some.set()

    def take(self, most: int) -> list[Item]:
        """Return what waits, in the order it was told, at most so much."""
        taken: list[Item] = []
        while len(taken) < most and self._take_some(taken, min(most - len(taken), MOST_AT_ONCE)):
            pass
        return taken

    @property
    def told(self) -> int:
        """Return the number of the last thing told."""
        return self._number

    def oldest(self) -> int:
        """Return the number of the first thing that waits, or of the next that will be told: what has a lower one is taken, or was dropped."""
        with self._lock:
            return min((lane[0].number for lane in self._lanes if lane), default=self._number + 1)

    def dropped(self) -> Mapping[Worth, int]:
        """Return how much of each worth was dropped so far."""
        return dict(self._dropped)

    def __len__(self) -> int:
        """Return how many wait."""
        return sum(map(len, self._lanes))

    def _take_some(self, taken: list[Item], count: int) -> bool:
        """Add so many to what is taken; return whether more may wait."""
        with self._lock:
            lanes = [lane for lane in self._lanes if lane]
            while lanes and count:
                lane = min(lanes, key=_head) if len(lanes) > 1 else lanes[0]
                item = lane.popleft()
                self._bytes -= item.bytes
                taken.append(item)
                count -= 1
                if not lane:
                    lanes.remove(lane)
            return bool(lanes) or self._is_more()

    def _is_more(self) -> bool:
        """Silence the bell unless something has come meanwhile. In this order: what comes after the look rings it anew."""
        self.has_some.clear()
        if any(self._lanes):
            self.has_some.set()
            return True
        self._bytes = 0  # whatever was interrupted in the middle of its sum
        return False

    def _make_room(self) -> None:
        for worth in _WORTHS:
            lane = self._lanes[worth]
            while self._bytes > self._most_bytes:
                try:
                    self._bytes -= lane.popleft().bytes
                except IndexError:  # it is empty, or who interrupted this has emptied it
                    break
                self._dropped[worth] += 1


def _head(lane: deque[Item]) -> int:
    return lane[0].number
