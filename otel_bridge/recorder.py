"""Facts become spans and log records of the SDK: a run a root span, a task run its child, a log line an event of it and a record."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, cast

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, set_span_in_context

from otel_bridge import conventions as c
from otel_bridge.computed_ids import ComputedIds
from otel_bridge.encoding import Encoder
from otel_bridge.facts import Fact, LogLine, SpanEnd, SpanMoment, harmless
from otel_bridge.json_text import json_text
from otel_bridge.lifecycle import links_of
from otel_bridge.worth import Worth

SCOPE = "flowspan"
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_STATUSES = {c.STATUS_UNSET: StatusCode.UNSET, c.STATUS_OK: StatusCode.OK, c.STATUS_ERROR: StatusCode.ERROR}
# Decisions of the sampler that are remembered: one a run.
MOST_DECISIONS = 10_000

SpanKey = tuple[bytes, bytes]


class Recorder:
    """Turns facts into what the SDK exports. Used by one thread: it makes the spans, whenever they were told."""

    def __init__(self, encoder: Encoder, service_name: str, others: Sequence[SpanProcessor]) -> None:
        """encoder: takes what goes to the Flowspan server. others: take finished spans, for endpoints that know no running ones."""
        self.instance_id = str(uuid.uuid4())
        self._encoder = encoder
        resource = Resource.create({c.SERVICE_NAME: service_name} if service_name else {})
        self._resource = resource.merge(Resource({c.SERVICE_INSTANCE_ID: self.instance_id}))
        self._ids = ComputedIds()
        self._spans = TracerProvider(resource=self._resource, id_generator=self._ids, shutdown_on_exit=False)
        self._spans.add_span_processor(_Finished(encoder))
        for other in others:
            self._spans.add_span_processor(other)
        self._tracer = self._spans.get_tracer(SCOPE)
        self._records = Records(self._resource)
        self._open: dict[SpanKey, Span] = {}
        self._decisions: dict[bytes, bool] = {}

    @property
    def open_spans(self) -> int:
        """Return how many spans have begun and not ended."""
        return len(self._open)

    @property
    def open_runs(self) -> set[bytes]:
        """Return the keys of the runs in which something is open."""
        return {trace_id for trace_id, _ in self._open}

    def record(self, fact: Fact) -> None:
        """Turn one fact into what is exported."""
        if isinstance(fact, SpanMoment) and self._is_sampled(fact.trace_id, fact.name):
            self._begin_or_note(fact)
        elif isinstance(fact, SpanEnd) and self._is_sampled(fact.trace_id, fact.name):
            self._end(fact)
        elif isinstance(fact, LogLine) and self._is_sampled(fact.trace_id, ""):
            self._log(fact)

    def leave(self, trace_id: bytes, span_id: bytes) -> None:
        """Forget a span that has begun here and will end in another process."""
        self._open.pop((trace_id, span_id), None)

    def beat(self, interval_s: float, *, is_last: bool = False) -> None:
        """Record a sign of life of this process, or that it ends."""
        name = c.PROCESS_EXIT if is_last else c.PROCESS_HEARTBEAT
        record = self._records.make(event_name=name, attributes={c.HEARTBEAT_INTERVAL_MS: round(interval_s * 1000)})
        self._encoder.add_record(record, Worth.START)

    def flush(self, timeout_s: float) -> bool:
        """Have the other endpoints' processors send what they hold."""
        return self._spans.force_flush(round(timeout_s * 1000))

    def shutdown(self) -> None:
        """Flush and stop the other endpoints' processors."""
        self._spans.shutdown()

    def _begin_or_note(self, moment: SpanMoment) -> None:
        attributes = plain_attributes(moment.attributes)
        key = (moment.trace_id, moment.span_id)
        if moment.kind == c.BEGUN and key not in self._open:
            self._open[key] = self._start(moment, attributes, moment.time_ns)
        elif moment.kind != c.BEGUN and key in self._open:
            self._open[key].add_event(c.SPAN_EVENT_PREFIX + moment.kind, _beyond_names(attributes), moment.time_ns)
        said = {**attributes, c.SPAN_NAME: moment.name}
        if moment.kind == c.RETRIED and moment.work.role == c.ROLE_RUN:
            said[c.ROLE] = c.ROLE_RUN
        if moment.parent_span_id:
            said[c.SPAN_PARENT_ID] = moment.parent_span_id.hex()
        if moment.kind == c.BEGUN:
            said[c.SPAN_START_NS] = moment.time_ns
        event_name = c.SPAN_EVENT_PREFIX + moment.kind
        record = self._records.make(timestamp=moment.time_ns, context=_inside(*key), event_name=event_name, attributes=said)
        self._encoder.add_record(record, Worth.START)

    def _start(self, fact: SpanMoment | SpanEnd, attributes: Mapping[str, Any], start_ns: int) -> Span:
        parent = _inside(fact.trace_id, fact.parent_span_id) if fact.parent_span_id else Context()
        links = [Link(_context_of(link.trace_id, link.span_id)) for link in links_of(fact.attributes)]
        kind = SpanKind.INTERNAL if fact.work.node else SpanKind.SERVER
        self._ids.next_is(fact.trace_id, fact.span_id)
        return self._tracer.start_span(fact.name, parent, kind, attributes, links, start_ns)

    def _end(self, end: SpanEnd) -> None:
        attributes = plain_attributes(end.attributes)
        span = self._open.pop((end.trace_id, end.span_id), None) or self._start(end, attributes, end.start_ns or end.end_ns)
        span.set_attributes(attributes)
        for link in end.links:
            if _context_of(link.trace_id, link.span_id) not in [known.context for known in getattr(span, "links", ())]:
                span.add_link(_context_of(link.trace_id, link.span_id))
        for event in end.events:
            span.add_event(event.name, plain_attributes(event.attributes), event.time_ns)
            if event.name == c.EXCEPTION_EVENT and event.attributes.get(c.EXCEPTION_TYPE):
                span.set_attribute(c.ERROR_TYPE, str(event.attributes[c.EXCEPTION_TYPE]))
        if end.status_code != c.STATUS_UNSET:
            failed = end.status_code == c.STATUS_ERROR
            span.set_status(Status(_STATUSES[end.status_code], end.status_message if failed else None))
        span.end(end.end_ns)
        if not end.work.node:
            self._forget_rest(end.trace_id)

    def _forget_rest(self, trace_id: bytes) -> None:
        """A run that is over has nothing open: what seems so has lost its end on the way. Else this process would speak for it for ever."""
        for key in [key for key in self._open if key[0] == trace_id]:
            del self._open[key]

    def _log(self, line: LogLine) -> None:
        attributes = plain_attributes(line.attributes)
        body = harmless(line.body if isinstance(line.body, str) else json_text(line.body))
        record = self._records.make(
            timestamp=line.time_ns,
            context=_inside(line.trace_id, line.span_id),
            severity_number=SeverityNumber(line.severity_number),
            severity_text=line.severity_text,
            body=body,
            event_name=line.event_name,
            attributes=attributes,
        )
        self._encoder.add_record(record, Worth.LINE)
        span = self._open.get((line.trace_id, line.span_id))
        if span is not None:
            span.add_event(c.LOG_EVENT, {"message": body, "level": line.severity_text}, line.time_ns)

    def _is_sampled(self, trace_id: bytes, name: str) -> bool:
        """Ask the sampler that OTEL_TRACES_SAMPLER names, once a trace: a run is told whole or not at all."""
        known = self._decisions.get(trace_id)
        if known is None:
            if len(self._decisions) >= MOST_DECISIONS:
                self._decisions.clear()
            decision = self._spans.sampler.should_sample(None, int.from_bytes(trace_id, "big"), name).decision
            known = self._decisions[trace_id] = decision is not Decision.DROP
        return known


class Records:
    """Makes log records as exporters get them. The SDK's own way, whatever shape that has in its version."""

    def __init__(self, resource: Resource) -> None:
        """resource: who sends them."""
        self._taken = _Taken()
        provider = LoggerProvider(resource, shutdown_on_exit=False)
        provider.add_log_record_processor(SimpleLogRecordProcessor(cast(Any, self._taken)))
        self._logger = provider.get_logger(SCOPE)

    def make(self, **said: Any) -> Any:
        """Return a record that says this; the names are those of `Logger.emit`."""
        self._logger.emit(**said)
        return self._taken.last


class _Taken:
    """An exporter that keeps the last record."""

    def __init__(self) -> None:
        self.last: Any = None

    def export(self, batch: Sequence[Any]) -> None:
        self.last = batch[0]

    def shutdown(self) -> None:
        """Nothing is held."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


class _Finished(SpanProcessor):
    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def on_end(self, span: ReadableSpan) -> None:
        self._encoder.add_span(span, Worth.END)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held here. The SDK's own answer is None in some of its versions, which then reads as a failure."""
        return True


def plain_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as every version of the SDK takes them on spans: text, numbers, lists of text; anything else as JSON text."""
    return {key: _plain(value) for key, value in attributes.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, (bool, float)) or (isinstance(value, int) and -(2**63) <= value < 2**63):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return [harmless(item) for item in value]
    return harmless(json_text(value))


def _beyond_names(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if not key.startswith("cicd.pipeline.")}


def _inside(trace_id: bytes, span_id: bytes) -> Context:
    return set_span_in_context(NonRecordingSpan(_context_of(trace_id, span_id)), Context())


def _context_of(trace_id: bytes, span_id: bytes) -> SpanContext:
    return SpanContext(int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big"), is_remote=True, trace_flags=_SAMPLED)
