"""How a process ends, and who is called then."""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

_registered: list[Callable[[], None]] = []


def at_end(callback: Callable[[], None]) -> None:
    """Call back when the interpreter ends. A child of multiprocessing ends without that: there its own finalizers are asked too."""
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is not None and process is not None and process.parent_process() is not None:
        util.Finalize(None, callback, exitpriority=0)
    if callback not in _registered:  # who registers earlier is called later: after what the program itself does at its end
        _registered.append(callback)
        atexit.register(callback)


def before_threads_end(callback: Callable[[], None]) -> None:
    """Call back before the interpreter ends its threads, and with them every pool: the SDK uses one while it is imported, and from then on
    no thread can be started. There is no public way to be asked then; without it short programs may need `flush()`.
    """
    with suppress(RuntimeError):  # it ends already
        import concurrent.futures.thread  # noqa: F401  # registers itself; who registers later is called earlier

        register = getattr(threading, "_register_atexit", None)
        if register is not None:
            register(callback)


def are_threads_left() -> bool:
    """Return whether the interpreter will wait for threads of the program: they may still tell something."""
    return any(not thread.daemon and thread is not threading.current_thread() for thread in threading.enumerate())
