"""A flow event's payload becomes facts. Pure: the bridge and the events door both use it, so both meet in the same rows.

Which events there are is the table EVENTS; what each field means stands in docs/flow_events.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from otel_bridge import conventions as c
from otel_bridge.facts import RANK_TIMED, Fact, LogLine, SpanEnd, SpanEvent, SpanLink, SpanMoment, Work, harmless, short_key
from otel_bridge.flow_event import EITHER, RUN, TASK, BadEvent, FlowEvent, attributes_of, event_name, name_attributes, read_event
from otel_bridge.identity import run_span_id, task_span_id

MAX_PROBLEM_CHARS = 200


@dataclass(frozen=True)
class _Meaning:
    """What an event of one name says. word: the moment's kind, or the log record's event name; result: of an end that names one."""

    about: str
    make: Callable[[FlowEvent, _Meaning], Fact]
    word: str = ""
    result: str = ""

    @property
    def kind(self) -> tuple[str, str]:
        """Return what all spellings of it have in common; to end is one kind, however it ended: its word is empty."""
        return self.about, self.word


def facts_of(payload: Mapping[str, Any], received_ns: int) -> list[Fact]:
    """Return what one flow event says, as facts.

    payload: the event's JSON object, names in either spelling; without `event` its kind is told by its keys. received_ns stands in for a
    missing `ts`. Raises BadEvent, with the reason, for an event that names no run or is none of ours: it must not be sent again.
    """
    meaning = meaning_of(event_name(payload))
    try:
        return [meaning.make(read_event(payload, meaning.about, received_ns), meaning)]
    except BadEvent:
        raise
    except ValueError as error:  # Python writes no integer of more than 4,300 digits
        raise BadEvent(f"a number is too long: {error}") from error


def meaning_of(name: str) -> _Meaning:
    """Return what events of this name say. Raises BadEvent for a name that is none of ours."""
    meaning = EVENTS.get(name)
    if meaning is None:
        raise BadEvent(f"unknown event {name[:MAX_PROBLEM_CHARS]!r}")
    return meaning


def _moment(event: FlowEvent, meaning: _Meaning) -> SpanMoment:
    work = event.work
    return SpanMoment(
        trace_id=work.run_key,
        span_id=_span_id(work),
        kind=meaning.word,
        time_ns=event.time_ns,
        rank=event.rank,
        work=work,
        name=work.task_name or work.flow_name,
        parent_span_id=_parent_id(event),
        event_id=event.event_id,
        attributes=attributes_of(event),
    )


def _retry(event: FlowEvent, meaning: _Meaning) -> SpanMoment:
    """A retry notice speaks of a task run; without a node it stays on the run, and the fold finds the node it means."""
    if not event.text("node"):
        event.work = replace(event.work, role=c.ROLE_RUN, node="", attempt=None)
        event.names = name_attributes(event.work)
    numbers = {c.ATTEMPT: event.number("attempt"), c.ATTEMPT_MAX: event.number("max")}
    counts = {key: int(number) for key, number in numbers.items() if number is not None}
    failure = _error_attributes(event)
    moment = _moment(event, meaning)
    moment.attributes = {**failure, **moment.attributes, **counts}
    return moment


def _end(event: FlowEvent, meaning: _Meaning) -> SpanEnd:
    work = event.work
    exception = _error_attributes(event)
    error = exception.get(c.EXCEPTION_MESSAGE, "")
    result, field = stated_result(meaning, event.payload)
    if field:
        event.used.add(field)
    result = result or (c.RESULT_FAILURE if error else "")
    start_ns = _start_ns(event)
    status = c.STATUS_ERROR if result in _FAILED else c.STATUS_OK if result == c.RESULT_SUCCESS else c.STATUS_UNSET
    attributes = attributes_of(event)
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
        parent_span_id=_parent_id(event),
        name=work.task_name or work.flow_name,
        kind=c.KIND_INTERNAL if event.about == TASK else c.KIND_SERVER,
        status_code=status,
        status_message=error,
        attributes=attributes,
        events=(SpanEvent(event.time_ns, c.EXCEPTION_EVENT, exception),) if exception else (),
        links=links_of(attributes),
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


def stated_result(meaning: _Meaning, payload: Mapping[str, Any]) -> tuple[str, str]:
    """Return (result, field that says it) of an end: no field where the name says it, no result where nothing does.

    An event that says failed may say beside it that the time was over.
    """
    if meaning.result:
        is_timeout = meaning.result == c.RESULT_FAILURE and payload.get("result") == c.RESULT_TIMEOUT
        return (c.RESULT_TIMEOUT, "result") if is_timeout else (meaning.result, "")
    for name in ("result", "status"):
        word = payload.get(name)
        if isinstance(word, str) and word.lower() in _RESULT_WORDS:
            return _RESULT_WORDS[word.lower()], name
    return "", ""


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


def _log(event: FlowEvent, meaning: _Meaning) -> LogLine:
    work = event.work
    number, text = severity_of(event.get("level"))
    message = event.get("message")
    payload = event.get("payload")
    attributes = attributes_of(event) | ({} if payload is None else {c.LOG_PAYLOAD: payload})
    return LogLine(
        trace_id=work.run_key,
        span_id=_span_id(work),
        time_ns=event.time_ns if event.rank == RANK_TIMED else 0,
        observed_ns=event.time_ns,
        body="" if message is None else message,
        work=work,
        severity_number=number,
        severity_text=text,
        event_name=meaning.word,
        event_id=event.event_id,
        attributes=attributes,
    )


def _middleware_error(event: FlowEvent, meaning: _Meaning) -> LogLine:
    """A middleware's failure belongs to the run: the engine names the task, never the node."""
    error = _error_attributes(event).get(c.EXCEPTION_MESSAGE, "")
    line = _log(event, meaning)
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


def _parent_id(event: FlowEvent) -> bytes:
    """Return the span a span is under: the task run that a task run was started in, else the run; of a run, none."""
    work, parent = event.work, event.payload.get("parent_node")
    if not work.node:
        return b""
    if isinstance(parent, str) and parent and short_key(harmless(parent)) != work.node:
        return task_span_id(work.run_key, short_key(harmless(parent)))
    return run_span_id(work.run_key)


# version "00", trace id, span id, flags (W3C Trace Context, 3.2).
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def links_of(attributes: Mapping[str, Any]) -> tuple[SpanLink, ...]:
    """Return the link to the span that a run was started under; none if it names none, or in a form nobody knows."""
    stated = attributes.get(c.TRACEPARENT)
    match = _TRACEPARENT.fullmatch(stated) if isinstance(stated, str) else None
    if match is None:
        return ()
    trace_id, span_id, flags = map(bytes.fromhex, match.groups())
    return (SpanLink(trace_id, span_id, flags=flags[0]),) if any(trace_id) and any(span_id) else ()


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
