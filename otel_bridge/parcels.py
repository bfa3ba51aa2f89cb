"""Encoded requests that wait to be sent: in memory, then on disk, and when that is full too, the least useful goes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from otel_bridge.worth import Worth

TRACES_PATH = "/v1/traces"
LOGS_PATH = "/v1/logs"


@dataclass(frozen=True)
class Parcel:
    """One OTLP request, ready to be sent again and again: the same bytes are the same records. body: gzipped protobuf.

    place: where the store keeps it, 0 if it came from memory. is_beat: a sign of life, of no use later.
    """

    path: str
    body: bytes
    worth: Worth
    records: int
    place: int = 0
    is_beat: bool = False


class Store(Protocol):
    """Where parcels outlive the process."""

    def put(self, parcel: Parcel) -> Mapping[Worth, int]:
        """Keep a parcel; return how many records of each worth had to go for it. Raises OSError if nothing can be kept."""
        ...

    def claim(self) -> Parcel | None:
        """Return the oldest parcel that nobody else is sending, if there is one."""
        ...

    def done(self, place: int) -> None:
        """Forget a parcel."""
        ...


class Parcels:
    """What waits to be sent. Fresh parcels go first: they are what somebody is looking at."""

    def __init__(self, most_bytes: int, store: Store | None) -> None:
        """most_bytes: of bodies in memory; what is beyond goes to the store, the oldest first."""
        self._most_bytes = most_bytes
        self._store = store
        self._waiting: deque[Parcel] = deque()
        self._bytes = 0
        self._beat: Parcel | None = None
        self._dropped = dict.fromkeys(Worth, 0)
        self._lock = threading.RLock()
        self.has_some = threading.Event()

    def put(self, parcel: Parcel, *, straight_to_store: bool = False) -> None:
        """Keep a parcel. straight_to_store: nobody answers at the other end, and this process may end."""
        with self._lock:
            if not (straight_to_store and self._move(parcel)):
                self._waiting.append(parcel)
                self._bytes += len(parcel.body)
                self._make_room()
        self.has_some.set()

    def put_beat(self, parcel: Parcel) -> None:
        """Keep a sign of life; it replaces the one before: an old one says nothing."""
        self._beat = parcel
        self.has_some.set()

    def take(self) -> Parcel | None:
        """Return what to send next: the sign of life, what is fresh, what is stored."""
        with self._lock:
            beat, self._beat = self._beat, None
            if beat is not None:
                return beat
            if self._waiting:
                parcel = self._waiting.popleft()
                self._bytes -= len(parcel.body)
                return parcel
            self.has_some.clear()
        return self._store.claim() if self._store is not None else None

    def put_back(self, parcel: Parcel) -> None:
        """Keep a parcel that could not be sent. One from the store is there still."""
        if not parcel.place and not parcel.is_beat:
            self.put(parcel, straight_to_store=True)

    def sent(self, parcel: Parcel) -> None:
        """Forget a parcel that was answered for good."""
        if parcel.place and self._store is not None:
            self._store.done(parcel.place)

    def store_all(self) -> None:
        """Move what waits in memory to the store; what it does not take is dropped."""
        with self._lock:
            while self._waiting:
                parcel = self._waiting.popleft()
                self._bytes -= len(parcel.body)
                if not self._move(parcel):
                    self._dropped[parcel.worth] += parcel.records

    def take_dropped(self) -> Mapping[Worth, int]:
        """Return how many records of each worth were dropped since this was asked."""
        with self._lock:
            dropped = {worth: count for worth, count in self._dropped.items() if count}
            self._dropped = dict.fromkeys(Worth, 0)
        return dropped

    def is_empty(self) -> bool:
        """Return whether nothing waits in memory."""
        return not self._waiting

    def _make_room(self) -> None:
        while self._bytes > self._most_bytes and len(self._waiting) > 1:
            oldest = self._waiting[0]
            if self._move(oldest):
                self._forget(oldest)
            else:
                least = min(self._waiting, key=lambda parcel: parcel.worth)
                self._forget(least)
                self._dropped[least.worth] += least.records

    def _forget(self, parcel: Parcel) -> None:
        self._waiting.remove(parcel)
        self._bytes -= len(parcel.body)

    def _move(self, parcel: Parcel) -> bool:
        """Put a parcel into the store and count what had to go for it; False if there is none that takes it."""
        if self._store is None:
            return False
        try:
            gone = self._store.put(parcel)
        except OSError:
            return False
        for worth, count in gone.items():
            self._dropped[worth] += count
        return True
