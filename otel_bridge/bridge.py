"""The process's bridge: one for all that tells something here. Made when something is first told, by the environment or by `configure`.

The process's state is here: it begins anew in a forked child (forks.py), and ends with the interpreter (exits.py).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from otel_bridge import settings as bridge_settings
from otel_bridge.exits import are_threads_left, at_end, before_threads_end
from otel_bridge.forks import IMPORT_S, Forks
from otel_bridge.guard import harmlessly
from otel_bridge.losses import Losses, losses_of
from otel_bridge.mapper import Mapper
from otel_bridge.outbox import Outbox
from otel_bridge.parcels import Parcels
from otel_bridge.sender import Sender
from otel_bridge.settings import BridgeSettings
from otel_bridge.transport import Transport
from otel_bridge.worth import Worth

if TYPE_CHECKING:  # SQLite: some programs need none
    from otel_bridge.spool import Spool

logger = logging.getLogger(__name__)

FLUSH_S = 10.0


class Bridge:
    """What this process tells goes in at `put`; two daemon threads map and send it. Nothing here waits but `flush` and `close`."""

    def __init__(self, settings: BridgeSettings) -> None:
        """No thread is started before something is put."""
        self.settings = settings
        self.is_on = _is_enabled(settings)
        self.outbox = Outbox(settings.queue_bytes)
        self.spool = _open_spool(settings)
        self.parcels = Parcels(settings.parcel_bytes, self.spool)
        self.mapper = Mapper(settings, self.outbox, self.parcels, self.losses)
        self.sender = Sender(self.parcels, Transport(settings.url, settings.api_key, settings.timeout_s))
        self.is_started = False
        self._is_closed = False
        self._is_missed = False
        # Reentrant, as everything that `put` takes: a signal handler may log in the middle of it.
        self._starting = threading.RLock()

    def put(self, worth: Worth, size: int, content: Any) -> None:
        """Take something told. size: about its bytes in memory."""
        if not self.is_on:
            self._is_missed |= self._is_closed
            return
        self.outbox.put(worth, size, content)
        if not self.is_started:
            self._start()

    def flush(self, timeout_s: float = FLUSH_S, *, patient: bool = True) -> bool:
        """Wait until what was told before is where it should go; return whether it is.

        patient: a server that fails is tried until the time is over; else it is waited for only while it answers.
        """
        if self._is_closed:  # a provider that is shut down later may still ask
            return self.sender.is_idle() and not self._is_missed and not self.losses().total
        if not self.is_started:
            return True
        until_s = time.monotonic() + timeout_s
        is_mapped = self.mapper.flush(timeout_s, with_others=patient)
        return self.sender.flush(max(until_s - time.monotonic(), 0.0), patient=patient) and is_mapped

    def close(self) -> None:
        """Send what is left, within settings.exit_s, and keep in the spool what could not be sent. What is told later is dropped."""
        is_over = self._is_closed or not self.is_started
        self._is_closed = self._is_closed or self.is_on
        self.is_on = False
        if is_over:
            return
        until_s = time.monotonic() + self.settings.exit_s
        self.mapper.close(self.settings.exit_s)
        self.sender.flush(max(until_s - time.monotonic(), 0.0), patient=self.spool is None)
        self.parcels.close(self.sender.close())
        lost = self.losses()
        if lost.total:
            logger.warning("the bridge lost %s", lost)
        self.mapper.join(max(until_s - time.monotonic(), 0.0))

    def losses(self) -> Losses:
        """Return what never reached the server."""
        return losses_of(self.outbox.dropped(), self.parcels.dropped(), refused=self.sender.refused, unmappable=self.mapper.unmappable)

    def _start(self) -> None:
        with self._starting:
            if self.is_started:
                return
            self.is_started = True
            try:
                at_end(shutdown)
                _forks.watch()
                self.mapper.start()
                if self.settings.is_on:
                    self.sender.start()
            except Exception as error:  # noqa: BLE001  # the interpreter ends: it starts no threads and imports nothing any more
                self.is_on = False
                logger.warning("nothing is told of what happens here: %s", error)


def _is_enabled(settings: BridgeSettings) -> bool:
    from otel_bridge.endpoints import has_other_endpoints

    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return settings.is_on or has_other_endpoints(settings)


def _open_spool(settings: BridgeSettings) -> Spool | None:
    if settings.spool is None or not settings.is_on:
        return None
    try:
        from otel_bridge.spool import Spool
    except ImportError:  # a Python that was built without SQLite
        logger.warning("this Python has no sqlite3: what cannot be sent is kept in memory only")
        return None
    return Spool(settings.spool, settings.spool_bytes, settings.url, api_key=settings.api_key)


_current: Bridge | None = None
_making = threading.RLock()


def bridge() -> Bridge:
    """Return this process's bridge."""
    if _current is None:
        with _making:
            if _current is None:
                _set(Bridge(bridge_settings.from_environment()))
    assert _current is not None
    return _current


def configure(**changed: Any) -> None:
    """Set what the environment does not say; the names are those of BridgeSettings. What was told before is flushed first.

    Raises TypeError for a name that is none: this is called while a program is being written.
    """
    with _making:
        made = bridge_settings.normalized(replace(bridge().settings, **changed))
        bridge().close()
        _set(Bridge(made))


def put(worth: Worth, size: int, content: Any) -> None:
    """Take something told, if there is anybody to tell it to."""
    bridge().put(worth, size, content)


def flush(timeout_s: float = FLUSH_S, *, patient: bool = True) -> bool:
    """Wait until what was told before has been sent; return whether it has. patient: False waits for a server only while it answers."""
    return bridge().flush(timeout_s, patient=patient)


def shutdown() -> None:
    """Send what is left and stop. What is told later is dropped."""
    bridge().close()


def losses() -> Losses:
    """Return what this process told that never reached the server."""
    return bridge().losses()


def is_on() -> bool:
    """Return whether there is anybody to tell."""
    return bridge().is_on


def _set(made: Bridge) -> None:
    global _current
    _current = made


def _load_in_time() -> None:
    """Have what mapping needs loaded, if something was told or threads that are left may tell something: it cannot be loaded any more then."""
    if _current is None and not are_threads_left():
        return
    if bridge().is_on and (_current_is_started() or are_threads_left()):
        bridge().mapper.start()
        bridge().mapper.wait_until_loaded(IMPORT_S)


def _current_is_started() -> bool:
    return _current is not None and _current.is_started


def _begin_anew() -> None:
    if _current is not None:
        made = Bridge(_current.settings)
        made.sender.begin_as(_current.sender)
        _set(made)


_forks = Forks(_making, lambda: _current.spool if _current is not None else None, _begin_anew)
before_threads_end(harmlessly(_load_in_time))
