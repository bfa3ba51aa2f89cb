"""The thread that maps: takes what the program told, makes spans and records of it, and parcels of those. It also gives the signs of life."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec
from uuid import uuid4

from otel_bridge.encoding import Encoder
from otel_bridge.endpoints import other_endpoints
from otel_bridge.guard import harmlessly
from otel_bridge.lifecycle import facts_of
from otel_bridge.live_spans import LiveSpans
from otel_bridge.loading import importing
from otel_bridge.losses import Losses, loss_line
from otel_bridge.outbox import Outbox
from otel_bridge.parcels import Parcels
from otel_bridge.recorder import Recorder
from otel_bridge.resource import resource_of
from otel_bridge.settings import BridgeSettings

logger = logging.getLogger(__name__)

P = ParamSpec("P")

# How much is mapped before what came of it is handed on.
MOST_ITEMS = 2_000
# The part of a program's time that mapping should take: a round that took 1 ms of the interpreter is followed by a rest of 100. What a busy
# program tells goes in few rounds, then, which cost less; what is told now and then goes at once. A rest is at most so long, and a quarter of
# a heartbeat, and over when the queue is half full.
SHARE = 0.01
MOST_REST_S = 0.5
# How often what was lost is told, at most: it may go on being lost.
LOSSES_S = 1.0


@dataclass(frozen=True)
class Tools:
    """What maps: made in the mapper's thread, because what the environment asks of the SDK loads it, 150 ms."""

    encoder: Encoder
    recorder: Recorder
    live: LiveSpans

    def record(self, event: Mapping[str, Any]) -> None:
        """Map one flow event."""
        for fact in facts_of(event, time.time_ns()):  # where its own time is none
            self.recorder.record(fact)


class Mapper:
    """Maps in a daemon thread until it is closed. What cannot be mapped is counted, said once, and harms nothing else."""

    def __init__(self, settings: BridgeSettings, outbox: Outbox, parcels: Parcels, losses: Callable[[], Losses]) -> None:
        """outbox: where things come from. parcels: where what goes to the Flowspan server is put. losses: counts what did not get there."""
        self._settings = settings
        self._outbox = outbox
        self._parcels = parcels
        self._thread: threading.Thread | None = None
        self._tools: Tools | None = None
        self._is_loaded = threading.Event()
        self._is_told = threading.Event()
        self._changed = threading.Condition()
        self._mapped_to = 0
        self._is_closed = False
        self._next_beat_s = 0.0
        self._losses = losses
        self._told_losses = Losses()
        self._next_losses_s = 0.0
        self._has_beaten = False
        # How many things told could not be mapped.
        self.unmappable = 0

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="flowspan mapper", daemon=True)
            thread.start()
            self._thread = thread

    def wait_until_loaded(self, timeout_s: float) -> None:
        """Wait until the SDK is imported, where it is needed: it cannot be any more once the interpreter has begun to end its threads."""
        if self._thread is not None:
            self._is_loaded.wait(timeout_s)

    def flush(self, timeout_s: float, *, with_others: bool = True) -> bool:
        """Wait until everything told before is parcels; return whether it is. with_others: and other endpoints have what is finished."""
        if self._is_closed:  # what was told before is parcels already; providers are shut down after us
            return True
        until_s = time.monotonic() + timeout_s
        with self._changed:
            wanted = self._outbox.told
            self._hurry()
            self._changed.wait_for(lambda: self._mapped_to >= wanted or self._is_told.is_set(), timeout_s)
            is_mapped = self._mapped_to >= wanted
        left_s = max(until_s - time.monotonic(), 0.0)
        if not with_others or self._tools is None:
            return is_mapped
        return is_mapped and self._tools.recorder.flush(left_s)

    def close(self, timeout_s: float) -> None:
        """Map what is left, say that this process ends, and wait until that is handed on; not for other endpoints, as `join` does."""
        self._is_closed = True
        self._hurry()
        if self._thread is not None:
            self._is_told.wait(timeout_s)

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the thread: until the other endpoints have what is finished."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _hurry(self) -> None:
        self._outbox.is_urgent.set()
        self._outbox.has_some.set()

    @harmlessly
    def _work(self) -> None:
        try:
            self._map_until_closed()
        finally:  # nobody waits for a thread that has failed
            self._is_loaded.set()
            self._is_told.set()
            with self._changed:
                self._changed.notify_all()

    def _map_until_closed(self) -> None:
        with importing:
            self._tools = tools = _load(self._settings)
        self._is_loaded.set()
        rested_s = 0.0
        while not self._is_closed:
            # A hurry that came during the last round has had its bell silenced by it.
            if self._outbox.is_urgent.is_set() or self._outbox.has_some.wait(self._until_due_s(tools)):
                self._outbox.is_urgent.wait(max(self._settings.gather_s, rested_s - time.monotonic()))
            self._outbox.is_urgent.clear()
            began_s = time.thread_time()
            self._map_round(tools)
            rested_s = time.monotonic() + min((time.thread_time() - began_s) / SHARE, MOST_REST_S, self._settings.heartbeat_s / 4)
        self._map_round(tools)
        if self._has_beaten:
            tools.recorder.beat(self._settings.heartbeat_s, is_last=True)
            self._hand_on(tools)
        self._is_told.set()
        tools.recorder.shutdown()

    def _until_due_s(self, tools: Tools) -> float | None:
        """Return how long to wait for news: until a sign of life or a live span's time is due; None while nothing is open."""
        due_s = tools.live.next_due_s(time.monotonic())
        if self._has_open(tools):
            due_s = self._next_beat_s if due_s is None else min(due_s, self._next_beat_s)
        return None if due_s is None else max(due_s - time.monotonic(), 0.0)

    def _map_round(self, tools: Tools) -> None:
        """Map until nothing waits. A program that tells faster than this thread maps keeps it here: signs of life go on meanwhile."""
        is_more = True
        while is_more:
            items = self._outbox.take(MOST_ITEMS)
            for item in items:
                self._guarded(self._map, item.content, tools)
            for step in (self._tell_losses, self._tell_begun, self._hand_on, self._beat):
                self._guarded(step, tools)
            is_more = len(items) == MOST_ITEMS
            with self._changed:
                self._mapped_to = self._outbox.oldest() - 1
                self._changed.notify_all()

    def _guarded(self, step: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Take a step of a round. Whatever a program tells, the others of its news go on."""
        try:
            step(*args, **kwargs)
        except Exception:  # whatever it is, without this thread nothing is told any more
            if not self.unmappable:
                logger.warning("something that was told cannot be mapped and is left out", exc_info=True)
            self.unmappable += 1

    def _tell_begun(self, tools: Tools) -> None:
        tools.live.tell_due(time.monotonic())

    def _map(self, content: Any, tools: Tools) -> None:
        if isinstance(content, dict):
            tools.record(content)
        else:
            content.tell(tools)

    def _hand_on(self, tools: Tools) -> None:
        self._parcels.put(*tools.encoder.take_parcels())

    def _tell_losses(self, tools: Tools) -> None:
        """Tell what was lost in every run that is open, as soon as somebody listens: it is there that somebody misses it."""
        now_s = time.monotonic()
        if now_s < self._next_losses_s or self._parcels.is_held or not (runs := tools.recorder.open_runs):
            return
        losses = self._losses()
        news = losses.since(self._told_losses)
        if news.total:
            self._told_losses, self._next_losses_s = losses, now_s + LOSSES_S
            for run_key in runs:
                tools.recorder.record(loss_line(news, run_key))

    def _beat(self, tools: Tools) -> None:
        now_s = time.monotonic()
        if not self._has_open(tools) or now_s < self._next_beat_s:
            return
        self._next_beat_s = now_s + self._settings.heartbeat_s
        tools.live.forget_lost()
        self._has_beaten = True
        tools.recorder.beat(self._settings.heartbeat_s)
        beat = tools.encoder.take_beat()
        if beat is not None:
            self._parcels.put_beat(beat)

    def _has_open(self, tools: Tools) -> bool:
        return tools.recorder.open_spans + tools.live.open_spans > 0


def _load(settings: BridgeSettings) -> Tools:
    encoder, instance_id = Encoder(is_wanted=settings.is_on), str(uuid4())
    resource = resource_of(settings.service_name, instance_id)
    return Tools(encoder, Recorder(encoder, resource, other_endpoints(settings, resource)), LiveSpans(encoder, instance_id))
