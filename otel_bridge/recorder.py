"""Facts become finished spans and log records: a run a root span, a task run its child, a log line an event of it and a record."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otel_bridge import conventions as c
from otel_bridge.encoding import Encoder
from otel_bridge.facts import Fact, LogLine, Resource, Scope, SpanEnd, SpanEvent, SpanLink, SpanMoment, harmless
from otel_bridge.json_text import json_text
from otel_bridge.lifecycle import links_of
from otel_bridge.sampling import Sampling
from otel_bridge.worth import Worth

if TYPE_CHECKING:  # the SDK: 150 ms of import, for other endpoints only
    from otel_bridge.sdk_spans import SdkSpans

# Of a finished span the last so many events are kept, as by the SDK, if OTEL_SPAN_EVENT_COUNT_LIMIT states no other number; its log lines are
# records as well.
MOST_EVENTS = 128
# W3C Trace Context, trace-flags: sampled.
_SAMPLED = 0x1

SpanKey = tuple[bytes, bytes]


@dataclass(slots=True)
class _Open:
    """A span that has begun: what its end does not say again."""

    name: str
    start_ns: int
    parent_span_id: bytes
    attributes: Mapping[str, Any]
    events: deque[SpanEvent]
    dropped_events: int = 0

    def note(self, name: str, attributes: Mapping[str, Any], time_ns: int) -> None:
        """Keep an event; when there are too many, the oldest goes."""
        self.dropped_events += len(self.events) == self.events.maxlen
        self.events.append(SpanEvent(time_ns, name, attributes))


class Recorder:
    """Turns facts into what is sent. Used by one thread: it holds what has begun, whoever told it."""

    def __init__(self, encoder: Encoder, resource: Resource, others: SdkSpans | None = None) -> None:
        """encoder: takes what goes to the Flowspan server. resource: who sends it. others: takes finished spans, for other endpoints."""
        self._encoder = encoder
        self._resource = resource
        self._scope = Scope("flowspan")
        self._others = others
        self._sampling = Sampling()
        self._most_events = _most_events()
        self._open: dict[SpanKey, _Open] = {}

    @property
    def open_spans(self) -> int:
        """Return how many spans have begun and not ended."""
        return len(self._open)

    @property
    def open_runs(self) -> set[bytes]:
        """Return the keys of the runs in which something is open."""
        return {trace_id for trace_id, _ in self._open}

    def record(self, fact: Fact) -> None:
        """Turn one fact into what is sent. It is the recorder's from now on: it becomes what it was still missing."""
        if isinstance(fact, SpanMoment) and self._sampling.has(fact.trace_id, fact.name):
            self._begin_or_note(fact)
        elif isinstance(fact, SpanEnd) and self._sampling.has(fact.trace_id, fact.name):
            self._end(fact)
        elif isinstance(fact, LogLine) and self._sampling.has(fact.trace_id, ""):
            self._log(fact)

    def leave(self, trace_id: bytes, span_id: bytes) -> None:
        """Forget a span that has begun here and will end in another process."""
        self._open.pop((trace_id, span_id), None)

    def beat(self, interval_s: float, *, is_last: bool = False) -> None:
        """Record a sign of life of this process, or that it ends."""
        name = c.PROCESS_EXIT if is_last else c.PROCESS_HEARTBEAT
        attributes = {c.HEARTBEAT_INTERVAL_MS: round(interval_s * 1000)}
        self._add_record(LogLine(b"", b"", 0, None, event_name=name, attributes=attributes), Worth.START)

    def flush(self, timeout_s: float) -> bool:
        """Have the other endpoints' processors send what they hold."""
        return self._others is None or self._others.flush(timeout_s)

    def shutdown(self) -> None:
        """Flush and stop the other endpoints' processors."""
        if self._others is not None:
            self._others.shutdown()

    def _begin_or_note(self, moment: SpanMoment) -> None:
        attributes = plain_attributes(moment.attributes)
        key = (moment.trace_id, moment.span_id)
        known = self._open.get(key)
        if moment.kind != c.BEGUN and known is not None:
            known.note(c.SPAN_EVENT_PREFIX + moment.kind, _beyond_names(attributes), moment.time_ns)
        said = {**attributes, c.SPAN_NAME: moment.name}
        if moment.kind == c.RETRIED and moment.work.role == c.ROLE_RUN:
            said[c.ROLE] = c.ROLE_RUN
        if moment.parent_span_id:
            said[c.SPAN_PARENT_ID] = moment.parent_span_id.hex()
        if moment.kind == c.BEGUN:
            said[c.SPAN_START_NS] = moment.time_ns
        record = LogLine(*key, moment.time_ns, None, event_name=c.SPAN_EVENT_PREFIX + moment.kind, flags=_SAMPLED, attributes=said)
        self._add_record(record, Worth.START)
        if moment.kind == c.BEGUN and known is None:
            self._open[key] = _Open(moment.name, moment.time_ns, moment.parent_span_id, attributes, deque(maxlen=self._most_events))

    def _end(self, end: SpanEnd) -> None:
        known = self._open.pop((end.trace_id, end.span_id), None)
        begun = known or _Open(end.name, end.start_ns or end.end_ns, end.parent_span_id, {}, deque(maxlen=self._most_events))
        attributes = {**begun.attributes, **plain_attributes(end.attributes)}
        for event in end.events:
            begun.note(event.name, plain_attributes(event.attributes), event.time_ns)
            if event.name == c.EXCEPTION_EVENT and event.attributes.get(c.EXCEPTION_TYPE):
                attributes[c.ERROR_TYPE] = harmless(str(event.attributes[c.EXCEPTION_TYPE]))
        end.start_ns, end.parent_span_id, end.name = begun.start_ns, begun.parent_span_id, begun.name
        end.status_message = harmless(end.status_message) if end.status_code == c.STATUS_ERROR else ""
        end.attributes, end.links = attributes, _links(begun.attributes, end)
        end.events, end.dropped_events = begun.events, begun.dropped_events
        end.flags, end.resource, end.scope = _SAMPLED, self._resource, self._scope
        if not end.work.node:
            self._forget_rest(end.trace_id)
        self._encoder.add_span(end, Worth.END)
        if self._others is not None:
            self._others.add(end)

    def _forget_rest(self, trace_id: bytes) -> None:
        """A run that is over has nothing open: what seems so has lost its end on the way. Else this process would speak for it for ever."""
        for key in [key for key in self._open if key[0] == trace_id]:
            del self._open[key]

    def _log(self, line: LogLine) -> None:
        body = harmless(line.body if isinstance(line.body, str) else json_text(line.body))
        line.body, line.flags, line.attributes = body, _SAMPLED, plain_attributes(line.attributes)
        self._add_record(line, Worth.LINE)
        span = self._open.get((line.trace_id, line.span_id))
        if span is not None:
            span.note(c.LOG_EVENT, {"message": body, "level": line.severity_text}, line.time_ns)

    def _add_record(self, record: LogLine, worth: Worth) -> None:
        record.observed_ns, record.resource, record.scope = time.time_ns(), self._resource, self._scope
        self._encoder.add_record(record, worth)


def _most_events() -> int:
    stated = os.environ.get("OTEL_SPAN_EVENT_COUNT_LIMIT", "").strip()
    return int(stated) if stated.isdecimal() else MOST_EVENTS


def plain_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as every version of the SDK takes them on spans: text, numbers, lists of text; anything else as JSON text."""
    return {key: harmless(value) if isinstance(value, str) else _plain(value) for key, value in attributes.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, (bool, float)) or (isinstance(value, int) and -(2**63) <= value < 2**63):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return [harmless(item) for item in value]
    return harmless(json_text(value))


def _beyond_names(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if not key.startswith("cicd.pipeline.")}


def _links(begun: Mapping[str, Any], end: SpanEnd) -> tuple[SpanLink, ...]:
    """Return where the span was started under, whether its beginning or its end says so."""
    stated = links_of(begun)
    return stated + tuple(link for link in end.links if link not in stated)
