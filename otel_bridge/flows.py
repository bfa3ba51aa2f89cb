"""Without an engine: `@flow` and `@task` for functions of any kind, `with run(...)` and `with task(...)` for blocks, `log`, `progress`.

They tell, and add nothing else: no scheduler, no retries, no cache. Outside of a run a task is the function it was, and log does nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from inspect import Parameter
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

from otel_bridge.guard import harmlessly
from otel_bridge.places import current, entered
from otel_bridge.runs import Run
from otel_bridge.stays import Flow, RunStay, Stay, Task, TaskStay
from otel_bridge.wrapping import wrapped

F = TypeVar("F", bound=Callable[..., Any])
Told = TypeVar("Told")
AStay = TypeVar("AStay", bound=Stay)


@overload
def flow(function: F, /) -> F: ...
@overload
def flow(name: str = "", *, key: str = "", tags: Collection[str] = (), run_id: str = "") -> Callable[[F], F]: ...
def flow(name: Any = "", *, key: str = "", tags: Collection[str] = (), run_id: str = "") -> Any:
    """Make each call of a function a run: `@flow`, or `@flow("nightly", tags=["sales"])`.

    Its parameters are the call's arguments by name, without self. key: what the flow is told apart by, else `module:name`.
    run_id: for who has one already and calls once; else each run gets one. A flow called in a flow is a run of its own, under the other.
    """
    if callable(name):
        return _follow_flow(name, Flow(""))
    defined = Flow(name, key, tags, run_id)
    return lambda function: _follow_flow(function, defined)


@overload
def task(function: F, /) -> F: ...
@overload
def task(
    name: str = "", *, key: str = "", tags: Collection[str] = (), node: str = "", upstream: Sequence[str] = (), priority: int = 0
) -> TaskBlock: ...
def task(name: Any = "", **more: Any) -> Any:
    """Make each call of a function, or a block, a task run of the run it is in: `@task`, `@task("load")`, `with task("load") as node:`.

    Called in another task it is below that one. node: its name in the run, unless `load:1`, `load:2`, ... will do. upstream: nodes it
    waited for; a block returns its own. key: what the task is told apart by, else `module:name`.
    """
    return _follow_task(name, Task("")) if callable(name) else TaskBlock(Task(name, **more))


def run(name: str, *, params: Any = None, tags: Collection[str] = (), run_id: str = "", key: str = "") -> RunBlock:
    """Make a block a run: `with run("nightly", params={"day": day}) as r:`, or `async with`.

    An exception that leaves the block fails the run, one that is handled in it does not. `r.run_id` names it; `r.end(result=...)` ends it
    otherwise.
    """
    return RunBlock(Flow(name, key, tags, run_id), params)


@harmlessly
def log(message: object, level: str | int = "INFO", payload: Any = None) -> None:
    """Tell a log line of the run or task run this is called in. level: a word, or a number of logging's. Elsewhere it does nothing."""
    here = current()
    if here is not None:
        here.run.log(str(message), level, here.node, payload)


@harmlessly
def progress(done: float, total: float) -> None:
    """Tell how far the task run this is called in has come: a line a second at most, and the last. Elsewhere it does nothing."""
    here = current()
    if here is not None:
        here.run.progress(done, total, here.node)


class _Block(ABC, Generic[AStay, Told]):
    """What `with` and `async with` take, again and again, in several threads and coroutines at once."""

    def __init__(self) -> None:
        """Nobody is in it."""
        # By the identity of its place, because places of one node are equal. Each step is one call: no lock.
        self._stays: dict[int, AStay] = {}
        self._nowhere: list[AStay] = []

    @abstractmethod
    def stay(self) -> AStay:
        """Return a new stay."""

    @abstractmethod
    def told(self, stay: AStay) -> Told:
        """Return what `as` is given."""

    def __enter__(self) -> Told:
        stay = self.stay()
        place = stay.__enter__()
        if place is None:
            self._nowhere.append(stay)
        else:
            self._stays[id(place)] = stay
        return self.told(stay)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._own().__exit__(kind, error, trace)

    async def __aenter__(self) -> Told:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.__exit__(kind, error, trace)

    def _own(self) -> AStay:
        """Return the stay of this context: that at whose place it is, else one that is nowhere; else, it was entered in another, the last."""
        own = self._stays.pop(id(entered()), None)
        if own is not None:
            return own
        return self._nowhere.pop() if self._nowhere else self._stays.popitem()[1]


class RunBlock(_Block[RunStay, Run]):
    """What `run` returns."""

    def __init__(self, flow: Flow, params: Any) -> None:
        """params: of each run."""
        super().__init__()
        self._flow = flow
        self._params = params

    def stay(self) -> RunStay:
        """Return a new run."""
        return RunStay(self._flow, lambda: self._params)

    def told(self, stay: RunStay) -> Run:
        """Return the run."""
        return stay.run


class TaskBlock(_Block[TaskStay, str]):
    """What `task` returns when it is given a name or nothing: a block, or the decorator of a function."""

    def __init__(self, task: Task) -> None:
        """task: what each block is a run of."""
        super().__init__()
        self._task = task

    def __call__(self, function: F) -> F:
        """Make each call of this function a task run."""
        return _follow_task(function, self._task)

    def stay(self) -> TaskStay:
        """Return a new task run."""
        return TaskStay(self._task)

    def told(self, stay: TaskStay) -> str:
        """Return its node, empty outside of a run."""
        return "" if stay.place is None else stay.place.node


def _follow_flow(function: F, stated: Flow) -> F:
    defined = replace(stated, name=stated.name or _name_of(function), function=function)

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Stay:
        return RunStay(defined, lambda: _params(defined, args, kwargs))

    return wrapped(function, begin)


def _follow_task(function: F, stated: Task) -> F:
    defined = replace(stated, name=stated.name or _name_of(function), function=function)
    return wrapped(function, lambda args, kwargs: TaskStay(defined))


def _name_of(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _params(defined: Flow, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return a call's arguments by name; None if it has none, or they do not fit: what to say of that is the function's own business."""
    try:
        bound = defined.signature.bind(*args, **kwargs)
    except (TypeError, ValueError):  # a function of C may have no signature
        return None
    bound.apply_defaults()
    return {name: value for name, value in bound.arguments.items() if _is_param(defined.signature.parameters[name], value)} or None


def _is_param(parameter: Parameter, value: Any) -> bool:
    is_rest = parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return parameter.name not in ("self", "cls") and not (is_rest and not value)
