"""dotflow: its tracer tells when workflows and tasks begin and end, its metrics when a task is tried again: both have a hook.

A tracer is told an id and a count; which tasks there are, and what the workflow is called, comes from one wrapper around `DotFlow.start`. It is
also where a workflow is seen that raises, because then the engine says nothing.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from dotflow.abc.metrics import Metrics
from dotflow.abc.tracer import Tracer
from dotflow.core.dotflow import DotFlow
from dotflow.core.types import TypeStatus
from dotflow.providers.metrics_default import MetricsDefault
from dotflow.providers.tracer_default import TracerDefault

from otel_bridge import conventions as c
from otel_bridge.guard import harmlessly
from otel_bridge.integrations.dotflow_steps import SOURCE, Step, Workflow, follow, last_error
from otel_bridge.log_records import ignore_logger
from otel_bridge.places import Place, at, current, enter


@dataclass
class _Call:
    """One call of `DotFlow.start`, and the execution that the engine made of it."""

    flow: Any
    workflow: Workflow | None = None


_call: ContextVar[_Call | None] = ContextVar("flowspan_dotflow_call", default=None)
_original_start: list[Callable[..., Any]] = []
# Whether every Config gets a tracer of ours, or those alone that were given one.
_is_bound = False
# Configs that were given hooks by us, and what they had before.
_given: WeakKeyDictionary[Any, tuple[Any, Any]] = WeakKeyDictionary()
_open: WeakSet[Workflow] = WeakSet()


def bind() -> None:
    """Follow every workflow that this process starts from now on. Bound twice is bound once. A tracer that a program uses stays in use."""
    global _is_bound
    _is_bound = True
    _wrap_start()


def unbind() -> None:
    """Put back what was there before. Workflows that run are followed to their end."""
    global _is_bound
    _is_bound = False
    while _original_start:
        DotFlow.start = _original_start.pop()
    for config, (tracer, metrics) in list(_given.items()):
        config.tracer, config.metrics = tracer, metrics
    _given.clear()


class FlowspanTracer(Tracer):  # type: ignore[misc]  # the engine is in an environment of its own, without types
    """Tells of the workflows of a Config that has it: `Config(tracer=FlowspanTracer())`. With FLOWSPAN_URL set nobody needs to say so.

    beside: a tracer that is also in use; it is called as if it were alone. The run id is the workflow id. Started again in one process it is
    another execution, generation 1, 2, ... Another process that starts the same id (WORKFLOW_ID, checkpoints) knows nothing of those and tells
    of generation 0: the run goes on, and of two ends of a node the later counts.
    """

    def __init__(self, beside: Any = None) -> None:
        """Tell nothing yet."""
        self._beside = beside if beside is not None else TracerDefault()
        self._workflows: dict[str, Workflow] = {}
        _wrap_start()

    def __getattr__(self, name: str) -> Any:
        """Answer as the tracer beside, for a program that looks for its own in the Config."""
        if name.startswith("__") or name == "_beside":
            raise AttributeError(name)
        return getattr(self._beside, name)

    def start_workflow(self, workflow_id: Any, **kwargs: Any) -> None:
        """Called by the engine."""
        self._begin(workflow_id, kwargs)
        self._beside.start_workflow(workflow_id, **kwargs)

    def end_workflow(self, workflow_id: Any, **kwargs: Any) -> None:
        """Called by the engine; not if the workflow raises."""
        self._end(workflow_id, kwargs)
        self._beside.end_workflow(workflow_id, **kwargs)

    def start_task(self, task: Any) -> None:
        """Called by the engine, where the task will run: in `parallel` and group modes a forked child."""
        self._begin_task(task)
        self._beside.start_task(task)

    def end_task(self, task: Any) -> None:
        """Called by the engine, where the task has run."""
        self._end_task(task)
        self._beside.end_task(task)

    @harmlessly
    def retried(self, task: Any) -> None:
        """Tell that a try has failed and another follows. The engine says so where it handles the exception."""
        workflow, step = self._find(task)
        if workflow is not None:
            error = sys.exc_info()[1] or last_error(task)[0]
            workflow.run.retry(step.node, task.retry_count, task.step.retry, error)

    @harmlessly
    def completed(self, task: Any) -> None:
        """Tell of a task that is complete and has never begun: its result is that of an earlier execution.

        If that was one of this process, it ends here too. Else its true end was told by another process under the same names; one told here
        would stand for it.
        """
        workflow, step = self._find(task)
        if workflow is None or workflow.reports.begun_ns(step) or workflow.reports.is_told(step):
            return
        workflow.reports.end(step, failed=False)
        workflow.run.log("restored from a checkpoint, not run again", node=step.node)
        if workflow.run.name.generation:
            workflow.run.end_task(step.node, task=step.task, restored=True, **step.details())

    @harmlessly
    def _begin(self, workflow_id: Any, said: dict[str, Any]) -> None:
        call = _call.get()
        is_ours = call is not None and call.workflow is None and call.flow.workflow_id == workflow_id
        workflow = follow(workflow_id, str(said.get("mode", "")), call.flow if call is not None and is_ours else None)
        if call is not None and is_ours:
            call.workflow = workflow
        self._workflows[str(workflow_id)] = workflow
        workflow.tell_begin(current(), said)
        _open.add(workflow)
        # Who registers last is asked first: the bridge has registered, and must not be closed yet.
        atexit.unregister(_end_with_the_program)
        atexit.register(_end_with_the_program)
        if is_ours:
            enter(Place(workflow.run))

    @harmlessly
    def _end(self, workflow_id: Any, said: dict[str, Any]) -> None:
        workflow = self._workflows.pop(str(workflow_id), None)
        if workflow is not None:
            workflow.tell_unreported()
            # Without a failure its tasks say how it went: the engine counts a task whose `assert` failed as not failed.
            workflow.run.end(result=c.RESULT_FAILURE if said.get("failed") else "")

    @harmlessly
    def _begin_task(self, task: Any) -> None:
        workflow, step = self._find(task)
        if workflow is not None:
            workflow.reports.begin(step)
            workflow.run.begin_task(step.node, step.task, **step.details())
            enter(Place(workflow.run, step.node))

    @harmlessly
    def _end_task(self, task: Any) -> None:
        workflow, step = self._find(task)
        if workflow is None:
            return
        said = _outcome(task)
        workflow.reports.end(step, failed="error" in said)
        attempts = {"attempt": task.retry_count + 1} if task.retry_count else {}
        workflow.run.end_task(step.node, **said, **attempts, task_id=step.task_id, group=step.group)
        enter(Place(workflow.run))

    def _find(self, task: Any) -> tuple[Workflow | None, Step]:
        workflow = self._workflows.get(str(task.workflow_id))
        return workflow, workflow.step_of(task) if workflow is not None else Step()


class _WatchedMetrics(Metrics):  # type: ignore[misc]  # the engine is in an environment of its own, without types
    """Passes on what the engine counts, and tells the tracer what only this hook is told."""

    def __init__(self, tracer: FlowspanTracer, beside: Any) -> None:
        self._tracer = tracer
        self._beside = beside if beside is not None else MetricsDefault()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_beside":
            raise AttributeError(name)
        return getattr(self._beside, name)

    def workflow_started(self, workflow_id: Any, **kwargs: Any) -> None:
        self._beside.workflow_started(workflow_id, **kwargs)

    def workflow_completed(self, workflow_id: Any, duration: float) -> None:
        self._beside.workflow_completed(workflow_id, duration)

    def workflow_failed(self, workflow_id: Any, duration: float) -> None:
        self._beside.workflow_failed(workflow_id, duration)

    def task_completed(self, task: Any) -> None:
        self._tracer.completed(task)
        self._beside.task_completed(task)

    def task_failed(self, task: Any) -> None:
        self._beside.task_failed(task)

    def task_retried(self, task: Any) -> None:
        self._tracer.retried(task)
        self._beside.task_retried(task)


def _wrap_start() -> None:
    if not _original_start:
        _original_start.append(DotFlow.start)
        DotFlow.start = _wrapped(DotFlow.start)


def _wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def start(self: Any, *args: Any, **kwargs: Any) -> Any:
        _give_hooks(self)
        call = _Call(self)
        token = _call.set(call)
        try:
            with at(current()):  # and back: a workflow in the background goes on without this thread
                return original(self, *args, **kwargs)
        except BaseException as error:
            _end_raised(call, error)
            raise
        finally:
            _call.reset(token)

    return start


@harmlessly
def _give_hooks(flow: Any) -> None:
    """Put our tracer and metrics beside those of a flow's Config, unless it has them."""
    config = flow._config
    if not (_is_bound or isinstance(config.tracer, FlowspanTracer)):
        return
    before = (config.tracer, config.metrics)
    if not isinstance(config.tracer, FlowspanTracer):
        config.tracer = FlowspanTracer(beside=config.tracer)
    if not isinstance(config.metrics, _WatchedMetrics):
        config.metrics = _WatchedMetrics(config.tracer, config.metrics)
        _given[config] = before
    # Its own lines say of every task which status it has: that has been told.
    lines = getattr(getattr(config.log, "_logger", None), "name", "")
    if lines.startswith(f"{SOURCE}."):
        ignore_logger(lines)


@harmlessly
def _end_raised(call: _Call, error: BaseException) -> None:
    """End the run of a workflow that raised; one that was over by then has been told."""
    if call.workflow is None:
        return
    if isinstance(error, KeyboardInterrupt):
        call.workflow.run.end(result=c.RESULT_CANCELLATION)
    else:
        call.workflow.run.end(error=error)


@harmlessly
def _end_with_the_program() -> None:
    """A workflow in the background runs in a daemon thread, which the end of the program stops wherever it is: maybe behind its last task."""
    for workflow in list(_open):
        if workflow.process_id != os.getpid():
            continue
        if workflow.is_unfinished():
            workflow.run.end(result=c.RESULT_CANCELLATION, error="the program ended before its workflow")
        else:
            workflow.run.end()


def _outcome(task: Any) -> dict[str, Any]:
    """Return how a task ended, as `Run.end_task` takes it. An exception the engine does not handle leaves the status as it was."""
    if task.status == TypeStatus.COMPLETED:
        return {}
    if task.status != TypeStatus.FAILED:
        passing = sys.exc_info()[1]
        return {"result": c.RESULT_CANCELLATION} if isinstance(passing, KeyboardInterrupt) else {"error": passing or str(task.status)}
    error, traceback = last_error(task)
    is_timeout = bool(getattr(task.step, "timeout", 0)) and error.startswith("TimeoutError(")
    return {"error": error, "traceback": traceback, "result": c.RESULT_TIMEOUT if is_timeout else c.RESULT_FAILURE}
