"""One flow event, read: its name, time, run and task run, and the attributes it leaves. What it means is lifecycle.py. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from otel_bridge import conventions as c
from otel_bridge.facts import RANK_STAMPED, RANK_TIMED, Attributes, Work, harmless, short_key
from otel_bridge.identity import run_key
from otel_bridge.timestamps import to_ns

# What an event is about. EITHER: a log line speaks of a task run where it names one, else of the run.
RUN, TASK, EITHER = "run", "task", "either"
LATEST_GENERATION = 2**31 - 1


class BadEvent(ValueError):
    """This event cannot be understood; the text says which field is wrong. Sending it again does not help."""


@dataclass(slots=True)
class FlowEvent:
    """One event with its common fields read.

    about: RUN, TASK or EITHER. time_ns: its own time or, with rank RANK_STAMPED, the receipt. work, names: which run and task run, as facts
    and as attributes; shared between events, never changed. used: the fields somebody has read.
    """

    payload: Mapping[str, Any]
    about: str
    time_ns: int
    rank: int
    event_id: str
    work: Work = field(default_factory=Work)
    names: Attributes = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def text(self, *names: str) -> str:
        """Return the first of these fields that is present, as text; a field that is not text or a number is an error."""
        for name in names:
            self.used.add(name)
            value = self.payload.get(name)
            if isinstance(value, str):
                return harmless(value)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return str(value)
            if value is not None:
                raise BadEvent(f"{name} must be text")
        return ""

    def get(self, name: str) -> Any:
        """Return a field and remember that it was read, so that what nobody read can be kept beside it."""
        self.used.add(name)
        return self.payload.get(name)

    def number(self, name: str) -> float | None:
        """Return a field as a finite number of at least 0, else None: then it is kept as it came."""
        value = self.payload.get(name)
        try:
            number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else -1.0
        except (ValueError, OverflowError):
            return None
        if not math.isfinite(number) or number < 0:
            return None
        self.used.add(name)
        return number


def event_name(payload: Mapping[str, Any]) -> str:
    """Return which event this is: its own word, or what its keys tell (auto-workflow's bus passes no name to its subscribers)."""
    stated = payload.get("event")
    if isinstance(stated, str):
        return harmless(stated)
    if stated is not None:
        raise BadEvent("event must be text")
    for keys, name in _TOLD_BY_KEYS:
        if keys <= payload.keys():
            return name
    raise BadEvent("event is missing")


# From the most to the least telling; what auto-workflow 0.1.2 sends to a subscriber of each name.
_TOLD_BY_KEYS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"task", "middleware_index", "error"}), "middleware_error"),
    (frozenset({"task", "attempt", "max"}), "task_retry"),
    (frozenset({"task", "duration_ms"}), "task_ok"),
    (frozenset({"task", "error"}), "task_err"),
    (frozenset({"message", "level"}), "task_log"),
    (frozenset({"task", "node"}), "task_started"),
    (frozenset({"flow", "run_id", "tasks"}), "flow_completed"),
    (frozenset({"flow", "run_id"}), "flow_started"),
)


def read_event(payload: Mapping[str, Any], about: str, received_ns: int) -> FlowEvent:
    """Read what every event has: its time, its name, its run and, by what it is about, its task run. Raises BadEvent."""
    own_ns = to_ns(payload.get("ts"))
    event = FlowEvent(
        payload=payload,
        about=about,
        time_ns=own_ns or received_ns,
        rank=RANK_TIMED if own_ns else RANK_STAMPED,
        event_id="",
        used={"event"},
    )
    if own_ns or payload.get("ts") is None:
        event.used.add("ts")
    event.event_id = event.text("event_id")
    names = _names_of(payload, about)
    event.work, event.names = names.work, names.attributes
    event.used |= names.used
    return event


@dataclass(frozen=True, slots=True)
class _Names:
    """What names the run and the task run of an event: the same for all events of a task run, which share it. used: the fields that say it."""

    work: Work
    attributes: Mapping[str, Any]
    used: frozenset[str]


# The fields that may name a run or a task run.
_NAMING = ("run_id", "source", "generation", "flow", "flow_name", "flow_key", "task", "task_name", "node", "task_key")
# Reading them is two thirds of what an event costs. More than so many characters of them are not remembered: at most 2 MB, 6 of four-byte text.
MOST_REMEMBERED = 1024
MOST_REMEMBERED_CHARS = 400


def _names_of(payload: Mapping[str, Any], about: str) -> _Names:
    values = [payload.get(name) for name in _NAMING]
    chars = 0
    for value in values:
        if value is not None:
            if type(value) is not str:  # 1 and True are one key of a cache
                return _read_names(about, *values)
            chars += len(value)
    return _remembered_names(about, *values) if chars <= MOST_REMEMBERED_CHARS else _read_names(about, *values)


def _read_names(about: str, *values: Any) -> _Names:
    event = FlowEvent(payload=dict(zip(_NAMING, values, strict=True)), about=about, time_ns=0, rank=RANK_STAMPED, event_id="")
    work = _read_work(event)
    return _Names(work, name_attributes(work), frozenset(event.used))


_remembered_names = lru_cache(MOST_REMEMBERED)(_read_names)


def _read_work(event: FlowEvent) -> Work:
    run_id = event.text("run_id")
    if not run_id:
        raise BadEvent("run_id is missing: without it nobody knows which run this event belongs to")
    run_id = short_key(run_id)
    source = short_key(event.text("source") or c.DEFAULT_SOURCE)
    generation = int(event.number("generation") or 0)
    if generation > LATEST_GENERATION:
        raise BadEvent("generation is out of range")
    flow_name = event.text("flow", "flow_name")
    work = Work(
        source=source,
        run_id=run_id,
        generation=generation,
        run_key=run_key(source, run_id, generation),
        flow_key=short_key(event.text("flow_key") or flow_name),
        flow_name=flow_name,
        role=c.ROLE_RUN,
        dialect="flow_events",
    )
    return work if event.about == RUN else _read_task(event, work)


def _read_task(event: FlowEvent, work: Work) -> Work:
    task_name = event.text("task", "task_name")
    node = event.text("node") or task_name
    if not node and event.about == EITHER:
        return work
    if not node:
        raise BadEvent("task and node are missing: one of them must say which task run this is")
    work.task_name = task_name or node.rpartition(":")[0] or node
    work.task_key = short_key(event.text("task_key") or work.task_name)
    work.node = short_key(node)
    work.attempt = 0
    work.role = c.ROLE_TASK
    return work


def name_attributes(work: Work) -> dict[str, Any]:
    """Return what names a run and a task run, as the conventions do."""
    attributes: dict[str, Any] = {c.PIPELINE_RUN_ID: work.run_id}
    named = {c.PIPELINE_NAME: work.flow_name, c.TASK_NAME: work.task_name, c.TASK_RUN_ID: work.node, c.TASK_KEY: work.task_key}
    attributes |= {key: value for key, value in named.items() if value}
    if work.flow_key != work.flow_name:
        attributes[c.FLOW_KEY] = work.flow_key
    if work.source != c.DEFAULT_SOURCE:
        attributes[c.SOURCE] = work.source
    if work.generation:
        attributes[c.GENERATION] = work.generation
    return attributes


# Payload field -> attribute, for what is kept as it came.
_KEPT = {
    "flow_id": c.FLOW_ID,
    "params": c.PARAMS,
    "metadata": c.METADATA,
    "tags": c.TAGS,
    "priority": c.PRIORITY,
    "run_in": c.RUN_IN,
    "upstream": c.UPSTREAM,
    "attempt": c.ATTEMPTS,
    "tasks": c.TASKS_DECLARED,
    "parent_run_id": c.PARENT_RUN_ID,
    "parent_node": c.PARENT_NODE,
    "traceparent": c.TRACEPARENT,
}


def attributes_of(event: FlowEvent) -> dict[str, Any]:
    """Return what names the run and the task, and every field that nothing else reads: a re-export loses nothing."""
    attributes = dict(event.names)
    description = event.get("description")
    if description is not None:
        attributes[c.TASK_DESCRIPTION if event.about == TASK else c.FLOW_DESCRIPTION] = description
    for name in sorted(event.payload.keys() - event.used):
        value = event.payload[name]
        kept = _KEPT.get(name) if value is not None else None
        attributes[kept or c.EVENT_EXTRA + harmless(name)] = value
    return attributes
