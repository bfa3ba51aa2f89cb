"""Encoded requests that wait to be sent: in memory, then on disk, and when that is full too, the least useful goes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from otel_bridge.bell import Bell
from otel_bridge.held import held
from otel_bridge.worth import Worth

TRACES_PATH = "/v1/traces"
LOGS_PATH = "/v1/logs"
# Nothing else makes known what other processes have left in the store. What is in somebody's hands, or rests, comes back sooner.
LOOK_AT_STORE_S = 30.0
LOOK_AT_REST_S = 1.0


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

    def put(self, parcels: Sequence[Parcel]) -> Mapping[Worth, int]:
        """Keep parcels; return how many records of each worth had to go for them. Raises OSError if none of them can be kept."""
        ...

    def claim(self) -> Parcel | None:
        """Return a parcel that nobody else is sending, if there is one."""
        ...

    def give_back(self, place: int, *, is_suspect: bool) -> None:
        """Leave a parcel to whoever sends next. is_suspect: it may be its own fault that it was not taken; others go before it."""
        ...

    def done(self, place: int) -> None:
        """Forget a parcel."""
        ...

    def holds_some(self) -> bool:
        """Return whether there is anything, if only in somebody else's hands."""
        ...

    def left(self) -> int:
        """Return how many of the parcels that were put here by this very object nobody has delivered."""
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
        self._is_held = False
        self._has_stored = False
        self._next_look_s = 0.0
        self._lock = threading.RLock()
        self.has_some = Bell()

    def put(self, *parcels: Parcel) -> None:
        """Keep parcels: what is told at once is written at once, if it is written."""
        if not parcels:
            return
        with self._lock:
            if not (self._is_held and self._move(parcels)):
                self._waiting.extend(parcels)
                self._bytes += sum(len(parcel.body) for parcel in parcels)
                self._make_room()
        self.has_some.set()

    def put_beat(self, parcel: Parcel) -> None:
        """Keep a sign of life; it replaces the one before: an old one says nothing."""
        with self._lock:
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
        return self._claim()

    def wait(self) -> None:
        """Wait until something is put, or it is time to look at the store again."""
        self.has_some.wait(self._next_look_s - time.monotonic() if self._store is not None else None)

    def put_back(self, parcel: Parcel, *, is_suspect: bool = False) -> None:
        """Keep a parcel that could not be sent. is_suspect: the server answered, so it may be this parcel that it does not bear."""
        if parcel.is_beat:
            return
        if not parcel.place:
            with self._lock:
                if not self._move([parcel]):
                    self.put(parcel)
        elif self._store is not None:
            self._store.give_back(parcel.place, is_suspect=is_suspect)

    def sent(self, parcel: Parcel) -> None:
        """Forget a parcel that was answered for good."""
        if parcel.place and self._store is not None:
            self._store.done(parcel.place)

    def hold(self) -> None:
        """Nobody answers, and this process may be killed: what waits, and what comes until `release`, goes to the store at once."""
        with self._lock:
            self._is_held = True
            if self._waiting and self._move(self._waiting):
                self._waiting.clear()
                self._bytes = 0

    @property
    def is_held(self) -> bool:
        """Return whether nobody answers."""
        return self._is_held

    def release(self) -> None:
        """Somebody answers again."""
        with self._lock:
            self._is_held = False
            self._next_look_s = 0.0

    def close(self, in_hand: Parcel | None = None) -> None:
        """Move what waits in memory, and what the sender had in hand, to the store; what it does not take is dropped."""
        with held(self._lock) as is_held:
            if not is_held:  # somebody hangs in the store
                return
            if in_hand is not None:
                self.put_back(in_hand)
            self.hold()
            for parcel in self._waiting:
                self._dropped[parcel.worth] += parcel.records
            self._waiting.clear()
            self._bytes = 0

    def dropped(self) -> Mapping[Worth, int]:
        """Return how many records of each worth were dropped so far, by the store too."""
        return dict(self._dropped)

    def is_empty(self) -> bool:
        """Return whether nothing waits in memory."""
        return not self._waiting

    def is_delivered(self) -> bool:
        """Return whether nothing of this process waits, in memory or in the store."""
        if self._waiting:
            return False
        if self._has_stored and self._store is not None:
            self._has_stored = self._store.left() > 0
        return not self._has_stored

    def _claim(self) -> Parcel | None:
        """An empty store is not asked after every request."""
        now_s = time.monotonic()
        if self._store is None or now_s < self._next_look_s:
            return None
        parcel = self._store.claim()
        if parcel is None:
            self._next_look_s = now_s + (LOOK_AT_REST_S if self._store.holds_some() else LOOK_AT_STORE_S)
        return parcel

    def _make_room(self) -> None:
        while self._bytes > self._most_bytes and len(self._waiting) > 1:
            oldest = self._waiting[0]
            if self._move([oldest]):
                self._forget(oldest)
            else:
                least = min(self._waiting, key=lambda parcel: parcel.worth)
                self._forget(least)
                self._dropped[least.worth] += least.records

    def _forget(self, parcel: Parcel) -> None:
        self._waiting.remove(parcel)
        self._bytes -= len(parcel.body)

    def _move(self, parcels: Sequence[Parcel]) -> bool:
        """Put parcels into the store and count what had to go for them; False if there is none that takes them."""
        if self._store is None:
            return False
        try:
            gone = self._store.put(parcels)
        except OSError:
            return False
        self._has_stored = True
        self._next_look_s = 0.0
        for worth, count in gone.items():
            self._dropped[worth] += count
        return True
