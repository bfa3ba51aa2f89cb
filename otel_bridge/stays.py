"""One time that code is in a run or a task run: told when it begins and how it ended. What decorators and `with` blocks are made of."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from inspect import Signature, getdoc, signature
from types import TracebackType
from typing import Any
from uuid import uuid4

from otel_bridge import bridge
from otel_bridge import conventions as c
from otel_bridge.environment import definition_key
from otel_bridge.guard import harmlessly
from otel_bridge.places import Place, current, enter
from otel_bridge.runs import Run, RunName


class Stay:
    """Between `__enter__` and `__exit__` code is at a place, but for the times between `step_out` and `step_in`. This one is nowhere."""

    __slots__ = ("_inside", "_is_put_off", "_outside", "_pid", "place")

    def __init__(self) -> None:
        """Tell nothing yet."""
        self.place: Place | None = None
        self._is_put_off = False

    def begin(self) -> Place | None:
        """Tell that it begins, and return where; None: nowhere, and nothing is told."""
        return None

    def end(self, place: Place, error: BaseException | None) -> None:
        """Tell how it ended."""

    def __enter__(self) -> Place | None:
        if self._is_put_off:
            self._is_put_off = False
            self.step_in()
            return self.place
        self._outside, self._pid = current(), os.getpid()
        self._inside = self.place = self.begin()
        if self.place is not None:
            enter(self.place)
        return self.place

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._is_put_off:
            self.step_out()
        elif self.place is not None:
            enter(self._outside)
            if os.getpid() == self._pid:  # what a forked child leaves goes on in its parent
                self.end(self.place, error)

    def put_off(self) -> None:
        """Have its end not come with this block but with the next."""
        self._is_put_off = True

    def step_out(self) -> None:
        """Leave for the time of a `yield`: what the consumer of a generator does is not done here."""
        if self.place is not None:
            self._inside = current()
            enter(self._outside)

    def step_in(self) -> None:
        """Come back, to where the generator's own code was."""
        if self.place is not None:
            self._outside = current()
            enter(self._inside)


@dataclass
class Flow:
    """What a flow is, whichever run of it. function: what it is the decorator of, None for a block."""

    name: str
    key: str = ""
    tags: Collection[str] = ()
    run_id: str = ""
    function: Callable[..., Any] | None = None

    @cached_property
    def flow_key(self) -> str:
        """Return its key. Asked at the first call: the module that is the program may have another name while it is imported."""
        return self.key or definition_key(self.function, self.name)

    @cached_property
    def description(self) -> Mapping[str, str]:
        """Return what its docstring says."""
        described = None if self.function is None else getdoc(self.function)
        return {"description": described} if described else {}

    @cached_property
    def signature(self) -> Signature:
        """Return what its function takes."""
        assert self.function is not None
        return signature(self.function)


class RunStay(Stay):
    """One run."""

    __slots__ = ("_flow", "_params", "run")

    def __init__(self, flow: Flow, params: Callable[[], Any]) -> None:
        """params: asked once, when it begins."""
        super().__init__()
        self._flow = flow
        self._params = params
        self.run = Run(RunName(flow.run_id or str(uuid4()), flow.name, flow.flow_key))

    @harmlessly
    def begin(self) -> Place | None:
        """Begin the run, under the task run it is called in."""
        if not bridge.is_on():
            return None
        self.run.begin(params=self._params(), tags=self._flow.tags, parent=current(), **self._flow.description)
        return Place(self.run)

    @harmlessly
    def end(self, place: Place, error: BaseException | None) -> None:
        """End it. What it returned normally, it has dealt with: a task that failed in it does not make it fail."""
        result = result_of(error)
        self.run.end(error=error if result in _WITH_ERROR else None, result=result)


@dataclass
class Task:
    """What a task is, whichever use of it. node: of every use, where it has only one; else uses are numbered."""

    name: str
    key: str = ""
    tags: Collection[str] = ()
    node: str = ""
    upstream: Sequence[str] = ()
    priority: int = 0
    function: Callable[..., Any] | None = field(default=None, repr=False)

    @cached_property
    def details(self) -> Mapping[str, Any]:
        """Return what every start of it says."""
        key = self.key or ("" if self.function is None else definition_key(self.function, self.name))
        said = {"task_key": key, "tags": sorted(self.tags), "upstream": list(self.upstream), "priority": self.priority}
        return {name: value for name, value in said.items() if value}


class TaskStay(Stay):
    """One task run, if it is in a run."""

    __slots__ = ("_task",)

    def __init__(self, task: Task) -> None:
        """Tell nothing yet."""
        super().__init__()
        self._task = task

    @harmlessly
    def begin(self) -> Place | None:
        """Begin the task run, under the one it is called in."""
        here = current()
        if here is None or not bridge.is_on():
            return None
        run, task = here.run, self._task
        node = task.node or run.new_node(task.name)
        run.begin_task(node, task.name, parent_node=here.node, **task.details)
        return Place(run, node)

    @harmlessly
    def end(self, place: Place, error: BaseException | None) -> None:
        """End it."""
        result = result_of(error)
        place.run.end_task(place.node, error=error if result in _WITH_ERROR else None, result=result)


_WITH_ERROR = frozenset({c.RESULT_FAILURE, c.RESULT_TIMEOUT})


def result_of(error: BaseException | None) -> str:
    """Return how something ended that an exception left. A generator whose consumer wants no more has done what it should."""
    if error is None or isinstance(error, GeneratorExit):
        return c.RESULT_SUCCESS
    if isinstance(error, SystemExit):
        return c.RESULT_FAILURE if error.code else c.RESULT_SUCCESS
    cancellations: tuple[type[BaseException], ...] = (
        KeyboardInterrupt,
        *_of_loaded("asyncio.exceptions", "CancelledError"),
        *_of_loaded("trio", "Cancelled"),
    )
    if isinstance(error, cancellations):
        return c.RESULT_CANCELLATION
    # One class since Python 3.11.
    timeouts: tuple[type[BaseException], ...] = (
        TimeoutError,
        *_of_loaded("asyncio.exceptions", "TimeoutError"),
        *_of_loaded("concurrent.futures", "TimeoutError"),
    )
    return c.RESULT_TIMEOUT if isinstance(error, timeouts) else c.RESULT_FAILURE


def _of_loaded(module: str, name: str) -> tuple[type[BaseException], ...]:
    """Return an exception of a module that is imported: nobody can raise one of a module that is not."""
    loaded = sys.modules.get(module)
    known: type[BaseException] | None = getattr(loaded, name, None)
    return () if known is None else (known,)
