"""auto-workflow: its event bus tells most; what the bus leaves out comes from one wrapper around `Flow.run`.

Left out there: how a run ended that did not succeed, its parameters, which tasks it was built of and what they wait for. The build is recorded
while the engine makes it; `describe()` would call the user's build function a second time, with whatever it does beside building.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from otel_bridge import conventions as c
from otel_bridge.bus import Bus, Payload
from otel_bridge.environment import definition_key
from otel_bridge.failures import traceback_of
from otel_bridge.guard import harmlessly
from otel_bridge.log_records import ignore_logger
from otel_bridge.places import Place, current, enter
from otel_bridge.runs import Run, RunName

# Its own structured lines say in JSON what the bus has said.
STRUCTURED_LINES = "auto_workflow.tasks"


@dataclass
class _Call:
    """One call of `Flow.run`: what is known of it before the engine has given it an id, and the run it became.

    build: the engine's BuildContext, whose invocations grow while dynamic fan-outs expand. announced: whether the build was told.
    sources: child of a dynamic fan-out -> nodes it waits for; expanded: the fan-outs that are in it.
    """

    flow: Any
    bus: Bus | None = None
    run: Run | None = None
    build: Any = None
    announced: bool = False
    sources: dict[str, list[str]] = field(default_factory=dict)
    expanded: set[int] = field(default_factory=set)


# Each call has its own; a context is copied into the run's event loop and from there into its tasks and threads.
_call: ContextVar[_Call | None] = ContextVar("flowspan_auto_workflow_call", default=None)
# What a task run failed of, from where its traceback is still known to where the engine says that it failed.
_failure: ContextVar[BaseException | None] = ContextVar("flowspan_auto_workflow_failure", default=None)
_original_run: list[Callable[..., Any]] = []


def bind() -> None:
    """Follow every flow of this process from now on. Raises ImportError without auto-workflow. Bound twice is bound once."""
    from auto_workflow.events import subscribe
    from auto_workflow.flow import Flow
    from auto_workflow.middleware import register

    if _original_run:
        return
    _original_run.append(Flow.run)
    _AutoWorkflowBus().bind(subscribe)
    register(_notice_failure)
    ignore_logger(STRUCTURED_LINES)
    Flow.run = _wrapped(Flow.run)


def unbind() -> None:
    """Put `Flow.run` back. The engine has no way to unsubscribe; runs begun from now on have a bus, but no final word of a failure."""
    from auto_workflow.flow import Flow

    while _original_run:
        Flow.run = _original_run.pop()


class _AutoWorkflowBus(Bus):
    """Knows the engine's context and definitions beside what its events say."""

    def flow_started(self, name: str, payload: Payload) -> None:
        call, flow = _call.get(), str(payload["flow"])
        build_fn = getattr(call.flow, "build_fn", None) if call else None
        run = Run(RunName(str(payload["run_id"]), flow, definition_key(build_fn, flow)))
        if call is not None:
            call.bus, call.run = self, run
        self.follow(run, {"params": _params(), **_described(build_fn)})

    def task_started(self, name: str, payload: Payload) -> None:
        call, node = _call.get(), str(payload["node"])
        here = current()
        if call is None or call.build is None or here is None:
            super().task_started(name, payload)
            return
        if not call.announced:
            call.announced = True
            here.run.announce_later(partial(_announced, tuple(call.build.invocations.values())))
        invocation = call.build.invocations[node]
        details = {**_details(invocation), "upstream": _waits_for(call, invocation)}
        here.run.begin_task(node, str(payload["task"]), **details)
        enter(Place(here.run, node))

    def flow_ended(self, name: str, payload: Payload) -> None:
        """The engine counts the tasks it was built with; a dynamic fan-out adds to them."""
        call = _call.get()
        if call is not None and call.build is not None:
            payload = {**payload, "tasks": len(call.build.invocations)}
        super().flow_ended(name, payload)

    def task_ended(self, name: str, payload: Payload) -> None:
        failure = _failure.get()
        if failure is not None and "error" in payload:
            payload = {**payload, "traceback": traceback_of(_innermost(failure))}
        super().task_ended(name, payload)


def _params() -> Any:
    from auto_workflow.context import get_context

    return get_context().params or None


def _described(build_fn: Any) -> dict[str, str]:
    described = getattr(build_fn, "__doc__", None)
    return {"description": described.strip()} if described else {}


async def _notice_failure(following: Callable[[], Any], *_: Any) -> Any:
    """A middleware of the engine: it sees the exception itself, its events only name it."""
    try:
        return await following()
    except Exception as error:
        _failure.set(error)
        raise


def _wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = _Call(self)
        token = _call.set(call)
        try:
            result = original(_recording(self, call), *args, **kwargs)
        except BaseException as error:
            _end(call, error)
            raise
        finally:
            _call.reset(token)
        _end(call, None)
        return result

    return run


@harmlessly
def _end(call: _Call, error: BaseException | None) -> None:
    """Tell how a run ended of which the bus has not told. Where it has, this changes nothing."""
    if call.run is None or call.bus is None:
        return
    call.bus.leave(call.run)
    if isinstance(error, (asyncio.CancelledError, KeyboardInterrupt)):
        call.run.end(result=c.RESULT_CANCELLATION)
    elif error is not None:
        call.run.end(error=error, traceback=traceback_of(_innermost(error)))
    else:
        call.run.end()


def _recording(flow: Any, call: _Call) -> Any:
    """Return the flow, or a copy of it whose build function also keeps the engine's BuildContext for us."""
    try:
        from auto_workflow.build import current_build_context

        build_fn = flow.build_fn

        @functools.wraps(build_fn)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            call.build = current_build_context()
            return build_fn(*args, **kwargs)

        return replace(flow, build_fn=recorded)
    except Exception:  # noqa: BLE001  # an engine that has changed; its flows run as they are
        return flow


def _announced(invocations: Iterable[Any]) -> Iterable[Mapping[str, Any]]:
    return [{"node": invocation.name, "task": invocation.task_name, **_details(invocation)} for invocation in invocations]


def _details(invocation: Any) -> dict[str, Any]:
    """Return what the definition of a task says, and which nodes this use of it waits for."""
    definition = invocation.definition
    stated = {
        "task_key": definition_key(getattr(definition, "original_fn", None), invocation.task_name),
        "tags": sorted(map(str, getattr(definition, "tags", ()))),
        "priority": getattr(definition, "priority", 0),
        "run_in": getattr(definition, "run_in", ""),
        "upstream": sorted(invocation.upstream),
    }
    return {key: value for key, value in stated.items() if value}


def _waits_for(call: _Call, invocation: Any) -> list[str]:
    """Return which nodes a task run that starts has waited for: by now a dynamic fan-out among its arguments is a list of its children."""
    for fan_out in call.build.dynamic_fanouts:
        if id(fan_out) not in call.expanded and getattr(fan_out, "_expanded", False):
            call.expanded.add(id(fan_out))
            call.sources.update((child.name, _names_in(fan_out._source)) for child in fan_out)
    in_arguments = [name for value in (*invocation.args, *invocation.kwargs.values()) for name in _names_in(value)]
    return in_arguments or sorted(invocation.upstream) or call.sources.get(invocation.name, [])


def _names_in(value: Any) -> list[str]:
    """Return the node that a value is the result of, or those that a list of such values is."""
    values = value if isinstance(value, (list, tuple)) else (value,)
    return [str(item.name) for item in values if hasattr(item, "definition") and hasattr(item, "upstream")]


def _innermost(error: BaseException) -> BaseException:
    """The engine wraps what a task raised, up to three times."""
    while isinstance(getattr(error, "original", None), BaseException):
        error = error.original  # type: ignore[attr-defined]  # just looked at
    return error
