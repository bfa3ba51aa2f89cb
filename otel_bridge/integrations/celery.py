"""Celery: its signals tell everything; nothing is patched. What one process knows of a run goes with the messages, in a header.

A run is what one `delay()` set off: a task, or a whole canvas. Celery has no end of a canvas, so each task that nothing follows ends the run;
of several ends the last stands. Nobody tells that the run itself has begun: its tasks say so, each told by the process that works on it.
"""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from dataclasses import dataclass, replace
from typing import Any

from otel_bridge import bridge, carrying
from otel_bridge import conventions as c
from otel_bridge.guard import harmlessly
from otel_bridge.integrations.preloading import preload
from otel_bridge.integrations.waiting import Waiting
from otel_bridge.log_records import ignore_logger
from otel_bridge.places import Place, at, current
from otel_bridge.runs import Run, RunName

SOURCE = "celery"
HEADER = "flowspan"
# Its lines say in words what the signals have said.
OWN_LINES = "celery.app.trace"
UUID_CHARS = 36


@dataclass(frozen=True)
class _Carried:
    """What a message says of its task run: its run, the node that published it, and, where it is tried again, when it first began."""

    run_id: str
    flow: str = ""
    upstream: str = ""
    begun_ns: int = 0
    run_begun_ns: int = 0

    def run(self) -> Run:
        return Run(RunName(self.run_id, self.flow, source=SOURCE))


@dataclass
class _Doing:
    """A task run that this context works on. is_followed: it published another; is_again: it published itself, to be tried again."""

    task_id: str
    node: str
    carried: _Carried
    run: Run
    here: AbstractContextManager[None]
    token: Token[_Doing | None] | None = None
    is_followed: bool = False
    is_again: bool = False
    failure: BaseException | None = None


_doing: ContextVar[_Doing | None] = ContextVar("flowspan_celery_doing", default=None)
# The group whose members are being published.
_group: ContextVar[_Carried | None] = ContextVar("flowspan_celery_group", default=None)
_waiting = Waiting()
# What the worker's own process was given: it speaks for a pool process that is no more.
_received: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def bind() -> None:
    """Follow what this process publishes and works on from now on. Raises ImportError without Celery. Bound twice is bound once."""
    for signal, receiver in _receivers():
        signal.connect(receiver, weak=False, dispatch_uid=f"flowspan.{receiver.__name__}")
    ignore_logger(OWN_LINES)


def unbind() -> None:
    """Listen no longer."""
    for signal, receiver in _receivers():
        signal.disconnect(dispatch_uid=f"flowspan.{receiver.__name__}")


def _receivers() -> list[tuple[Any, Any]]:
    from celery import signals

    return [
        (signals.before_task_publish, _published),
        (signals.worker_init, _worker_starts),
        (signals.task_received, _taken),
        (signals.task_prerun, _begun),
        (signals.task_retry, _retried),
        (signals.task_failure, _failed),
        (signals.task_postrun, _ended),
        (signals.task_revoked, _revoked),
        (signals.worker_process_shutdown, _process_ends),
    ]


# --- who publishes ---------------------------------------------------------------------------------------------------------------------


@harmlessly
def _published(headers: Any = None, body: Any = None, **_: Any) -> None:
    if not isinstance(headers, dict) or "id" not in headers:
        return  # the first protocol of messages, of Celery 3
    doing, node = _doing.get(), _node_of(headers["id"], headers["task"])
    if doing is not None and (doing.task_id, doing.node) == (headers["id"], node):
        doing.is_again = True
        headers[HEADER] = json.dumps(vars(doing.carried))
    elif not (headers.get("retries") and HEADER in headers):
        carried = _following(doing) if doing is not None else _first_of_group(_unfollowed(headers, headers["task"]), headers["id"])
        headers[HEADER] = json.dumps(vars(carried))
        _tell_queued(carried, headers, body)


def _following(doing: _Doing) -> _Carried:
    doing.is_followed = True
    return _part_of(doing)


def _part_of(doing: _Doing) -> _Carried:
    return replace(doing.carried, upstream=doing.node, begun_ns=0)


def _first_of_group(carried: _Carried, task_id: str) -> _Carried:
    """Members of a group are published one after the other and may run in any order: the first names their run, and says when it began."""
    if carried.run_id == task_id:
        return carried
    first = _group.get()
    if first is None or first.run_id != carried.run_id:
        first = replace(carried, run_begun_ns=time.time_ns())
        _group.set(first)
    return first


def _unfollowed(request: Mapping[str, Any], task: str) -> _Carried:
    """Return what is known of a task run from Celery alone. The members of a group are roots of their own; together they are one run."""
    root_id = request.get("root_id") or request["id"]
    if root_id != request["id"]:
        return _Carried(root_id)
    return _Carried(request.get("group") or root_id, task)


def _tell_queued(carried: _Carried, headers: Mapping[str, Any], body: Any) -> None:
    run = carried.run()
    if not carried.upstream:
        is_alone = carried.run_id == headers["id"]
        run.queue(params={"args": body[0], "kwargs": body[1]} if is_alone else None, parent=current())
    run.queue_task(_node_of(headers["id"], headers["task"]), **_described(headers["task"], carried))


# --- who works -------------------------------------------------------------------------------------------------------------------------


def _worker_starts(**_: Any) -> None:
    preload()


@harmlessly
def _taken(request: Any = None, **_: Any) -> None:
    _received[request.id] = request


@harmlessly
def _begun(task_id: str, task: Any, args: Any = None, kwargs: Any = None, **_: Any) -> None:
    carrying.install()
    request, now_ns = task.request, time.time_ns()
    carried = _carried_by(request, task.name)
    run, node = carried.run(), _node_of(task_id, task.name)
    if getattr(request, HEADER, None) is None and carried.run_id == task_id and not request.retries:
        run.announce(params={"args": args, "kwargs": kwargs}, parent=current())
    # Of several beginnings the first stands. Who tries again says a little less than that, and speaks for the task run from now on.
    begun_ns = carried.begun_ns - request.retries if carried.begun_ns else now_ns
    _waiting.take_up(run, node)
    run.begin_task(node, begun_ns=begun_ns, worker=request.hostname or "", **_described(task.name, carried))
    carried = replace(carried, begun_ns=carried.begun_ns or now_ns, run_begun_ns=carried.run_begun_ns or now_ns)
    doing = _Doing(task_id, node, carried, run, at(Place(run, node)))
    doing.here.__enter__()
    doing.token = _doing.set(doing)


@harmlessly
def _retried(sender: Any = None, request: Any = None, reason: Any = None, **_: Any) -> None:
    run, node = _whereabouts(request, sender.name)
    most = None if sender.max_retries is None else sender.max_retries + 1
    run.retry(node, request.retries + 1, most, getattr(reason, "exc", None) or (str(reason) if reason else None))


@harmlessly
def _failed(sender: Any = None, task_id: str = "", exception: Any = None, einfo: Any = None, **_: Any) -> None:
    doing = _doing.get()
    if doing is not None and doing.task_id == task_id:
        doing.failure = exception
        doing.run.end_task(doing.node, error=exception, **_traceback_of(einfo))
        return
    request = _received.get(task_id)
    if request is not None:
        _end_for_another(request._context, sender.name, getattr(request, "time_start", None), error=exception)


@harmlessly
def _ended(task_id: str = "", task: Any = None, state: Any = None, retval: Any = None, **_: Any) -> None:
    doing = _doing.get()
    if doing is None or doing.task_id != task_id or doing.token is None:
        return
    _doing.reset(doing.token)
    doing.here.__exit__(None, None, None)
    if doing.is_again or state in ("RETRY", "REJECTED"):
        _waiting.hold(doing.run, doing.node)
        return
    if state not in _RESULTS:  # cut off: the worker that did so speaks for it
        doing.run.leave_task(doing.node)
        return
    _tell_end(doing, state, retval)
    goes_on = doing.is_followed or _doing.get() is not None or (state == "SUCCESS" and task.request.chord)
    if not goes_on:
        _end_run(doing.run, doing.carried.run_begun_ns / 1e9, error=doing.failure)


@harmlessly
def _revoked(sender: Any = None, request: Any = None, **_: Any) -> None:
    received = _received.get(request.id)
    _end_for_another(request, sender.name, getattr(received, "time_start", None), result=c.RESULT_CANCELLATION)


@harmlessly
def _process_ends(**_: Any) -> None:
    """A process of the pool ends without the interpreter's own end (billiard calls os._exit)."""
    bridge.shutdown()


_RESULTS = {"SUCCESS": c.RESULT_SUCCESS, "FAILURE": c.RESULT_FAILURE, "IGNORED": c.RESULT_SKIP}


def _tell_end(doing: _Doing, state: str, retval: Any) -> None:
    """A failure was told when it happened, unless Celery itself failed."""
    if doing.failure is not None:
        return
    doing.failure = retval if isinstance(retval, BaseException) and state == "FAILURE" else None
    doing.run.end_task(doing.node, error=doing.failure, result=_RESULTS[state])


def _end_for_another(request: Any, task: str, begun_s: float | None, *, error: Any = None, result: str = "") -> None:
    """End a task run whose process cannot, and its run."""
    carried = _carried_by(request, task)
    run, node = carried.run(), _node_of(request.id, task)
    duration = {"duration_ms": (time.time() - begun_s) * 1e3} if begun_s else {}
    run.end_task(node, error=error, result=result, **_described(task, carried), **duration)
    _end_run(run, carried.run_begun_ns / 1e9 or begun_s, error=error, result=result if carried.run_id == request.id else "")


def _end_run(run: Run, begun_s: float | None, *, error: Any = None, result: str = "") -> None:
    duration = {"duration_ms": (time.time() - begun_s) * 1e3} if begun_s else {}
    run.end(error=error, result=result, **duration)


# --- names -----------------------------------------------------------------------------------------------------------------------------


def _whereabouts(request: Any, task: str) -> tuple[Run, str]:
    """Return the run and node of a request: those of this context, if it works on it."""
    doing = _doing.get()
    if doing is not None and doing.task_id == request.id:
        return doing.run, doing.node
    return _carried_by(request, task).run(), _node_of(request.id, task)


def _carried_by(request: Any, task: str) -> _Carried:
    """Return what a request's message carried. One called in the middle of a task (`apply()`) came in none, and goes on with the task's run."""
    stated, doing = getattr(request, HEADER, None), _doing.get()
    if isinstance(stated, str):
        try:
            return _Carried(**json.loads(stated))
        except (ValueError, TypeError):  # somebody else's header, or a later version's
            pass
    elif doing is not None and request.is_eager:
        return _part_of(doing)
    return _unfollowed({"id": request.id, "root_id": request.root_id, "group": request.group}, task)


def _node_of(task_id: str, task: str) -> str:
    """Return the same node in every process: the task, and as much of its id as tells it from the others of its run."""
    is_uuid = len(task_id) == UUID_CHARS and task_id.count("-") == 4
    return f"{_short(task)}:{task_id[:8] if is_uuid else task_id}"


def _described(task: str, carried: _Carried) -> dict[str, Any]:
    return {"task": _short(task), "task_key": task, **({"upstream": [carried.upstream]} if carried.upstream else {})}


def _short(task: str) -> str:
    return task.rpartition(".")[2]


def _traceback_of(einfo: Any) -> dict[str, str]:
    text = getattr(einfo, "traceback", None)
    return {"traceback": str(text)} if text else {}
