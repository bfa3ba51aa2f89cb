"""The one place where an error of the bridge is kept from the program it watches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_failed: dict[str, int] = {}


def harmlessly(function: Callable[P, T]) -> Callable[P, T | None]:
    """Make a function that never raises an Exception: what went wrong is counted, and said once."""
    name = f"{function.__module__}.{function.__qualname__}"

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return function(*args, **kwargs)
        except Exception:  # what is being watched matters more than the watching
            _failed[name] = _failed.get(name, 0) + 1
            if _failed[name] == 1:
                import logging  # 10 ms: what has gone wrong is rare

                logging.getLogger(__name__).warning("%s failed; what it should have told is missing", name, exc_info=True)
            return None

    return guarded


def failures() -> dict[str, int]:
    """Return how often each guarded function has failed."""
    return dict(_failed)
