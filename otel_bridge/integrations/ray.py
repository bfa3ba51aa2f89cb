"""Ray: a remote function that is called in a run is a task run of it, wherever it is executed. One method is wrapped, RemoteFunction._remote.

In a run a stand-in is submitted: it takes along where it was called, and calls the function there; where there is no Flowspan, it only calls.
Outside of any run nothing changes. Actors, generators and functions of other languages are called as they are.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from otel_bridge import bridge, carrying
from otel_bridge import conventions as c
from otel_bridge.environment import definition_key
from otel_bridge.guard import harmlessly
from otel_bridge.places import Place, at, current
from otel_bridge.runs import Run, RunName

Carried = Mapping[str, Any]

_originals: list[Callable[..., Any]] = []
_stand_ins: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
# Id of a task -> its node, for those that wait for it. Ray's references cannot be referred to weakly; what is forgotten shows fewer edges.
_nodes: dict[str, str] = {}
MOST_NODES = 10_000
# A worker is killed when its driver ends, which may be as soon as it has the result: what was told is on its way before that. Some 10 ms, and
# a connection with the first call; a server that fails is not waited for.
HANDED_ON_S = 2.0


def bind() -> None:
    """Follow remote functions that are called in a run from now on. Raises ImportError without Ray. Bound twice is bound once."""
    from ray.remote_function import RemoteFunction

    if not _originals:
        _originals.append(RemoteFunction._remote)
        RemoteFunction._remote = _wrapped(RemoteFunction._remote)


def unbind() -> None:
    """Put Ray's own method back."""
    from ray.remote_function import RemoteFunction

    while _originals:
        RemoteFunction._remote = _originals.pop()


def _wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def remote(self: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        here = current()
        stand_in = _stand_in_of(self) if here is not None else None
        if here is None or stand_in is None:
            return original(self, args, kwargs, **options)
        submitted = original(stand_in, (_carried(here), *(args or ())), kwargs, **options)
        _tell_queued(here, self._function, submitted, [*(args or ()), *(kwargs or {}).values()])
        return submitted

    return remote


@harmlessly
def _tell_queued(here: Place, function: Callable[..., Any], submitted: Any, arguments: Iterable[Any]) -> None:
    """A reference that is an argument is waited for: Ray puts in its place what it refers to."""
    from ray import ObjectRef

    waited_for = {_nodes.get(value.task_id().hex(), "") for value in arguments if isinstance(value, ObjectRef)}
    reference = submitted[0] if isinstance(submitted, list) else submitted
    task, task_id = function.__name__, reference.task_id().hex()
    if len(_nodes) >= MOST_NODES:
        _nodes.clear()
    node = _nodes[task_id] = _node_of(task, task_id)
    here.run.queue_task(node, task, task_key=definition_key(function, task), upstream=sorted(waited_for - {""}))


def _node_of(task: str, task_id: str) -> str:
    """Return the same node in every process. The first 16 digits are the task's own; the rest names its actor and its job."""
    return f"{task}:{task_id[:16]}"


@harmlessly
def _stand_in_of(remote_function: Any) -> Any:
    """Return the remote function that is submitted in place of this one, None for what has none. Made once: Ray exports each to its cluster."""
    if remote_function._is_generator or remote_function._is_cross_language:
        return None
    known = _stand_ins.get(remote_function)
    if known is None:
        import ray

        known = _stand_ins[remote_function] = ray.remote(_performing(remote_function._function))
    return known


def _performing(function: Callable[..., Any]) -> Callable[..., Any]:
    def performed(_flowspan: Carried, *args: Any, **kwargs: Any) -> Any:
        try:
            from otel_bridge.integrations.ray import perform
        except ImportError:  # this node of the cluster has no Flowspan
            return function(*args, **kwargs)
        return perform(_flowspan, function, args, kwargs)

    functools.update_wrapper(performed, function)
    # Ray reads the signature, which is not that of the function.
    del performed.__wrapped__  # type: ignore[attr-defined]  # update_wrapper sets it
    return performed


def _carried(here: Place) -> Carried:
    return {"run": asdict(here.run.name), "node": here.node}


def perform(carried: Carried, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call a function as a task run of the run it was called in, in a worker of Ray."""
    place = _begin(carried, function)
    try:
        with at(place):
            result = function(*args, **kwargs)
    except BaseException as error:
        _end(place, error)
        raise
    _end(place, None)
    return result


@harmlessly
def _begin(carried: Carried, function: Callable[..., Any]) -> Place:
    import ray

    from otel_bridge.log_records import follow_loggers

    follow_loggers()
    carrying.install()
    task = function.__name__
    # Ray calls a function again under the same id: that is another try of the same node.
    place = Place(Run(RunName(**carried["run"])), _node_of(task, ray.get_runtime_context().get_task_id() or ""))
    place.run.begin_task(place.node, task, parent_node=carried["node"], task_key=definition_key(function, task), run_in="ray")
    return place


@harmlessly
def _end(place: Place | None, error: BaseException | None) -> None:
    if place is None:
        return
    is_stopped = error is not None and not isinstance(error, Exception)
    place.run.end_task(place.node, error=error, result=c.RESULT_CANCELLATION if is_stopped else "")
    bridge.flush(HANDED_ON_S, patient=False)
