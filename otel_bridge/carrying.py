"""Where code is, carried to threads and processes: what a run submits to a pool, or starts as a thread, is a part of it there too.

From the first run of a process on, pools and threads of the standard library do it by themselves (`install`); `carry` is for others.
asyncio needs nothing: its tasks copy their context.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, ParamSpec, TypeVar

from otel_bridge import bridge
from otel_bridge.guard import harmlessly
from otel_bridge.import_hook import forget, when_imported
from otel_bridge.places import Place, at, current
from otel_bridge.runs import Run, RunName
from otel_bridge.settings import BridgeSettings, from_environment

P = ParamSpec("P")
T = TypeVar("T")

# Imported only by programs that use them: 15 ms each.
PROCESS_POOLS = "concurrent.futures.process"
POOLS = "multiprocessing.pool"
# Threads of the bridge are named so; they are in no run.
OURS = "flowspan "


def carry(function: Callable[P, T]) -> Callable[P, T]:
    """Return a function that runs where this is called, in whichever thread or process: `Process(target=carry(load))`.

    It can be pickled if the function can. With it go the names of run and node, and settings made in code, a key among them: do not
    hand it to strangers. Outside of a run it is the function itself.
    """
    here = current()
    return function if here is None else partial(Carried(here), function)


class Carried:
    """Calls functions at a place. Pickled, it is the place's names; each copy makes nodes that no other makes."""

    __slots__ = ("place",)

    def __init__(self, place: Place | None) -> None:
        """place: None where it could not be made known again."""
        self.place = place

    def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function there."""
        with at(self.place):
            return function(*args, **kwargs)

    def __reduce__(self) -> tuple[Callable[..., Carried], tuple[Any, ...]]:
        """Take along the names, and of the settings what the environment of the other process does not say."""
        if self.place is None:
            return Carried, (None,)
        return arrive, (self.place.run.name_elsewhere(), self.place.node, _beyond_environment(bridge.bridge().settings))


def arrive(name: RunName, node: str, settings: BridgeSettings | None) -> Carried:
    """Return what was carried, in another process."""
    return Carried(_place_of(name, node, settings))


@harmlessly
def _place_of(name: RunName, node: str, settings: BridgeSettings | None) -> Place:
    install()
    if settings is not None and settings != bridge.bridge().settings:
        bridge.configure(**vars(settings))
    return Place(Run(name), node)


@lru_cache(maxsize=1)
def _beyond_environment(settings: BridgeSettings) -> BridgeSettings | None:
    return None if settings == from_environment() else settings


# What was there before: (class, name of the method, the method).
_replaced: list[tuple[type, str, Callable[..., Any]]] = []


@harmlessly
def install() -> None:
    """Have thread pools, process pools and threads carry. Calls outside of a run go through unchanged. Installed twice is installed once."""
    if _replaced:
        return
    from concurrent.futures.thread import ThreadPoolExecutor

    _replace(threading.Thread, "start", _starting)
    _replace(ThreadPoolExecutor, "submit", _submitting)
    when_imported(PROCESS_POOLS, _install_process_pools)
    when_imported(POOLS, _install_pools)


def remove() -> None:
    """Put back what was there before, unless somebody has put something else on top: then ours passes everything on."""
    for owner, name, original in _replaced:
        if getattr(getattr(owner, name), "__wrapped__", None) is original:
            setattr(owner, name, original)
    _replaced.clear()
    forget(PROCESS_POOLS)
    forget(POOLS)


@harmlessly
def _install_process_pools() -> None:
    _replace(sys.modules[PROCESS_POOLS].ProcessPoolExecutor, "submit", _submitting)


@harmlessly
def _install_pools() -> None:
    """Its thread pool is a kind of its process pool; whatever is called `map` comes to the generation of its tasks."""
    pool = sys.modules[POOLS].Pool
    _replace(pool, "__init__", _making)
    _replace(pool, "apply_async", _applying)
    _replace(pool, "_guarded_task_generation", _generating)


def _replace(owner: type, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    original = getattr(owner, name)
    _replaced.append((owner, name, original))
    setattr(owner, name, functools.wraps(original)(wrap(original)))


def _here() -> Place | None:
    return current() if _replaced else None


def _submitting(original: Callable[..., Any]) -> Callable[..., Any]:
    def submit(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        here = _here()
        if here is None or not args:
            return original(self, *args, **kwargs)
        with at(None):  # a worker that is started for this call outlives it, and the run
            return original(self, Carried(here), *args, **kwargs)

    return submit


def _making(original: Callable[..., Any]) -> Callable[..., Any]:
    def make(self: Any, /, *args: Any, **kwargs: Any) -> None:
        with at(None):  # its workers, and its threads that start more of them, outlive the run
            original(self, *args, **kwargs)

    return make


def _applying(original: Callable[..., Any]) -> Callable[..., Any]:
    def apply_async(self: Any, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return original(self, _carried(func), *args, **kwargs)

    return apply_async


def _generating(original: Callable[..., Any]) -> Callable[..., Any]:
    def generate(self: Any, job: int, func: Callable[..., Any], iterable: Any) -> Any:
        return original(self, job, _carried(func), iterable)

    return generate


def _carried(function: Callable[..., Any]) -> Callable[..., Any]:
    return carry(function) if _replaced else function


def _starting(original: Callable[..., Any]) -> Callable[..., Any]:
    def start(self: threading.Thread) -> None:
        here = _here()
        if here is not None and not self.name.startswith(OURS):
            _run_at(here, self)
        original(self)

    return start


@harmlessly
def _run_at(place: Place, thread: threading.Thread) -> None:
    """Stand in for the thread's `run`, whoever has written it, until it is called."""
    own = thread.run

    def run() -> None:
        with suppress(AttributeError):  # else thread and function hold each other
            del thread.run  # this one, not its class's
        with at(place):
            own()

    thread.run = run  # type: ignore[method-assign]  # of this thread, not of its class
