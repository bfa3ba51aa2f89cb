"""Group commit: whatever waits goes into one transaction while those before it commit. Bounded in bytes; each request waits for its own.

Full: new requests are refused (Full) until something was committed. Store down: what waits is refused (Unavailable) as each try fails, so
nothing is acknowledged that was not stored, and the first try after the store is back succeeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from collector.batch import Batch
from collector.errors import FlowspanError, Full, Rejected, TooLarge, Unavailable
from collector.metrics import Metrics
from collector.settings import Settings
from collector.storage import Writer
from collector.verdict import Decode, Decoded, Joint, JointBody, Refusal, Verdict

log = logging.getLogger(__name__)

# Bodies decoded and committed in one transaction. Past this a group's own latency grows faster than what grouping saves.
GROUP_BYTES = 16 * 1024 * 1024
REFUSED_BY_STORE = "refused by the store"


@dataclass(slots=True, eq=False)
class _Waiting:
    """One request in the queue."""

    signal: str
    decode: Decode
    size_bytes: int
    joint: JointBody | None
    verdict: asyncio.Future[Verdict]


class Batcher:
    """Takes requests from the doors, writes them in groups in threads of its own, and says what became of each."""

    def __init__(self, writer: Writer, settings: Settings, metrics: Metrics, committed: Callable[[], None]) -> None:
        """committed: called on the event loop after each commit."""
        self._writer = writer
        self._metrics = metrics
        self._committed = committed
        self._limit_bytes = settings.queue_bytes
        self._timeout_s = settings.commit_timeout_s
        self._held_bytes = 0
        self._waiting: dict[_Waiting, None] = {}
        self._arrived = asyncio.Event()
        self._down_since_s: float | None = None
        self._telling = threading.Lock()
        self._threads = ThreadPoolExecutor(writer.at_once, thread_name_prefix="flowspan-write")

    @contextlib.contextmanager
    def reserve(self) -> Iterator[Reservation]:
        """Hold room for a body from its first byte until it is committed or refused."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            self._hold(-reservation.size_bytes)

    def _hold(self, size_bytes: int) -> None:
        if size_bytes > 0 and self._held_bytes + size_bytes > self._limit_bytes:
            raise Full
        self._held_bytes += size_bytes
        self._metrics.queue_bytes.set(self._held_bytes)

    async def submit(self, signal: str, decode: Decode, size_bytes: int, joint: JointBody | None = None) -> Verdict:
        """Store what decode returns; come back when it is committed.

        decode runs in a writer's thread. size_bytes: what the caller has reserved. joint: the body, where it may be decoded with its like.
        Raises Rejected for a body that cannot be read, Unavailable if the store could not take it or did not within settings.commit_timeout_s
        (then it may yet be stored: to resend is safe).
        """
        loop = asyncio.get_running_loop()
        request = _Waiting(signal, decode, size_bytes, joint, loop.create_future())
        self._waiting[request] = None
        self._arrived.set()
        patience = loop.call_later(self._timeout_s, _give_up, request.verdict)  # a fourth of what asyncio.timeout costs
        try:
            return await request.verdict
        finally:
            patience.cancel()
            # Nobody waits for it any more and its room is free again: it must not stay behind a store that hangs.
            self._waiting.pop(request, None)

    async def check(self) -> None:
        """Return if facts can be stored just now. Once a write has failed, an empty one is tried; raises Unavailable if it fails too."""
        if self._down_since_s is not None:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._writer.write, Batch())
            self._say_up()

    async def run(self) -> None:
        """Write groups until cancelled, as many at once as the store likes."""
        async with asyncio.TaskGroup() as lanes:
            for _ in range(self._writer.at_once):
                lanes.create_task(self._write_groups())

    async def _write_groups(self) -> None:
        while True:
            await self._arrived.wait()
            group = self._next_group()
            if not group:
                continue
            work = asyncio.get_running_loop().run_in_executor(self._threads, self._commit, group)
            try:
                outcomes = await asyncio.shield(work)
            except asyncio.CancelledError:
                self._answer(group, await work)
                raise
            self._answer(group, outcomes)
            self._committed()

    def close(self) -> None:
        """Refuse what still waits, and end the threads."""
        for request in self._waiting:
            _settle(request.verdict, Unavailable("the server is stopping: send it again"))
        self._waiting.clear()
        self._threads.shutdown()

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size_bytes = 0
        for request in self._waiting:
            size_bytes += request.size_bytes
            if group and size_bytes > GROUP_BYTES:
                break
            group.append(request)
        for request in group:
            del self._waiting[request]
        if not self._waiting:
            self._arrived.clear()
        return group

    def _answer(self, group: list[_Waiting], outcomes: list[Verdict | FlowspanError]) -> None:
        stored: Counter[str] = Counter()
        for request, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Verdict):
                stored[request.signal] += outcome.accepted
            _settle(request.verdict, outcome)
        for signal, accepted in stored.items():
            self._metrics.stored.labels(signal).inc(accepted)

    # --- in a writer's thread ----------------------------------------------------------------------------------------------------

    def _commit(self, group: list[_Waiting]) -> list[Verdict | FlowspanError]:
        decoded = self._decode_all(group)
        good = [one for one in decoded if isinstance(one, Decoded)]
        began = time.perf_counter()
        failure = self._write(good)
        self._metrics.commit_seconds.observe(time.perf_counter() - began)
        self._metrics.commit_requests.observe(len(group))
        return [_outcome(one, failure) for one in decoded]

    def _decode_all(self, group: list[_Waiting]) -> list[Decoded | FlowspanError]:
        known: dict[_Waiting, Decoded | FlowspanError] = {}
        for kind, requests in _kinds_in(group).items():
            if sum(request.size_bytes for request in requests) >= kind.worth_bytes:
                known |= self._decode_together(kind, requests)
        decoded = [known.get(request) or self._decode(request) for request in group]
        received: Counter[str] = Counter()
        for request, one in zip(group, decoded, strict=True):
            if isinstance(one, Decoded):
                received[request.signal] += one.received
        for signal, records in received.items():
            self._metrics.received.labels(signal).inc(records)
        return decoded

    def _decode_together(self, kind: Joint, requests: Sequence[_Waiting]) -> dict[_Waiting, Decoded | FlowspanError]:
        """Return nothing if it fails as a whole: then each is decoded by itself."""
        bodies = [request.joint for request in requests if request.joint is not None]
        try:
            decoded = kind.decode([one.body for one in bodies], [one.received_ns for one in bodies])
            return dict(zip(requests, decoded, strict=True))
        except Exception:
            log.exception("%d bodies could not be decoded together, by a fault of ours", len(requests))
            return {}

    def _decode(self, request: _Waiting) -> Decoded | FlowspanError:
        try:
            return request.decode()
        except FlowspanError as error:
            return error
        except Exception:
            log.exception("a %s body could not be decoded, by a fault of ours", request.signal)
            return Unavailable("the server could not read this, by a fault of its own")

    def _write(self, requests: list[Decoded]) -> Unavailable | None:
        """Write all requests in one transaction; if the content is refused, each alone; then by halves until the bad record stands alone."""
        whole = Batch()
        for one in requests:
            whole.extend(one.batch)
        try:
            self._write_unless_empty(whole)
        except Rejected:
            return self._write_each(requests)
        except Unavailable as error:
            return self._say_down(error)
        return None

    def _write_each(self, requests: list[Decoded]) -> Unavailable | None:
        try:
            for one in requests:
                for reason in self._write_by_halves(one.batch):
                    one.refused.append(Refusal(-1, reason))
        except Unavailable as error:
            return self._say_down(error)
        return None

    def _write_by_halves(self, batch: Batch) -> list[str]:
        try:
            self._write_unless_empty(batch)
        except Rejected as error:
            if len(batch) <= 1:
                return [f"{REFUSED_BY_STORE}: {error}"]
            return [reason for half in batch.halves() for reason in self._write_by_halves(half)]
        return []

    def _write_unless_empty(self, batch: Batch) -> None:
        try:
            if len(batch):
                self._writer.write(batch)
                self._say_up()
        except FlowspanError:
            raise
        except Exception as error:
            self._metrics.plugin_failures.labels("storage").inc()
            if self._down_since_s is None:
                log.exception("the storage failed in a way it does not promise")
            raise Unavailable("the storage failed: send it again later") from error

    def _say_down(self, error: Unavailable) -> Unavailable:
        """One line an outage, however many groups fail in it: each sender hears of its own, and store_failures counts them."""
        self._metrics.store_failures.inc()
        with self._telling:
            is_new, self._down_since_s = self._down_since_s is None, self._down_since_s or time.monotonic()
        if is_new:
            log.error("nothing can be stored just now, senders are told to come back: %s", error.in_full())
        return error

    def _say_up(self) -> None:
        with self._telling:
            since_s, self._down_since_s = self._down_since_s, None
        if since_s is not None:
            log.warning("the store takes facts again, after %.1f s", time.monotonic() - since_s)


@dataclass(slots=True)
class Reservation:
    """Room held for one body. Grows as the body comes in."""

    batcher: Batcher
    size_bytes: int = 0

    def grow(self, by_bytes: int) -> None:
        """Hold more room. Raises Full if there is none just now, TooLarge if there never will be enough for this body alone."""
        if self.size_bytes + by_bytes > self.batcher._limit_bytes:
            raise TooLarge(f"the body needs more than the {self.batcher._limit_bytes} bytes this server holds: send it in parts")
        self.batcher._hold(by_bytes)
        self.size_bytes += by_bytes


def _kinds_in(group: Iterable[_Waiting]) -> dict[Joint, list[_Waiting]]:
    found: dict[Joint, list[_Waiting]] = {}
    for request in group:
        if request.joint is not None:
            found.setdefault(request.joint.kind, []).append(request)
    return found


def _outcome(decoded: Decoded | FlowspanError, failure: Unavailable | None) -> Verdict | FlowspanError:
    if isinstance(decoded, FlowspanError):
        return decoded
    if failure is not None and len(decoded.batch):
        return failure
    accepted = max(decoded.received - len(decoded.refused), 0)  # a record may be two rows, and a storage refuse both
    return Verdict(accepted, decoded.refused, decoded.warning)


def _give_up(verdict: asyncio.Future[Verdict]) -> None:
    _settle(verdict, Unavailable("the store did not take it in time: send it again later"))


def _settle(verdict: asyncio.Future[Verdict], outcome: Verdict | FlowspanError) -> None:
    if verdict.done():  # its sender went away
        return
    if isinstance(outcome, Verdict):
        verdict.set_result(outcome)
    else:
        verdict.set_exception(outcome)
