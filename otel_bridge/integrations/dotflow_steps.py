"""What dotflow's own objects say of an execution: its name, its tasks in their order, what waits for what; and what forked children report.

Nothing here is called by the engine: dotflow.py has the hooks.
"""

from __future__ import annotations

import itertools
import mmap
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otel_bridge.environment import definition_key, program_name
from otel_bridge.failures import MOST_MESSAGE_CHARS
from otel_bridge.json_text import cut
from otel_bridge.places import Place
from otel_bridge.runs import Run, RunName

SOURCE = "dotflow"
PARALLEL, SEQUENTIAL, GROUPS = "parallel", "sequential", "sequential_group"
# Workflow ids whose executions are counted: one each, about 250 bytes.
MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Step:
    """One task of a workflow. number: its place among all; node: `name:N`, the N-th of its name; task: the name of its function."""

    number: int = -1
    node: str = ""
    task: str = ""
    task_key: str = ""
    task_id: str = ""
    group: str = ""
    upstream: tuple[str, ...] = ()

    def details(self) -> dict[str, Any]:
        """Return what is told when it is announced or begins, beside node and task."""
        return {"task_key": self.task_key, "task_id": self.task_id, "group": self.group, "upstream": list(self.upstream)}


class Reports:
    """When each step began and how it ended, in memory that forked children share: a child that dies tells nobody anything else."""

    def __init__(self, count: int) -> None:
        """count: of steps; there are two numbers to each."""
        self._cells = memoryview(mmap.mmap(-1, max(count, 1) * 16)).cast("q")

    def begin(self, step: Step) -> None:
        """Note that a step begins."""
        self._note(step, time.time_ns(), 0)

    def end(self, step: Step, *, failed: bool) -> None:
        """Note that the end of a step has been told."""
        self._note(step, self.begun_ns(step), 2 if failed else 1)

    def begun_ns(self, step: Step) -> int:
        """Return when a step began, 0 if it has not."""
        return self._cells[2 * step.number] if step.number >= 0 else 0

    def is_told(self, step: Step) -> bool:
        """Return whether somebody has told the end of a step."""
        return step.number >= 0 and self._cells[2 * step.number + 1] != 0

    def is_told_failed(self, step: Step) -> bool:
        """Return whether somebody has told that a step failed."""
        return step.number >= 0 and self._cells[2 * step.number + 1] == 2

    def _note(self, step: Step, begun_ns: int, ended: int) -> None:
        if step.number >= 0:
            self._cells[2 * step.number], self._cells[2 * step.number + 1] = begun_ns, ended


class Workflow:
    """One execution, as this process tells of it; forked children have a copy each. Pickled, it is its names: for children that are spawned."""

    def __init__(self, name: RunName, mode: str, steps: Mapping[str, Step], tasks: Sequence[Any] = ()) -> None:
        """steps: by task id. tasks: the engine's objects, whose statuses the process that started it knows in the end."""
        self.run = Run(name)
        self.reports = Reports(len(steps))
        self.process_id = os.getpid()
        self._mode = mode
        self._steps = steps
        self._tasks = tasks

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out what belongs to a process."""
        return Workflow, (self.run.name, self._mode, dict(self._steps))

    def tell_begin(self, parent: Place | None, said: Mapping[str, Any]) -> None:
        """Tell that it begins, and which tasks will come. parent: where it was started; said: what the engine says of it."""
        params = {self.step_of(task).node: task.initial_context.storage for task in self._tasks if task.initial_context.storage is not None}
        self.run.begin(params=params or None, parent=parent, metadata={"mode": self._mode}, tasks=said.get("tasks_count"))
        self.run.announce_later(lambda: [{"node": step.node, "task": step.task, **step.details()} for step in self._steps.values()])

    def tell_unreported(self) -> None:
        """Tell the end of those tasks of which the engine says now that they failed, and no process has told so.

        Those are the tasks of children that died, and those whose result was lost on the way. The engine also calls failed what comes after
        them in a group; it has never begun. When a child died is not known: at the latest now.
        """
        for task in self._tasks:
            step = self.step_of(task)
            begun_ns = self.reports.begun_ns(step)
            if str(task.status) != "Failed" or self.reports.is_told_failed(step) or not (begun_ns or self._mode == PARALLEL):
                continue
            said = {**step.details(), "task": step.task}
            if begun_ns:
                said["duration_ms"] = (time.time_ns() - begun_ns) / 1e6
            self.run.end_task(step.node, error=last_error(task)[0], **said)
            self.reports.end(step, failed=True)

    def is_unfinished(self) -> bool:
        """Return whether a step is open, or would still have come: none does after one that failed."""
        steps = self._steps.values()
        if any(self.reports.is_told_failed(step) for step in steps):
            return any(self.reports.begun_ns(step) and not self.reports.is_told(step) for step in steps)
        return not all(self.reports.is_told(step) for step in steps)

    def step_of(self, task: Any) -> Step:
        """Return the step that a task is; of one that nobody has announced, a step of its own."""
        known = self._steps.get(str(task.task_id))
        return known if known is not None else _unknown_step(task)


def follow(workflow_id: Any, mode: str, flow: Any) -> Workflow:
    """Return a new execution. flow: the engine's DotFlow, None if it was started without one: then its tasks are not known beforehand."""
    tasks = tuple(flow.task.queue) if flow is not None else ()
    steps = steps_of(tasks, mode)
    run_id = str(workflow_id)
    name, key = _names(flow, tasks)
    return Workflow(RunName(run_id, name, key, SOURCE, _next_generation(run_id)), mode, steps, tasks)


def steps_of(tasks: Sequence[Any], mode: str) -> dict[str, Step]:
    """Return the steps of these tasks by task id, in their order."""
    numbers: Counter[str] = Counter()
    last: dict[str, str] = {}
    has_groups = mode == GROUPS or (mode == SEQUENTIAL and len({task.group_name for task in tasks}) > 1)
    steps: dict[str, Step] = {}
    for number, task in enumerate(tasks):
        name, key = _task_names(task)
        numbers[name] += 1
        node = f"{name}:{numbers[name]}"
        queue = str(task.group_name) if has_groups else ""
        upstream = (last[queue],) if queue in last and mode != PARALLEL else ()
        last[queue] = node
        task_id = str(task.task_id)
        steps[task_id] = Step(number, node, name, key, task_id, str(task.group_name), upstream)
    return steps


def _unknown_step(task: Any) -> Step:
    name, key = _task_names(task)
    return Step(-1, f"{name}:{task.task_id}", name, key, str(task.task_id), str(task.group_name))


def _task_names(task: Any) -> tuple[str, str]:
    function = _function_of(task.step)
    name = str(getattr(function, "__name__", type(function).__name__))
    return name, definition_key(function, name)


def _function_of(step: Any) -> Any:
    """Return what `@action` decorates. Plain, it makes an object that knows it; with arguments, a function that has it in its closure."""
    if getattr(step, "func", None) is not None:
        return step.func
    held = dict(zip(step.__code__.co_freevars, step.__closure__ or (), strict=True)) if hasattr(step, "__code__") else {}
    try:
        return held["args"].cell_contents[0]
    except (KeyError, IndexError, ValueError):  # an engine that has changed
        return step


def last_error(task: Any) -> tuple[str, str]:
    """Return (an error as Python writes it, its traceback) from what the engine keeps of it: texts."""
    if not task.errors:
        return "failed", ""
    last = task.errors[-1]
    return f"{last.exception}({last.message!r})" if last.message else f"{last.exception}()", cut(last.traceback, MOST_MESSAGE_CHARS)


def _names(flow: Any, tasks: Sequence[Any]) -> tuple[str, str]:
    """Return (name, key) of a workflow. The engine's own name for one without is the host's, which is no name of a flow."""
    from dotflow.utils import hostname

    program = program_name()
    if program == SOURCE and tasks:  # the engine's command, whatever it runs
        program = _task_names(tasks[0])[1].rpartition(":")[0] or program
    stated = str(getattr(flow, "name", "") or "")
    name = program if stated in ("", hostname()) else stated
    return name, f"{program}:{name}"


_executions: dict[str, Iterator[int]] = {}


def _next_generation(run_id: str) -> int:
    """Return how many executions of this id this process has begun before."""
    if len(_executions) >= MOST_COUNTED and run_id not in _executions:
        _executions.clear()
    return next(_executions.setdefault(run_id, itertools.count()))
