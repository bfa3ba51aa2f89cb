"""A run as this process tells of it, and where in which run the code of this context is. Everything here only enqueues; nothing raises.

Decorators, event buses and integrations all tell through Run; what each event means is lifecycle.py.
"""

from __future__ import annotations

import itertools
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otel_bridge import bridge
from otel_bridge import conventions as c
from otel_bridge.environment import run_metadata
from otel_bridge.facts import harmless, short_key
from otel_bridge.identity import run_key, run_span_id, task_span_id
from otel_bridge.json_text import cut, describe, json_text
from otel_bridge.worth import Worth

if TYPE_CHECKING:
    from otel_bridge.mapper import Tools

# About what an event holds in memory beside its texts: a dict of ten short values.
EVENT_BYTES = 600
# A message or traceback longer than this is a file, not a line.
MOST_MESSAGE_CHARS = 16_000

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
        self._lock = threading.RLock()

    @property
    def key(self) -> bytes:
        """Return the run's key: its trace id."""
        return run_key(short_key(harmless(self.name.source)), short_key(harmless(self.name.run_id)), self.name.generation)

    def begin(self, *, params: Any = None, tags: Sequence[str] = (), parent: Place | None = None, **more: Any) -> None:
        """Tell that it has begun. parent: where it was started."""
        said: dict[str, Any] = {"metadata": json_text({**run_metadata(), **more.pop("metadata", {})}), **more}
        if params is not None:
            said["params"] = json_text(params)
        if tags:
            said["tags"] = sorted(tags) if isinstance(tags, (set, frozenset)) else list(tags)
        if parent is not None:
            said |= {"parent_run_id": parent.run.name.run_id, "parent_node": parent.node, "traceparent": parent.traceparent()}
        self._tell("flow_started", Worth.START, said, len(said["metadata"]) + len(said.get("params", "")))

    def announce_later(self, tasks: Callable[[], Iterable[Fields]]) -> None:
        """Tell of task runs that will come; what they are is asked in a thread of the bridge, because there may be thousands."""
        bridge.put(Worth.START, EVENT_BYTES, _Announcement(self, tasks))

    def events_of(self, tasks: Iterable[Fields]) -> Iterator[dict[str, Any]]:
        """Yield an event for each of these task runs that will come."""
        now_ns = time.time_ns()
        return ({"event": "task_announced", "ts": now_ns, **self._fields, **task} for task in tasks)

    def new_node(self, task: str) -> str:
        """Return a name for the next task run of this task: unique in the run, whichever process makes it."""
        with self._lock:
            numbers = self._numbers.setdefault(task, itertools.count(1))
        return f"{task}:{self.name.prefix}{next(numbers)}"

    def begin_task(self, node: str, task: str, *, parent_node: str = "", **more: Any) -> None:
        """Tell that a task run has begun. more: task_key, tags, priority, run_in, upstream, description."""
        names: dict[str, Any] = {"task": task, "node": node}
        names |= {key: more.pop(key) for key in ("task_key",) if more.get(key)}
        if parent_node:
            names["parent_node"] = parent_node
        open_task = self._open[node] = _OpenTask(names, time.time_ns())
        self._tell("task_started", Worth.START, {**names, **more, "ts": open_task.begun_ns})

    def retry(self, node: str, attempt: int, most: int | None = None, error: BaseException | str | None = None) -> None:
        """Tell that an attempt of a task run failed and another follows. attempt: of the failed one, from 1."""
        said = {**self._names_of(node), "attempt": attempt, **_error_fields(error)}
        self._tell("task_retry", Worth.START, said if most is None else {**said, "max": most})

    def end_task(self, node: str, *, error: BaseException | str | None = None, result: str = "", **more: Any) -> None:
        """Tell that a task run has ended. result: one of conventions.RESULTS; without one, its error decides."""
        now_ns = time.time_ns()
        with self._lock:
            names = self._names_of(node)
            begun = self._open.pop(node, None)
        result = result or (c.RESULT_FAILURE if error is not None else c.RESULT_SUCCESS)
        said = {**names, **_error_fields(error), "ts": now_ns, **more}
        if begun is not None:
            said["duration_ms"] = (now_ns - begun.begun_ns) / 1e6
        if result == c.RESULT_TIMEOUT:
            said["result"] = result
        self._tell(_TASK_ENDS.get(result, "task_err"), Worth.END, said)

    def log(self, message: str, level: str | int = "INFO", node: str = "", payload: Any = None, time_ns: int = 0) -> None:
        """Tell a log line of the run, or of a task run."""
        message = cut(message, MOST_MESSAGE_CHARS)
        said: dict[str, Any] = {"message": message, "level": level, **(self._names_of(node) if node else {})}
        if payload is not None:
            said["payload"] = json_text(payload)
        if time_ns:
            said["ts"] = time_ns
        self._tell("task_log", Worth.LINE, said, len(message) + len(said.get("payload", "")))

    def end(self, *, error: BaseException | str | None = None, result: str = "", **more: Any) -> None:
        """Tell that it is over, and that whatever is open in it was cancelled. Without error and result its tasks say how it went."""
        if self.is_over:
            return
        with self._lock:
            left = list(self._open)
        for node in left:
            self.end_task(node, result=c.RESULT_CANCELLATION)
        self.is_over = True
        result = result or (c.RESULT_FAILURE if error is not None else "")
        said = {**_error_fields(error), **more, **({"result": result} if result else {})}
        self._tell("flow_completed", Worth.END, said)

    def task_of(self, node: str) -> str:
        """Return the task that an open node is a run of, empty if it is not open."""
        known = self._open.get(node)
        return str(known.names["task"]) if known else ""

    def _names_of(self, node: str) -> Fields:
        known = self._open.get(node)
        return known.names if known is not None else {"node": node}

    def _tell(self, event: str, worth: Worth, said: Fields, size: int = 0) -> None:
        bridge.put(worth, EVENT_BYTES + size, {"event": event, "ts": time.time_ns(), **self._fields, **said})


@dataclass(frozen=True, slots=True)
class _Announcement:
    run: Run
    tasks: Callable[[], Iterable[Fields]]

    def tell(self, tools: Tools) -> None:
        for event in self.run.events_of(self.tasks()):
            tools.record(event)


_TASK_ENDS = {
    c.RESULT_SUCCESS: "task_ok",
    c.RESULT_FAILURE: "task_err",
    c.RESULT_CANCELLATION: "task_cancelled",
    c.RESULT_SKIP: "task_skipped",
}


def _error_fields(error: BaseException | str | None) -> Fields:
    if error is None:
        return {}
    if isinstance(error, str):
        return {"error": cut(error, MOST_MESSAGE_CHARS)}
    return {"error": describe(error), "traceback": traceback_of(error)}


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an error as text, cut; empty if it cannot be written."""
    try:
        return cut("".join(traceback.format_exception(type(error), error, error.__traceback__)), MOST_MESSAGE_CHARS)
    except Exception:  # noqa: BLE001  # somebody else's __str__
        return ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where code runs: in a run, and in a node of it, empty for the run itself."""

    run: Run
    node: str = ""

    def traceparent(self) -> str:
        """Return the span of this place as W3C Trace Context writes it."""
        key = self.run.key
        span_id = task_span_id(key, short_key(harmless(self.node))) if self.node else run_span_id(key)
        return f"00-{key.hex()}-{span_id.hex()}-01"

    def names(self) -> Fields:
        """Return the attributes that make a span a part of this task run."""
        name = self.run.name
        stated: dict[str, Any] = {c.PIPELINE_RUN_ID: name.run_id, c.SOURCE: name.source, c.ROLE: c.ROLE_PART}
        if name.generation:
            stated[c.GENERATION] = name.generation
        if self.node:
            stated[c.NODE] = self.node
        return stated


_place: ContextVar[Place | None] = ContextVar("flowspan_place", default=None)


def current() -> Place | None:
    """Return where this context is, None outside of any run. A thread that outlives its run is in none."""
    place = _place.get()
    return place if place is not None and not place.run.is_over else None


def enter(place: Place) -> None:
    """Be there from now on, in this context: for event buses, whose callbacks run in the context of what they tell of."""
    _place.set(place)


@contextmanager
def at(place: Place | None) -> Iterator[None]:
    """Be there within the block."""
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)
