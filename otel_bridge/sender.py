"""The thread that posts parcels: one at a time, and what could not be sent again later, after a random wait that grows."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from otel_bridge.guard import harmlessly
from otel_bridge.held import held
from otel_bridge.parcels import Parcel, Parcels
from otel_bridge.transport import Answer, Transport

logger = logging.getLogger(__name__)

# Exponential backoff with full jitter: a wait is random between 0 and this, doubled with every failure up to the greatest.
FIRST_WAIT_S = 0.5
GREATEST_WAIT_S = 30.0
# An answer that takes longer than this is not worth an ending program's wait.
PATIENCE_AT_EXIT_S = 1.0
# Who waits for the sender looks again after this: the store may be emptied by another process.
LOOK_S = 0.05


# Not the module's own numbers: a program that has seeded those expects them in its order.
_uniform = random.SystemRandom().uniform


def wait_s(failures: int, retry_after_s: float, jitter: Callable[[float, float], float] = _uniform) -> float:
    """Return how long to wait after so many failures in a row: what the server asks for, and a part that differs from process to process."""
    most_s = min(FIRST_WAIT_S * 2 ** min(failures - 1, 16), GREATEST_WAIT_S)  # 2 ** 1024 is more than a float holds: four hours of outage
    return retry_after_s + jitter(0.0, most_s)


class Sender:
    """Sends what is in `parcels` until it is closed. Its thread is a daemon: a program never waits for it but in `flush`."""

    def __init__(self, parcels: Parcels, transport: Transport) -> None:
        """Nothing is sent before `start`."""
        self._parcels = parcels
        self._transport = transport
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        # Held while it is decided what becomes of a parcel: it is the sender's, or that of who closes, never both's.
        self._concluding = threading.Lock()
        self._in_hand: Parcel | None = None
        self._posted_s = 0.0
        self._failures = 0
        self._not_before_s = 0.0
        self._is_closed = False
        # How many records a server has refused for good: it was told of them and said why.
        self.refused = 0

    def begin_as(self, parent: Sender) -> None:
        """Stand where the sender stood in the process that this one was forked from: a server that fails or hangs there does so here too.

        A child that found that out by itself would warn of it once more, and wait PATIENCE_AT_EXIT_S with its parent waiting for it.
        """
        if parent.is_failing or not parent._is_promising():
            self._failures = max(parent._failures, 1)
            self._not_before_s = max(parent._not_before_s, time.monotonic() + FIRST_WAIT_S)
            self._parcels.hold()

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
        """Wait until all that this process told has been taken, or refused for good; return whether that is so.

        patient: False for a program that ends: it does not wait for a server that fails, or has not answered for PATIENCE_AT_EXIT_S.
        """
        until_s = time.monotonic() + timeout_s
        with held(self._changed, timeout_s) as is_held:  # not if the thread hangs in the store
            if not is_held:
                return False
            if patient:
                self._hurry()
            while not self.is_idle():
                left_s = until_s - time.monotonic()
                if left_s <= 0 or not (patient or self._is_promising()):
                    return False
                self._changed.wait(min(left_s, LOOK_S))
        return True

    def is_idle(self) -> bool:
        """Return whether all that this process told was taken. What another process left is somebody's past: nobody waits for it."""
        return (self._in_hand is None or self._in_hand.place > 0) and self._parcels.is_delivered()

    def close(self) -> Parcel | None:
        """Send no more; return what is in hand: nobody knows whether it arrived. A thread that hangs in the store keeps what it has."""
        self._is_closed = True
        self._parcels.has_some.set()
        with held(self._concluding) as is_concluded, held(self._changed) as is_held:
            if not (is_concluded and is_held):
                return None
            in_hand, self._in_hand = self._in_hand, None
            self._changed.notify_all()
        return in_hand

    def _hurry(self) -> None:
        """Somebody waits: try once more now."""
        with self._changed:
            self._not_before_s = 0.0
            self._changed.notify_all()
        self._parcels.has_some.set()

    def _is_promising(self) -> bool:
        if self._failures:
            return False
        return self._in_hand is None or time.monotonic() - self._posted_s < PATIENCE_AT_EXIT_S

    def _work(self) -> None:
        while self._rest():
            has_sent = self._send_next()
            if has_sent is None:  # it failed in a way nobody thought of; without this thread nothing would be sent any more
                self._forget_in_hand()
            elif not has_sent:
                self._parcels.wait()
        self._transport.close()

    def _rest(self) -> bool:
        """Wait as long as the last failure says, or until somebody hurries; return whether there is more to do."""
        with self._changed:
            while not self._is_closed and (left_s := self._not_before_s - time.monotonic()) > 0:
                self._changed.wait(left_s)
            return not self._is_closed

    def _forget_in_hand(self) -> None:
        """Let go of what could not be concluded. If it is in the store, its lease will end."""
        with self._changed:
            self._in_hand = None
            self._not_before_s = time.monotonic() + GREATEST_WAIT_S
            self._changed.notify_all()

    @harmlessly
    def _send_next(self) -> bool:
        """Send one parcel; return False if there is none."""
        with self._changed:  # or who flushes could look while it is neither here nor there
            self._posted_s = time.monotonic()
            parcel = self._in_hand = self._parcels.take()
        if parcel is not None:
            self._conclude(parcel, self._post(parcel))
        with self._changed:
            self._changed.notify_all()
        return parcel is not None

    def _post(self, parcel: Parcel) -> Answer:
        try:
            return self._transport.post(parcel.path, parcel.body)
        except Exception as error:  # without this thread nothing is sent any more
            logger.warning("a request failed unexpectedly", exc_info=True)
            return Answer(taken=False, again=True, reason=repr(error))

    def _conclude(self, parcel: Parcel, answer: Answer) -> None:
        with self._concluding:
            if self._in_hand is parcel:  # nobody has closed meanwhile
                self._settle(parcel, answer)
                self._in_hand = None

    def _settle(self, parcel: Parcel, answer: Answer) -> None:
        if answer.taken or not answer.again:
            if not answer.taken or answer.refused:
                self._refuse(answer.refused if answer.taken else parcel.records, answer.reason)
            self._parcels.sent(parcel)
            self._recover()
        else:
            self._fail(answer)
            self._parcels.put_back(parcel, is_suspect=answer.is_answered)
            self._parcels.hold()

    def _recover(self) -> None:
        if self._failures:
            logger.info("the Flowspan server answers again")
            self._parcels.release()
        self._failures = 0

    def _refuse(self, records: int, reason: str) -> None:
        if not self.refused:
            logger.warning("the Flowspan server refused %d records: %s", records, reason)
        self.refused += records

    def _fail(self, answer: Answer) -> None:
        if not self._failures:
            logger.warning("the Flowspan server does not take what happens here, it will be sent later: %s", answer.reason)
        self._failures += 1
        self._not_before_s = time.monotonic() + wait_s(self._failures, answer.retry_after_s)
