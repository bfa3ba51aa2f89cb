"""The thread that maps: takes what the program told, makes spans and records of it, and parcels of those. It also gives the signs of life."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otel_bridge.lifecycle import facts_of
from otel_bridge.outbox import Outbox
from otel_bridge.parcels import Parcels
from otel_bridge.settings import BridgeSettings

if TYPE_CHECKING:  # the SDK: 150 ms of import, paid by this thread
    from otel_bridge.encoding import Encoder
    from otel_bridge.live_spans import LiveSpans
    from otel_bridge.recorder import Recorder

logger = logging.getLogger(__name__)

# How much is mapped before what came of it is handed on.
MOST_ITEMS = 2_000
# Held while modules are imported: a fork in the middle would leave the child with half a module and a lock that nobody holds.
importing = threading.Lock()


@dataclass(frozen=True)
class Tools:
    """What mapping needs of the SDK."""

    encoder: Encoder
    recorder: Recorder
    live: LiveSpans

    def record(self, event: Mapping[str, Any]) -> None:
        """Map one flow event."""
        for fact in facts_of(event, event["ts"]):
            self.recorder.record(fact)


class Mapper:
    """Maps in a daemon thread until it is closed. What cannot be mapped is counted, said once, and harms nothing else."""

    def __init__(self, settings: BridgeSettings, outbox: Outbox, parcels: Parcels) -> None:
        """outbox: where things come from. parcels: where what goes to the Flowspan server is put."""
        self._settings = settings
        self._outbox = outbox
        self._parcels = parcels
        self._thread: threading.Thread | None = None
        self._tools: Tools | None = None
        self._is_loaded = threading.Event()
        self._changed = threading.Condition()
        self._is_hurried = threading.Event()
        self._begun_rounds = 0
        self._done_rounds = 0
        self._is_closed = False
        self._next_beat_s = 0.0
        self._has_beaten = False
        # How many things told could not be mapped.
        self.unmappable = 0

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="flowspan mapper", daemon=True)
            self._thread.start()

    def wait_until_loaded(self, timeout_s: float) -> None:
        """Wait until the SDK is imported: it cannot be any more once the interpreter has begun to end its threads."""
        if self._thread is not None:
            self._is_loaded.wait(timeout_s)

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything told before is parcels, and the other endpoints have what is finished; return whether that is so."""
        if self._is_closed:  # what was told before is parcels already; providers are shut down after us
            return True
        until_s = time.monotonic() + timeout_s
        with self._changed:
            wanted = self._begun_rounds + 1
            self._hurry()
            is_mapped = self._changed.wait_for(lambda: self._done_rounds >= wanted, timeout_s)
        left_s = max(until_s - time.monotonic(), 0.0)
        return is_mapped and (self._tools is None or self._tools.recorder.flush(left_s))

    def close(self, timeout_s: float) -> None:
        """Map what is left, say that this process ends, and end the thread."""
        self._is_closed = True
        self._hurry()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _hurry(self) -> None:
        self._is_hurried.set()
        self._outbox.has_some.set()

    def _work(self) -> None:
        with importing:
            self._tools = tools = _load(self._settings)
        self._is_loaded.set()
        while not self._is_closed:
            if self._outbox.has_some.wait(self._until_due_s(tools)):
                self._is_hurried.wait(self._settings.gather_s)
            self._is_hurried.clear()
            self._map_round(tools)
        self._map_round(tools)
        if self._has_beaten:
            tools.recorder.beat(self._settings.heartbeat_s, is_last=True)
            self._hand_on(tools)
        tools.recorder.shutdown()

    def _until_due_s(self, tools: Tools) -> float | None:
        """Return how long to wait for news: until a sign of life or a live span's time is due; None while nothing is open."""
        due_s = tools.live.next_due_s()
        if self._has_open(tools):
            due_s = self._next_beat_s if due_s is None else min(due_s, self._next_beat_s)
        return None if due_s is None else max(due_s - time.monotonic(), 0.0)

    def _map_round(self, tools: Tools) -> None:
        with self._changed:
            self._begun_rounds += 1
        while items := self._outbox.take(MOST_ITEMS):
            for item in items:
                self._map(item.content, tools)
            self._hand_on(tools)
        tools.live.tell_due(time.monotonic())
        self._hand_on(tools)
        self._beat(tools)
        with self._changed:
            self._done_rounds = self._begun_rounds
            self._changed.notify_all()

    def _map(self, content: Any, tools: Tools) -> None:
        try:
            if isinstance(content, dict):
                tools.record(content)
            else:
                content.tell(tools)
        except Exception:  # whatever a program tells, its other threads' news go on
            if not self.unmappable:
                logger.warning("something that was told cannot be mapped and is left out", exc_info=True)
            self.unmappable += 1

    def _hand_on(self, tools: Tools) -> None:
        for parcel in tools.encoder.take_parcels():
            if self._settings.is_on:
                self._parcels.put(parcel)

    def _beat(self, tools: Tools) -> None:
        now_s = time.monotonic()
        if not self._has_open(tools) or now_s < self._next_beat_s:
            return
        self._next_beat_s = now_s + self._settings.heartbeat_s
        self._has_beaten = True
        tools.recorder.beat(self._settings.heartbeat_s)
        beat = tools.encoder.take_beat()
        if beat is not None and self._settings.is_on:
            self._parcels.put_beat(beat)

    def _has_open(self, tools: Tools) -> bool:
        return tools.recorder.open_spans + tools.live.open_spans > 0


def _load(settings: BridgeSettings) -> Tools:
    from otel_bridge.encoding import Encoder
    from otel_bridge.endpoints import has_other_endpoints, other_endpoints
    from otel_bridge.live_spans import LiveSpans
    from otel_bridge.recorder import Recorder

    encoder = Encoder()
    others = other_endpoints(settings) if has_other_endpoints(settings) else ()
    recorder = Recorder(encoder, settings.service_name, others)
    return Tools(encoder, recorder, LiveSpans(encoder, recorder.instance_id))
