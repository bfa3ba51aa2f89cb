"""A function, coroutine function, generator function or asynchronous one that tells of its calls and is otherwise what it was.

The wrapper is of the same kind, because callers look (`inspect.iscoroutinefunction`). Exceptions pass through it as they are.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar, cast

from otel_bridge.stays import Stay

F = TypeVar("F", bound=Callable[..., Any])
# A call's arguments -> what it is to be told as.
Begin = Callable[[tuple[Any, ...], dict[str, Any]], Stay]


def wrapped(function: F, begin: Begin) -> F:
    """Return a function that does what `function` does, each call within a stay."""
    for is_kind, wrap in _KINDS:
        if is_kind(function):
            return cast(F, functools.wraps(function)(wrap(function, begin)))
    return cast(F, functools.wraps(function)(_plain(function, begin)))


def _plain(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Any:
        stay = begin(args, kwargs)
        with stay:
            made = function(*args, **kwargs)
            if stay.place is None or not inspect.iscoroutine(made):
                return made
            stay.put_off()
        return _awaited(made, stay)

    return called


async def _awaited(made: Coroutine[Any, Any, Any], stay: Stay) -> Any:
    """Await what a function that is no coroutine function, such as another decorator's, has returned."""
    with stay:
        return await made


def _coroutine(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    async def called(*args: Any, **kwargs: Any) -> Any:
        with begin(args, kwargs):
            return await function(*args, **kwargs)

    return called


def _generator(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    """Do what `yield from` does (PEP 380), and step out for each yield."""

    def called(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        stay = begin(args, kwargs)
        with stay:
            body = function(*args, **kwargs)
            step, sent = body.send, None
            while True:
                try:
                    made = step(sent)
                except StopIteration as stop:
                    return stop.value
                stay.step_out()
                try:
                    step, sent = body.send, (yield made)
                except BaseException as error:  # noqa: BLE001  # thrown in by the consumer, for the body to see
                    step, sent = body.throw, error
                finally:
                    stay.step_in()

    return called


def _async_generator(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    """The same for `async for`, which knows no value returned."""

    async def called(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        stay = begin(args, kwargs)
        with stay:
            body = function(*args, **kwargs)
            step, sent = _first_step(body), None
            while True:
                try:
                    made = await step(sent)
                except StopAsyncIteration:
                    return
                stay.step_out()
                try:
                    step, sent = body.asend, (yield made)
                except BaseException as error:  # noqa: BLE001  # as above
                    step, sent = body.athrow, error
                finally:
                    stay.step_in()

    return called


def _first_step(body: AsyncGenerator[Any, Any]) -> Callable[[None], Awaitable[Any]]:
    """Keep the event loop from noticing the body (PEP 525): it knows the wrapper, and would close both at once when it ends."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        first = body.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)
    return lambda _: first


_KINDS = (
    (inspect.iscoroutinefunction, _coroutine),
    (inspect.isgeneratorfunction, _generator),
    (inspect.isasyncgenfunction, _async_generator),
)
