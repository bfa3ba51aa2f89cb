"""The process's bridge: one for all that tells something here. Made when something is first told, by the environment or by `configure`.

This is the only module with state of the process. It begins anew in a forked child, and ends with the interpreter.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from otel_bridge import settings as bridge_settings
from otel_bridge.mapper import Mapper, importing
from otel_bridge.outbox import Outbox
from otel_bridge.parcels import Parcels
from otel_bridge.sender import Sender
from otel_bridge.settings import BridgeSettings
from otel_bridge.spool import Spool
from otel_bridge.transport import Transport
from otel_bridge.worth import Worth

logger = logging.getLogger(__name__)

FLUSH_S = 10.0
# How long a fork waits for modules that are just being imported.
IMPORT_S = 10.0


class Bridge:
    """What this process tells goes in at `put`; two daemon threads map and send it. Nothing here waits but `flush` and `close`."""

    def __init__(self, settings: BridgeSettings) -> None:
        """No thread is started before something is put."""
        self.settings = settings
        self.is_on = _is_enabled(settings)
        self.outbox = Outbox(settings.queue_bytes)
        self._spool = Spool(settings.spool, settings.spool_bytes, settings.url) if settings.spool and settings.is_on else None
        self.parcels = Parcels(settings.parcel_bytes, self._spool)
        self.mapper = Mapper(settings, self.outbox, self.parcels)
        self.sender = Sender(self.parcels, Transport(settings.url, settings.api_key, settings.timeout_s))
        self._is_started = False
        self._starting = threading.Lock()

    def put(self, worth: Worth, size: int, content: Any) -> None:
        """Take something told. size: about its bytes in memory."""
        if not self.is_on:
            return
        self.outbox.put(worth, size, content)
        if not self._is_started:
            self._start()

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Wait until what was told before is where it should go; return whether it is. A server that fails is tried until the time is over."""
        if not self._is_started:
            return True
        until_s = time.monotonic() + timeout_s
        is_mapped = self.mapper.flush(timeout_s)
        return self.sender.flush(max(until_s - time.monotonic(), 0.0), patient=True) and is_mapped

    def close(self) -> None:
        """Send what is left, within settings.exit_s, and keep in the spool what could not be sent."""
        if not self._is_started:
            return
        self.is_on = False
        until_s = time.monotonic() + self.settings.exit_s
        self.mapper.close(self.settings.exit_s)
        self.sender.flush(max(until_s - time.monotonic(), 0.0), patient=self._spool is None)
        in_hand = self.sender.close()
        if in_hand is not None:
            self.parcels.put_back(in_hand)
        self.parcels.store_all()
        self._say_what_was_dropped()

    def forget_parent(self) -> None:
        """Leave to the process this one was forked from what is its own."""
        if self._spool is not None:
            self._spool.forget_connection()

    def _start(self) -> None:
        with self._starting:
            if self._is_started:
                return
            self._is_started = True
            try:
                self.mapper.start()
                if self.settings.is_on:
                    self.sender.start()
            except RuntimeError:  # the interpreter ends, and starts no threads any more
                self.is_on = False
            _at_exit()

    def _say_what_was_dropped(self) -> None:
        dropped = sum(self.outbox.take_dropped().values()) + sum(self.parcels.take_dropped().values())
        if dropped:
            logger.warning("%d records were dropped: more was told than could be sent or kept", dropped)


def _is_enabled(settings: BridgeSettings) -> bool:
    from otel_bridge.endpoints import has_other_endpoints

    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return settings.is_on or has_other_endpoints(settings)


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
        made = replace(bridge().settings, **changed)
        bridge().close()
        _set(Bridge(made))


def put(worth: Worth, size: int, content: Any) -> None:
    """Take something told, if there is anybody to tell it to."""
    bridge().put(worth, size, content)


def flush(timeout_s: float = FLUSH_S) -> bool:
    """Wait until what was told before has been sent; return whether it has."""
    return bridge().flush(timeout_s)


def shutdown() -> None:
    """Send what is left and stop. What is told later is dropped."""
    bridge().close()


def is_on() -> bool:
    """Return whether there is anybody to tell."""
    return bridge().is_on


def _set(made: Bridge) -> None:
    global _current
    _current = made


def _at_exit() -> None:
    """Close when the interpreter ends. A child of multiprocessing ends without it: there its own finalizers are asked."""
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is not None and process is not None and process.parent_process() is not None:
        util.Finalize(None, shutdown, exitpriority=0)
    if not _is_registered.is_set():
        _is_registered.set()
        atexit.register(shutdown)
        _before_threads_end(_load_in_time)
        _watch_forks()


_is_registered = threading.Event()


def _before_threads_end(callback: Callable[[], None]) -> None:
    """Call back before the interpreter ends its threads, and with them every pool: the SDK uses one while it is imported, and a short
    program may be over before that. There is no public way to be asked then; without it short programs may need `flush()`.
    """
    import concurrent.futures.thread  # noqa: F401  # registers itself; who registers later is called earlier

    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        with suppress(RuntimeError):  # it ends already
            register(callback)


def _load_in_time() -> None:
    if _current is not None:
        _current.mapper.wait_until_loaded(IMPORT_S)


class _Forking:
    """Keeps forks apart from what they must not interrupt: a module being imported, a bridge being made."""

    def __init__(self) -> None:
        self._holds_import = False

    def before(self) -> None:
        _making.acquire()
        self._holds_import = importing.acquire(timeout=IMPORT_S)

    def after(self) -> None:
        if self._holds_import:
            importing.release()
        _making.release()

    def after_in_child(self) -> None:
        """Begin anew: threads, locks and what waits belong to the parent."""
        self.after()
        if _current is not None:
            _current.forget_parent()
            _set(Bridge(_current.settings))


def _watch_forks() -> None:
    """Who registers last is called first before a fork: we must be, before the pools of concurrent.futures take their lock, because the
    import that we wait for takes it too.
    """
    if hasattr(os, "register_at_fork"):
        forking = _Forking()
        os.register_at_fork(before=forking.before, after_in_parent=forking.after, after_in_child=forking.after_in_child)
