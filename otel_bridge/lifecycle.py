"""A flow event's payload becomes facts. Pure: the bridge and the events door both use it, so both meet in the same rows.

Which events there are is the table EVENTS; what each field means stands in docs/flow_events.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from otel_bridge import conventions as c
from otel_bridge.facts import (
    RANK_STAMPED,
    RANK_TIMED,
    Fact,
    LogLine,
    SpanEnd,
    SpanEvent,
    SpanMoment,
    Work,
    harmless,
    short_key,
)
from otel_bridge.identity import run_key, run_span_id, task_span_id
from otel_bridge.timestamps import to_ns

# What an event is about. EITHER: a log line speaks of a task run where it names one, else of the run.
RUN, TASK, EITHER = "run", "task", "either"
LATEST_GENERATION = 2**31 - 1
MAX_PROBLEM_CHARS = 200


class BadEvent(ValueError):
    """This event cannot be understood; the text says which field is wrong. Sending it again does not help."""


@dataclass(slots=True)
class FlowEvent:
    """One event with its common fields read. time_ns: its own time or, with rank RANK_STAMPED, the receipt."""

    payload: Mapping[str, Any]
    about: str
    word: str
    result: str
    time_ns: int
    rank: int
    event_id: str
    work: Work = field(default_factory=Work)
    used: set[str] = field(default_factory=set)

    def text(self, *names: str) -> str:
        """Return the first of these fields that is present, as text; a field that is not text or a number is an error."""
        for name in names:
            value = self.get(name)
            if isinstance(value, (str, int, float)) and not isinstance(value, bool):
                return harmless(str(value))
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


@dataclass(frozen=True)
class _Meaning:
    about: str
    make: Callable[[FlowEvent], Fact]
    word: str = ""
    result: str = ""


def facts_of(payload: Mapping[str, Any], received_ns: int) -> list[Fact]:
    """Return what one flow event says, as facts.

    payload: the event's JSON object, names in either spelling; without `event` its kind is told by its keys. received_ns stands in for a
    missing `ts`. Raises BadEvent, with the reason, for an event that names no run or is none of ours: it must not be sent again.
    """
    name = event_name(payload)
    meaning = EVENTS.get(name)
    if meaning is None:
        raise BadEvent(f"unknown event {name[:MAX_PROBLEM_CHARS]!r}")
    try:
        return [meaning.make(_read_common(payload, meaning, received_ns))]
    except BadEvent:
        raise
    except ValueError as error:  # Python writes no integer of more than 4,300 digits
        raise BadEvent(f"a number is too long: {error}") from error


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


def _read_common(payload: Mapping[str, Any], meaning: _Meaning, received_ns: int) -> FlowEvent:
    own_ns = to_ns(payload.get("ts"))
    event = FlowEvent(
        payload=payload,
        about=meaning.about,
        word=meaning.word,
        result=meaning.result,
        time_ns=own_ns or received_ns,
        rank=RANK_TIMED if own_ns else RANK_STAMPED,
        event_id="",
        used={"event"},
    )
    if own_ns or payload.get("ts") is None:
        event.used.add("ts")
    event.event_id = event.text("event_id")
    event.work = _read_work(event)
    return event


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


def _moment(event: FlowEvent) -> SpanMoment:
    work = event.work
    return SpanMoment(
        trace_id=work.run_key,
        span_id=_span_id(work),
        kind=event.word,
        time_ns=event.time_ns,
        rank=event.rank,
        work=work,
        name=work.task_name or work.flow_name,
        parent_span_id=_parent_id(work),
        event_id=event.event_id,
        attributes=_attributes(event),
    )


def _retry(event: FlowEvent) -> SpanMoment:
    """A retry notice speaks of a task run; without a node it stays on the run, and the fold finds the node it means."""
    if not event.text("node"):
        event.work.role, event.work.node, event.work.attempt = c.ROLE_RUN, "", None
    numbers = {c.ATTEMPT: event.number("attempt"), c.ATTEMPT_MAX: event.number("max")}
    counts = {key: int(number) for key, number in numbers.items() if number is not None}
    failure = _error_attributes(event)
    moment = _moment(event)
    moment.attributes = {**failure, **moment.attributes, **counts}
    return moment


def _end(event: FlowEvent) -> SpanEnd:
    work = event.work
    exception = _error_attributes(event)
    error = exception.get(c.EXCEPTION_MESSAGE, "")
    result = event.result or _stated_result(event) or (c.RESULT_FAILURE if error else "")
    start_ns = _start_ns(event)
    status = c.STATUS_ERROR if result in _FAILED else c.STATUS_OK if result == c.RESULT_SUCCESS else c.STATUS_UNSET
    attributes = _attributes(event)
    if result:
        attributes[c.TASK_RUN_RESULT if event.about == TASK else c.PIPELINE_RESULT] = result
    return SpanEnd(
        trace_id=work.run_key,
        span_id=_span_id(work),
        end_ns=event.time_ns,
        start_ns=start_ns,
        rank=event.rank,
        work=work,
        result=result,
        parent_span_id=_parent_id(work),
        name=work.task_name or work.flow_name,
        kind=c.KIND_INTERNAL if event.about == TASK else c.KIND_SERVER,
        status_code=status,
        status_message=error,
        attributes=attributes,
        events=(SpanEvent(event.time_ns, c.EXCEPTION_EVENT, exception),) if exception else (),
    )


def _start_ns(event: FlowEvent) -> int:
    """Return the end less the duration, 0 = unknown; a duration from before the epoch is nonsense, and kept as it came."""
    since_ns = (event.number("duration_ms") or 0.0) * 1e6
    if since_ns >= event.time_ns:
        event.used.discard("duration_ms")
        return 0
    return event.time_ns - round(since_ns) if "duration_ms" in event.used else 0


_FAILED = frozenset({c.RESULT_FAILURE, c.RESULT_ERROR, c.RESULT_TIMEOUT})

# Words other engines end a run with. "completed" says only that it is over.
_RESULT_WORDS = {
    "ok": c.RESULT_SUCCESS,
    "succeeded": c.RESULT_SUCCESS,
    "failed": c.RESULT_FAILURE,
    "err": c.RESULT_FAILURE,
    "cancelled": c.RESULT_CANCELLATION,
    "canceled": c.RESULT_CANCELLATION,
    "skipped": c.RESULT_SKIP,
    "timed_out": c.RESULT_TIMEOUT,
    **{word: word for word in c.RESULTS},
}


def _stated_result(event: FlowEvent) -> str:
    for name in ("result", "status"):
        word = event.payload.get(name)
        if isinstance(word, str) and word.lower() in _RESULT_WORDS:
            event.used.add(name)
            return _RESULT_WORDS[word.lower()]
    return ""


def _error_attributes(event: FlowEvent) -> dict[str, Any]:
    error = event.get("error")
    if error is None:
        return {}
    text = harmless(str(error))
    stacktrace = event.text("traceback", "stacktrace")
    described = {c.EXCEPTION_TYPE: error_type(text), c.EXCEPTION_MESSAGE: text}
    return {**described, c.EXCEPTION_STACKTRACE: stacktrace} if stacktrace else described


def error_type(error: str) -> str:
    """Return the exception's class from its repr, or empty text: engines nest reprs, and the outermost name is the honest one."""
    name = error.partition("(")[0]
    return name if name.replace(".", "").replace("_", "").isalnum() and "(" in error else ""


def _log(event: FlowEvent) -> LogLine:
    work = event.work
    number, text = severity_of(event.get("level"))
    message = event.get("message")
    payload = event.get("payload")
    attributes = _attributes(event) | ({} if payload is None else {c.LOG_PAYLOAD: payload})
    return LogLine(
        trace_id=work.run_key,
        span_id=_span_id(work),
        time_ns=event.time_ns if event.rank == RANK_TIMED else 0,
        observed_ns=event.time_ns,
        body="" if message is None else message,
        work=work,
        severity_number=number,
        severity_text=text,
        event_name=event.word,
        event_id=event.event_id,
        attributes=attributes,
    )


def _middleware_error(event: FlowEvent) -> LogLine:
    """A middleware's failure belongs to the run: the engine names the task, never the node."""
    error = _error_attributes(event).get(c.EXCEPTION_MESSAGE, "")
    line = _log(event)
    line.severity_number, line.severity_text, line.body = _SEVERITIES["ERROR"], "ERROR", error
    return line


# OTel severity numbers (logs data model) of the words and numbers Python's logging uses.
_SEVERITIES = {"TRACE": 1, "DEBUG": 5, "INFO": 9, "NOTICE": 10, "WARN": 13, "WARNING": 13, "ERROR": 17, "CRITICAL": 21, "FATAL": 21}
_PYTHON_LEVELS = ((50, "CRITICAL"), (40, "ERROR"), (30, "WARNING"), (20, "INFO"), (10, "DEBUG"), (0, "TRACE"))


def severity_of(level: object) -> tuple[int, str]:
    """Return (OTel severity number, text) of a level given as a word or as Python's logging number; 0 for a word nobody knows."""
    if isinstance(level, bool) or level is None:
        return _SEVERITIES["INFO"], "INFO"
    if isinstance(level, (int, float)):
        word = next((word for bound, word in _PYTHON_LEVELS if level >= bound), "TRACE")
        return _SEVERITIES[word], word
    word = harmless(str(level))
    return _SEVERITIES.get(word.upper(), 0), word


def _span_id(work: Work) -> bytes:
    return task_span_id(work.run_key, work.node) if work.node else run_span_id(work.run_key)


def _parent_id(work: Work) -> bytes:
    return run_span_id(work.run_key) if work.node else b""


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
}


def _attributes(event: FlowEvent) -> dict[str, Any]:
    """Name the run and the task as the conventions do, and keep every field that nothing else reads: a re-export loses nothing."""
    work = event.work
    attributes: dict[str, Any] = {c.PIPELINE_RUN_ID: work.run_id}
    named = {c.PIPELINE_NAME: work.flow_name, c.TASK_NAME: work.task_name, c.TASK_RUN_ID: work.node, c.TASK_KEY: work.task_key}
    attributes.update({key: value for key, value in named.items() if value})
    if work.flow_key != work.flow_name:
        attributes[c.FLOW_KEY] = work.flow_key
    if work.source != c.DEFAULT_SOURCE:
        attributes[c.SOURCE] = work.source
    if work.generation:
        attributes[c.GENERATION] = work.generation
    attributes.update({key: event.get(name) for name, key in _KEPT.items() if event.payload.get(name) is not None and name not in event.used})
    description = event.get("description")
    if description is not None:
        attributes[c.TASK_DESCRIPTION if event.about == TASK else c.FLOW_DESCRIPTION] = description
    unread = event.payload.keys() - event.used
    attributes.update({c.EVENT_EXTRA + harmless(name): event.payload[name] for name in sorted(unread)})
    return attributes


EVENTS: Mapping[str, _Meaning] = {
    "flow_announced": _Meaning(RUN, _moment, c.ANNOUNCED),
    "flow_queued": _Meaning(RUN, _moment, c.QUEUED),
    "flow_started": _Meaning(RUN, _moment, c.BEGUN),
    "flow_paused": _Meaning(RUN, _moment, c.PAUSED),
    "flow_resumed": _Meaning(RUN, _moment, c.RESUMED),
    "flow_completed": _Meaning(RUN, _end),
    "flow_succeeded": _Meaning(RUN, _end, result=c.RESULT_SUCCESS),
    "flow_failed": _Meaning(RUN, _end, result=c.RESULT_FAILURE),
    "flow_cancelled": _Meaning(RUN, _end, result=c.RESULT_CANCELLATION),
    "task_announced": _Meaning(TASK, _moment, c.ANNOUNCED),
    "task_queued": _Meaning(TASK, _moment, c.QUEUED),
    "task_started": _Meaning(TASK, _moment, c.BEGUN),
    "task_paused": _Meaning(TASK, _moment, c.PAUSED),
    "task_resumed": _Meaning(TASK, _moment, c.RESUMED),
    "task_ok": _Meaning(TASK, _end, result=c.RESULT_SUCCESS),
    "task_succeeded": _Meaning(TASK, _end, result=c.RESULT_SUCCESS),
    "task_err": _Meaning(TASK, _end, result=c.RESULT_FAILURE),
    "task_failed": _Meaning(TASK, _end, result=c.RESULT_FAILURE),
    "task_cancelled": _Meaning(TASK, _end, result=c.RESULT_CANCELLATION),
    "task_skipped": _Meaning(TASK, _end, result=c.RESULT_SKIP),
    "task_retry": _Meaning(TASK, _retry, c.RETRIED),
    "task_log": _Meaning(EITHER, _log, "task_log"),
    "flow_log": _Meaning(EITHER, _log, "flow_log"),
    "middleware_error": _Meaning(RUN, _middleware_error, "middleware_error"),
}
