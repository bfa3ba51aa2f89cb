"""RQ has no signals: six of its methods are wrapped, where a worker starts, enqueues, performs, watches its horse, gives up and tries again.

A run is one job, with one task run. A work horse performs it and ends by os._exit; the worker it was forked from speaks for it if it is killed.
What the next try needs to know of this one goes with the job, in its meta.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from otel_bridge import bridge, carrying
from otel_bridge import conventions as c
from otel_bridge.guard import harmlessly
from otel_bridge.integrations.preloading import preload
from otel_bridge.integrations.waiting import Waiting
from otel_bridge.log_records import ignore_logger
from otel_bridge.places import Place, at, current
from otel_bridge.runs import Run, RunName

SOURCE = "rq"
META = "flowspan"
# Its loggers say in words what is told here.
OWN_LINES = "rq"

Method = Callable[..., Any]


@dataclass
class _Doing:
    """A job that is performed. begun_ns: its first try. is_told: how this try ended has been told."""

    job_id: str
    run: Run
    node: str
    begun_ns: int
    attempt: int = 1
    is_told: bool = False


_doing: ContextVar[_Doing | None] = ContextVar("flowspan_rq_doing", default=None)
_waiting = Waiting()
_originals: list[tuple[type, str, Method]] = []


def bind() -> None:
    """Follow what this process enqueues and performs from now on. Raises ImportError without RQ. Bound twice is bound once."""
    from rq import worker
    from rq.queue import Queue

    Worker = worker.Worker
    BaseWorker = getattr(worker, "BaseWorker", Worker)  # RQ 1 has none

    if _originals:
        return
    _wrap(Queue, "_enqueue_job", _enqueuing)
    _wrap(BaseWorker, "bootstrap", _starting)
    _wrap(BaseWorker, "perform_job", _performing)
    _wrap(Worker, "monitor_work_horse", _watching)
    _wrap(BaseWorker, "handle_job_failure", _failing)
    _wrap(BaseWorker, "handle_job_retry", _retrying)
    ignore_logger(OWN_LINES)


def unbind() -> None:
    """Put RQ's own methods back."""
    while _originals:
        owner, name, original = _originals.pop()
        setattr(owner, name, original)


def _wrap(owner: type, name: str, wrapper: Callable[[Method], Method]) -> None:
    """A version of RQ that has no such method tells less, and works as it did."""
    original = getattr(owner, name, None)
    if original is not None:
        _originals.append((owner, name, original))
        setattr(owner, name, functools.wraps(original)(wrapper(original)))


# --- who enqueues ----------------------------------------------------------------------------------------------------------------------


def _enqueuing(original: Method) -> Method:
    def enqueue(self: Any, job: Any, *args: Any, **kwargs: Any) -> Any:
        _tell_queued(self, job)
        return original(self, job, *args, **kwargs)

    return enqueue


@harmlessly
def _tell_queued(queue: Any, job: Any) -> None:
    """A job that is tried again waits as the run that it is already. One of a queue without workers is called at once, by nobody we follow."""
    if _carried_by(job).get("attempt") or not queue.is_async:
        return
    run, node = _run_of(job), _node_of(job)
    run.queue(params={"args": job.args, "kwargs": job.kwargs}, parent=_parent_of(job), queue=queue.name)
    run.queue_task(node, _short(job), task_key=job.func_name)


def _parent_of(job: Any) -> Place | None:
    """Return where a job was enqueued; or the first job it has waited for."""
    waited_for = job.dependency_ids
    return Place(Run(RunName(waited_for[0], "", source=SOURCE))) if waited_for else current()


# --- who performs ----------------------------------------------------------------------------------------------------------------------


def _starting(original: Method) -> Method:
    def bootstrap(self: Any, *args: Any, **kwargs: Any) -> Any:
        preload()
        return original(self, *args, **kwargs)

    return bootstrap


def _performing(original: Method) -> Method:
    def perform_job(self: Any, job: Any, *args: Any, **kwargs: Any) -> Any:
        doing = _begin(job)
        token = _doing.set(doing)
        try:
            with at(Place(doing.run, doing.node) if doing is not None else None):
                return original(self, job, *args, **kwargs)
        finally:
            _doing.reset(token)
            _end(self, job, doing)

    return perform_job


@harmlessly
def _begin(job: Any) -> _Doing:
    carrying.install()
    carried, now_ns = _carried_by(job), time.time_ns()
    run, node = _run_of(job), _node_of(job)
    first_ns, attempt = carried.get("begun_ns") or now_ns, carried.get("attempt") or 1
    run.begin_task(node, _short(job), task_key=job.func_name, begun_ns=_begun_ns(first_ns, attempt))
    # If it is saved as it is now, it will be repeated: that is another execution of the same job.
    job.meta[META] = {"generation": run.name.generation + 1}
    return _Doing(job.id, run, node, first_ns, attempt)


@harmlessly
def _end(worker: Any, job: Any, doing: _Doing | None) -> None:
    """A work horse ends without the interpreter's own end."""
    if doing is not None and not doing.is_told:
        doing.run.end_task(doing.node)
        _end_run(doing, result=c.RESULT_SUCCESS)
    if worker.is_horse:
        bridge.shutdown()


def _begun_ns(first_ns: int, attempt: int) -> int:
    """Of several beginnings the first stands: who speaks for the task run from now on says a little less than who did before.

    Two for an attempt: one is its horse's, one the worker's, which speaks while the job waits for the next.
    """
    return first_ns - 2 * (attempt - 1)


def _watching(original: Method) -> Method:
    def monitor_work_horse(self: Any, job: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, job, *args, **kwargs)
        _speak_for_waiting(job)
        return result

    return monitor_work_horse


@harmlessly
def _speak_for_waiting(job: Any) -> None:
    """A horse is no more that has left its job to be tried again."""
    from rq.exceptions import InvalidJobOperation, NoSuchJobError

    with suppress(InvalidJobOperation, NoSuchJobError):  # done, and not kept
        if job.get_status() not in ("queued", "scheduled"):
            return
        job.get_meta()
        carried, run, node = _carried_by(job), _run_of(job), _node_of(job)
        if "attempt" in carried:
            run.begin_task(node, _short(job), begun_ns=_begun_ns(carried["begun_ns"], carried["attempt"]) + 1)
            _waiting.hold(run, node)


# --- what becomes of it ----------------------------------------------------------------------------------------------------------------


def _failing(original: Method) -> Method:
    """Called by the horse for a job that raised, by the worker for one whose horse is no more, to retry it or to give it up."""

    def handle_job_failure(self: Any, job: Any, *args: Any, **kwargs: Any) -> Any:
        error = sys.exc_info()[1] or kwargs.get("exc_string") or "the work horse ended"
        is_stopped = getattr(self, "_stopped_job_id", None) == job.id
        doing = _before_failure(job, is_again=job.should_retry and not is_stopped)
        result = original(self, job, *args, **kwargs)
        _after_failure(job, doing, error, is_stopped=is_stopped)
        return result

    return handle_job_failure


def _retrying(original: Method) -> Method:
    """Called for a job that returned a Retry; it fails if there were too many."""

    def handle_job_retry(self: Any, job: Any, *args: Any, **kwargs: Any) -> Any:
        doing = _before_failure(job, is_again=True)
        result = original(self, job, *args, **kwargs)
        _after_failure(job, doing, "it returned Retry", is_stopped=False)
        return result

    return handle_job_retry


@harmlessly
def _before_failure(job: Any, *, is_again: bool) -> _Doing:
    doing = _doing.get()
    if doing is None or doing.job_id != job.id:
        carried = _carried_by(job)
        begun_ns = carried.get("begun_ns") or _ns_of(job.started_at)
        doing = _Doing(job.id, _run_of(job), _node_of(job), begun_ns, carried.get("attempt") or 1)
    if is_again:
        job.meta[META] = {"generation": doing.run.name.generation, "begun_ns": doing.begun_ns, "attempt": doing.attempt + 1}
    return doing


@harmlessly
def _after_failure(job: Any, doing: _Doing | None, error: BaseException | str, *, is_stopped: bool) -> None:
    if doing is None:
        return
    doing.is_told = True
    if job.get_status(refresh=False) in ("queued", "scheduled"):
        doing.run.retry(doing.node, doing.attempt, error=error)
        doing.run.leave_task(doing.node)
        return
    result = c.RESULT_CANCELLATION if is_stopped else c.RESULT_FAILURE
    doing.run.end_task(doing.node, error=error, result=result, **_duration(doing))
    _end_run(doing, error=error, result=result)


def _end_run(doing: _Doing, *, result: str, error: BaseException | str | None = None) -> None:
    doing.run.end(error=error, result=result, **_duration(doing))


def _duration(doing: _Doing) -> dict[str, Any]:
    return {"duration_ms": (time.time_ns() - doing.begun_ns) / 1e6}


# --- names -----------------------------------------------------------------------------------------------------------------------------


def _run_of(job: Any) -> Run:
    generation = _carried_by(job).get("generation") or 0
    return Run(RunName(job.id, job.func_name or "", source=SOURCE, generation=generation))


def _carried_by(job: Any) -> dict[str, int]:
    """Return the numbers that this job's last try left for the next: generation, begun_ns, attempt."""
    stated = job.meta.get(META)
    return {key: value for key, value in stated.items() if isinstance(value, int)} if isinstance(stated, dict) else {}


def _node_of(job: Any) -> str:
    return f"{_short(job)}:1"


def _short(job: Any) -> str:
    return (job.func_name or "job").rpartition(".")[2]


def _ns_of(moment: datetime | None) -> int:
    return round(moment.timestamp() * 1e9) if moment is not None else time.time_ns()
