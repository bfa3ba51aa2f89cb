"""Finished spans for other endpoints, made by the SDK: its processors, its exporters, its limits, and every OTEL_* that it honours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, set_span_in_context

from otel_bridge import conventions as c
from otel_bridge.computed_ids import ComputedIds
from otel_bridge.facts import Resource, SpanEnd

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_STATUSES = {c.STATUS_OK: StatusCode.OK, c.STATUS_ERROR: StatusCode.ERROR}
_KINDS = {c.KIND_INTERNAL: SpanKind.INTERNAL, c.KIND_SERVER: SpanKind.SERVER}


class SdkSpans:
    """Makes a span of the SDK of each finished one. Used by one thread."""

    def __init__(self, resource: Resource, processors: Sequence[SpanProcessor]) -> None:
        """resource: who sends them. processors: take them to where they go."""
        self._ids = ComputedIds()
        self._provider = TracerProvider(resource=SdkResource.create(dict(resource.attributes)), id_generator=self._ids, shutdown_on_exit=False)
        for processor in processors:
            self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("flowspan")

    def add(self, end: SpanEnd) -> None:
        """Make a span, with the ids it has, and end it."""
        parent = (
            set_span_in_context(NonRecordingSpan(_context_of(end.trace_id, end.parent_span_id)), Context()) if end.parent_span_id else Context()
        )
        links = [Link(_context_of(link.trace_id, link.span_id)) for link in end.links]
        attributes: dict[str, Any] = dict(end.attributes)
        self._ids.next_is(end.trace_id, end.span_id)
        span = self._tracer.start_span(end.name, parent, _KINDS.get(end.kind, SpanKind.INTERNAL), attributes, links, end.start_ns)
        for event in end.events:
            span.add_event(event.name, dict(event.attributes), event.time_ns)
        if end.status_code in _STATUSES:
            span.set_status(Status(_STATUSES[end.status_code], end.status_message or None))
        span.end(end.end_ns)

    def flush(self, timeout_s: float) -> bool:
        """Have the processors send what they hold."""
        return self._provider.force_flush(round(timeout_s * 1000))

    def shutdown(self) -> None:
        """Flush and stop the processors."""
        self._provider.shutdown()


def _context_of(trace_id: bytes, span_id: bytes) -> SpanContext:
    return SpanContext(int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big"), is_remote=True, trace_flags=_SAMPLED)
