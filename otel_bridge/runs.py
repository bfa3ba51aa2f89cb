"""A run as this process tells of it. Everything here only enqueues; nothing raises.

Decorators, event buses and integrations all tell through Run; what each event means is lifecycle.py.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from otel_bridge import bridge
from otel_bridge import conventions as c
from otel_bridge.environment import metadata_text, run_metadata
from otel_bridge.facts import harmless, short_key
from otel_bridge.failures import MOST_MESSAGE_CHARS, error_fields
from otel_bridge.identity import run_key, task_span_id
from otel_bridge.json_text import cut, json_text
from otel_bridge.places import Place, current_span
from otel_bridge.worth import Worth

if TYPE_CHECKING:
    from otel_bridge.mapper import Tools

# About what an event holds in memory beside its texts: a dict of ten short values.
EVENT_BYTES = 600
# How often a task run's progress is told: as often as somebody looks.
PROGRESS_EVERY_S = 1.0

Fields = Mapping[str, Any]


@dataclass(slots=True)
class _OpenTask:
    """A task run that has begun: what names it in every event, and when it began."""

    names: dict[str, Any]
    begun_ns: int


@dataclass(frozen=True, slots=True)
class RunName:
    """Which run, in words that can be sent to another process. source: who issues run ids; prefix: of the numbers of nodes made here."""

    run_id: str
    flow: str
    flow_key: str = ""
    source: str = c.DEFAULT_SOURCE
    generation: int = 0
    prefix: str = ""

    def fields(self) -> dict[str, Any]:
        """Return what every event of this run carries."""
        stated: dict[str, Any] = {"run_id": self.run_id, "flow": self.flow}
        if self.flow_key:
            stated["flow_key"] = self.flow_key
        if self.source != c.DEFAULT_SOURCE:
            stated["source"] = self.source
        if self.generation:
            stated["generation"] = self.generation
        return stated


class Run:
    """One execution, told from this process. Other processes may tell of the same run: nobody needs to have seen its start."""

    def __init__(self, name: RunName) -> None:
        """Tell nothing yet."""
        self.name = name
        self.is_over = False
        self._fields = name.fields()
        self._numbers: dict[str, Iterator[int]] = {}
        self._open: dict[str, _OpenTask] = {}
        self._begun_ns = 0
        self._next_progress_s: dict[str, float] = {}
        # No lock: each step is one call of a dict or a counter, and a fork would leave a lock that nobody holds.
        self._pid = os.getpid()

    @property
    def run_id(self) -> str:
        """Return what it is called in its pages' addresses."""
        return self.name.run_id

    @property
    def key(self) -> bytes:
        """Return the run's key: its trace id."""
        return run_key(short_key(harmless(self.name.source)), short_key(harmless(self.name.run_id)), self.name.generation)

    def begin(self, *, params: Any = None, tags: Collection[str] = (), parent: Place | None = None, **more: Any) -> None:
        """Tell that it has begun. parent: where it was started. From the first run on, pools and threads carry where they are called from."""
        from otel_bridge import carrying

        carrying.install()
        if "ts" not in more:
            more["ts"] = self._begun_ns = time.time_ns()
        self._tell_moment("flow_started", {**more, "params": params, "tags": tags, "parent": parent})

    def announce(self, **said: Any) -> None:
        """Tell that it will come. said: as `begin` takes it."""
        self._tell_moment("flow_announced", said)

    def queue(self, **said: Any) -> None:
        """Tell that it waits for a worker. said: as `begin` takes it, params, tags and parent among them."""
        self._tell_moment("flow_queued", said)

    def _tell_moment(self, event: str, more: Mapping[str, Any]) -> None:
        said = {key: value for key, value in more.items() if key not in ("params", "tags", "parent", "metadata")}
        said |= _started_under(more.get("parent"))
        stated, tags = more.get("metadata"), more.get("tags")
        said["metadata"] = json_text({**run_metadata(), **_named(stated)}) if stated else metadata_text()
        if more.get("params") is not None:
            said["params"] = json_text(more["params"])
        if tags:
            said["tags"] = sorted(tags) if isinstance(tags, (set, frozenset)) else list(tags)
        self._tell(event, Worth.START, said, len(said["metadata"]) + len(said.get("params", "")))

    def announce_later(self, tasks: Callable[[], Iterable[Fields]]) -> None:
        """Tell of task runs that will come; what they are is asked in a thread of the bridge, because there may be thousands."""
        bridge.put(Worth.START, EVENT_BYTES, _Announcement(self, tasks))

    def events_of(self, tasks: Iterable[Fields]) -> Iterator[dict[str, Any]]:
        """Yield an event for each of these task runs that will come."""
        now_ns = time.time_ns()
        return ({"event": "task_announced", "ts": now_ns, **self._fields, **task} for task in tasks)

    def new_node(self, task: str) -> str:
        """Return a name for the next task run of this task: unique in the run, whichever process makes it."""
        return f"{task}:{self._number(task)}"

    def name_elsewhere(self) -> RunName:
        """Return this run's name for one other process: nodes made there are told apart by their numbers, like load:3.1."""
        return replace(self.name, prefix=f"{self._number('')}.")

    def _number(self, task: str) -> str:
        if os.getpid() != self._pid:
            self._number_anew()
        numbers = self._numbers.get(task) or self._numbers.setdefault(task, itertools.count(1))
        return f"{self.name.prefix}{next(numbers)}"

    def _number_anew(self) -> None:
        """Tell nodes made in a forked process from those its parent makes meanwhile."""
        self._pid = os.getpid()
        self.name = replace(self.name, prefix=f"{self.name.prefix}p{self._pid}.")
        self._numbers = {}

    def queue_task(self, node: str, task: str, **more: Any) -> None:
        """Tell that a task run waits for a worker. more: as of `begin_task`."""
        self._tell("task_queued", Worth.START, {"node": node, "task": task, **more})

    def begin_task(self, node: str, task: str, *, parent_node: str = "", begun_ns: int = 0, **more: Any) -> None:
        """Tell that a task run has begun. more: task_key, tags, priority, run_in, upstream, description. begun_ns: when, if not now."""
        names: dict[str, Any] = {"task": task, "node": node}
        names |= {key: more.pop(key) for key in ("task_key",) if more.get(key)}
        if parent_node:
            names["parent_node"] = parent_node
        open_task = self._open[node] = _OpenTask(names, begun_ns or time.time_ns())
        self._tell("task_started", Worth.START, {**names, **more, "ts": open_task.begun_ns})

    def retry(self, node: str, attempt: int, most: int | None = None, error: BaseException | str | None = None) -> None:
        """Tell that an attempt of a task run failed and another follows. attempt: of the failed one, from 1."""
        said = {**self._names_of(node), "attempt": attempt, **error_fields(error)}
        self._tell("task_retry", Worth.START, said if most is None else {**said, "max": most})

    def leave_task(self, node: str) -> None:
        """Leave a task run to another process, that will begin it again: this one no longer speaks for it."""
        if self._open.pop(node, None) is not None:
            bridge.put(Worth.START, EVENT_BYTES, _Left(self.key, task_span_id(self.key, short_key(harmless(node)))))

    def end_task(self, node: str, *, error: BaseException | str | None = None, result: str = "", **more: Any) -> None:
        """Tell that a task run has ended. result: one of conventions.RESULTS; without one, its error decides."""
        now_ns = time.time_ns()
        names = self._names_of(node)
        begun = self._open.pop(node, None)
        self._next_progress_s.pop(node, None)
        result = result or (c.RESULT_FAILURE if error is not None else c.RESULT_SUCCESS)
        said = {**names, **error_fields(error), "ts": now_ns, **more}
        if begun is not None:
            said["duration_ms"] = (now_ns - begun.begun_ns) / 1e6
        if result == c.RESULT_TIMEOUT:
            said["result"] = result
        self._tell(_TASK_ENDS.get(result, "task_err"), Worth.END, said)

    def log(self, message: str, level: str | int = "INFO", node: str = "", payload: Any = None, **more: Any) -> None:
        """Tell a log line of the run, or of a task run. more: ts, in ns, if it is not of now; whatever else is kept beside it."""
        message = cut(message, MOST_MESSAGE_CHARS)
        said: dict[str, Any] = {"message": message, "level": level, **(self._names_of(node) if node else {}), **more}
        if payload is not None:
            said["payload"] = json_text(payload)
        self._tell("task_log", Worth.LINE, said, len(message) + len(said.get("payload", "")))

    def progress(self, done: float, total: float, node: str = "") -> None:
        """Tell a line like "3 of 10", at most one in PROGRESS_EVERY_S of a task run, but always the last."""
        now_s = time.monotonic()
        if done != total and now_s < self._next_progress_s.get(node, 0.0):
            return
        self._next_progress_s[node] = now_s + PROGRESS_EVERY_S
        self.log(f"{done} of {total}", node=node, payload={"done": done, "total": total})

    def end(self, *, error: BaseException | str | None = None, result: str = "", **more: Any) -> None:
        """Tell that it is over, and that whatever is open in it was cancelled. Without error and result its tasks say how it went."""
        if self.is_over:
            return
        for node, open_task in list(self._open.items()):
            self.end_task(node, result=c.RESULT_CANCELLATION)
            self._open[node] = open_task  # a thread may outlive its run; the end it comes to then is the one that counts
        self.is_over = True
        result = result or (c.RESULT_FAILURE if error is not None else "")
        now_ns = time.time_ns()
        said = {**error_fields(error), "ts": now_ns, **self._duration(now_ns), **more, **({"result": result} if result else {})}
        self._tell("flow_completed", Worth.END, said)

    def _duration(self, now_ns: int) -> Fields:
        """Nobody may have heard of its start: it was dropped, or heard by a bridge that is no more, in the process this was forked from."""
        return {"duration_ms": (now_ns - self._begun_ns) / 1e6} if self._begun_ns else {}

    def tell(self, event: str, said: Fields, node: str = "") -> None:
        """Tell a moment as it is, by its name in lifecycle.EVENTS: one that changes nothing of what this process knows of the run."""
        self._tell(event, Worth.START, {**said, **(self._names_of(node) if node else {})})

    def task_of(self, node: str) -> str:
        """Return the task that an open node is a run of, empty if it is not open."""
        known = self._open.get(node)
        return str(known.names["task"]) if known else ""

    def _names_of(self, node: str) -> Fields:
        known = self._open.get(node)
        return known.names if known is not None else {"node": node}

    def _tell(self, event: str, worth: Worth, said: Fields, size: int = 0) -> None:
        if "error" in said:  # with its traceback it is up to fifty times the rest
            size += sum(len(said[name]) for name in ("error", "traceback") if isinstance(said.get(name), str))
        bridge.put(worth, EVENT_BYTES + size, {"event": event, "ts": time.time_ns(), **self._fields, **said})


def _named(metadata: Any) -> Mapping[str, Any]:
    return metadata if isinstance(metadata, Mapping) else {"metadata": metadata}


def _started_under(parent: Place | None) -> dict[str, str]:
    """Return which task run a run was started in; else which span of the program's own."""
    if parent is not None:
        return {"parent_run_id": parent.run.run_id, "parent_node": parent.node, "traceparent": parent.traceparent()}
    span = current_span()
    return {"traceparent": span} if span else {}


@dataclass(frozen=True, slots=True)
class _Announcement:
    run: Run
    tasks: Callable[[], Iterable[Fields]]

    def tell(self, tools: Tools) -> None:
        for event in self.run.events_of(self.tasks()):
            tools.record(event)


@dataclass(frozen=True, slots=True)
class _Left:
    trace_id: bytes
    span_id: bytes

    def tell(self, tools: Tools) -> None:
        tools.recorder.leave(self.trace_id, self.span_id)


_TASK_ENDS = {
    c.RESULT_SUCCESS: "task_ok",
    c.RESULT_FAILURE: "task_err",
    c.RESULT_CANCELLATION: "task_cancelled",
    c.RESULT_SKIP: "task_skipped",
}
