"""The thread that posts parcels: one at a time, and what could not be sent again later, after a random wait that grows."""

from __future__ import annotations

import logging
import random
import threading
import time

from otel_bridge.parcels import Parcel, Parcels
from otel_bridge.transport import Transport

logger = logging.getLogger(__name__)

# Exponential backoff with full jitter: a wait is random between 0 and this, doubled with every failure up to the greatest.
FIRST_WAIT_S = 0.5
GREATEST_WAIT_S = 30.0
# Nothing else makes a stored parcel of another process known.
LOOK_AT_STORE_S = 30.0
# An answer that takes longer than this is not worth an ending program's wait.
PATIENCE_AT_EXIT_S = 1.0


class Sender:
    """Sends what is in `parcels` until it is closed. Its thread is a daemon: a program never waits for it but in `flush`."""

    def __init__(self, parcels: Parcels, transport: Transport) -> None:
        """Nothing is sent before `start`."""
        self._parcels = parcels
        self._transport = transport
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._in_hand: Parcel | None = None
        self._posted_s = 0.0
        self._failures = 0
        self._not_before_s = 0.0
        self._is_closed = False
        # How many records a server has refused for good: it was told of them and said why.
        self.refused = 0

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="flowspan sender", daemon=True)
            self._thread.start()

    @property
    def is_failing(self) -> bool:
        """Return whether the last request failed in a way that may pass."""
        return self._failures > 0

    def flush(self, timeout_s: float, *, patient: bool) -> bool:
        """Wait until nothing waits in memory; return whether that is so.

        patient: False for a program that ends: it does not wait for a server that fails, or has not answered for PATIENCE_AT_EXIT_S.
        """
        until_s = time.monotonic() + timeout_s
        with self._changed:
            if patient:
                self._not_before_s = 0.0
                self._parcels.has_some.set()
            while not self._is_idle():
                left_s = until_s - time.monotonic()
                if left_s <= 0 or not (patient or self._is_promising()):
                    return False
                self._changed.wait(min(left_s, 0.05))
        return True

    def close(self) -> Parcel | None:
        """Send no more; return what is in hand: nobody knows whether it arrived."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._parcels.has_some.set()
        return self._in_hand

    def _is_idle(self) -> bool:
        """What comes from the store is somebody's past: nobody waits for it."""
        return (self._in_hand is None or self._in_hand.place > 0) and self._parcels.is_empty()

    def _is_promising(self) -> bool:
        if self._failures:
            return False
        return self._in_hand is None or time.monotonic() - self._posted_s < PATIENCE_AT_EXIT_S

    def _work(self) -> None:
        while not self._is_closed:
            self._rest()
            if self._is_closed:
                return
            with self._changed:
                self._in_hand = parcel = self._parcels.take()
                self._posted_s = time.monotonic()
            if parcel is None:
                with self._changed:
                    self._changed.notify_all()
                self._parcels.has_some.wait(LOOK_AT_STORE_S)
                continue
            self._send(parcel)

    def _rest(self) -> None:
        """Wait as long as the last failure says; a patient flush cuts it short."""
        with self._changed:
            while not self._is_closed and time.monotonic() < self._not_before_s:
                self._changed.wait(min(self._not_before_s - time.monotonic(), 1.0))

    def _send(self, parcel: Parcel) -> None:
        answer = self._transport.post(parcel.path, parcel.body)
        if answer.taken or not answer.again:
            if not answer.taken:
                self._refuse(parcel, answer.reason)
            self._parcels.sent(parcel)
            self._recover()
        else:
            self._fail(answer.reason, answer.retry_after_s)
            self._parcels.put_back(parcel)
        with self._changed:
            self._in_hand = None
            self._changed.notify_all()

    def _recover(self) -> None:
        if self._failures:
            logger.info("the Flowspan server answers again")
        self._failures = 0

    def _refuse(self, parcel: Parcel, reason: str) -> None:
        self.refused += parcel.records
        logger.warning("the Flowspan server refused %d records: %s", parcel.records, reason)

    def _fail(self, reason: str, retry_after_s: float) -> None:
        if not self._failures:
            logger.warning("the Flowspan server does not take what happens here, it will be sent later: %s", reason)
        most_s = min(FIRST_WAIT_S * 2**self._failures, GREATEST_WAIT_S)
        self._failures += 1
        self._not_before_s = time.monotonic() + max(random.uniform(0, most_s), retry_after_s)
