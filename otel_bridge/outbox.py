"""What the program's threads have told and nobody has mapped yet: a queue bounded in bytes, in which the least useful gives way."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from otel_bridge.worth import Worth


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
        self._lanes: tuple[deque[Item], ...] = tuple(deque() for _ in Worth)
        self._bytes = 0
        self._number = 0
        self._dropped = dict.fromkeys(Worth, 0)
        # Reentrant: a signal handler or a finalizer may log while this very thread is inside.
        self._lock = threading.RLock()
        self.has_some = threading.Event()

    def put(self, worth: Worth, size: int, content: Any) -> None:
        """Take one thing told, or drop something."""
        with self._lock:
            self._number += 1
            self._lanes[worth].append(Item(self._number, worth, size, content))
            self._bytes += size
            if self._bytes > self._most_bytes:
                self._make_room()
        if not self.has_some.is_set():  # reading costs a tenth of setting
            self.has_some.set()

    def take(self, most: int) -> list[Item]:
        """Return what waits, in the order it was told, at most so much."""
        taken: list[Item] = []
        with self._lock:
            lanes = [lane for lane in self._lanes if lane]
            while lanes and len(taken) < most:
                lane = min(lanes, key=_head) if len(lanes) > 1 else lanes[0]
                item = lane.popleft()
                self._bytes -= item.bytes
                taken.append(item)
                if not lane:
                    lanes.remove(lane)
            if not lanes:
                self.has_some.clear()
        return taken

    def take_dropped(self) -> Mapping[Worth, int]:
        """Return how much of each worth was dropped since this was asked."""
        with self._lock:
            dropped = {worth: count for worth, count in self._dropped.items() if count}
            self._dropped = dict.fromkeys(Worth, 0)
        return dropped

    def __len__(self) -> int:
        """Return how many wait."""
        return sum(map(len, self._lanes))

    def _make_room(self) -> None:
        for worth in Worth:
            lane = self._lanes[worth]
            while lane and self._bytes > self._most_bytes:
                self._bytes -= lane.popleft().bytes
                self._dropped[worth] += 1


def _head(lane: deque[Item]) -> int:
    return lane[0].number
