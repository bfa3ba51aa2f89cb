"""The spans of a program's own providers: which beginnings are told and when, and which run and task each is in. Used by the mapper alone."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any, cast

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context

from otel_bridge import conventions as c
from otel_bridge.encoding import Encoder
from otel_bridge.live import Begun, Ended
from otel_bridge.recorder import Records
from otel_bridge.worth import Worth

SpanKey = tuple[int, int]


class LiveSpans:
    """Holds a beginning until its span is old enough, and forgets it if the span ends before."""

    def __init__(self, encoder: Encoder, instance_id: str) -> None:
        """instance_id: the process whose signs of life speak for these spans."""
        self._encoder = encoder
        self._instance = Resource({c.SERVICE_INSTANCE_ID: instance_id})
        self._open: dict[SpanKey, Begun] = {}
        self._untold: deque[SpanKey] = deque()
        self._records: dict[int, tuple[Resource, Records]] = {}
        # A token bucket: how many beginnings may be told now.
        self._tokens = 0.0
        self._counted_s = 0.0

    @property
    def open_spans(self) -> int:
        """Return how many spans have begun and not ended."""
        return len(self._open)

    def begin(self, begun: Begun) -> None:
        """Take a span that has begun. One that nobody sampled is left out."""
        context = begun.span.context
        if context is None or not context.trace_flags.sampled:
            return
        key = (context.trace_id, context.span_id)
        self._open[key] = begun
        self._untold.append(key)

    def end(self, ended: Ended) -> None:
        """Take a finished span."""
        context = ended.span.context
        begun = self._open.pop((context.trace_id, context.span_id), None) if context else None
        if ended.is_told:
            self._encoder.add_span(_placed(ended.span, begun), Worth.SPAN)

    def next_due_s(self) -> float | None:
        """Return when, on the monotonic clock, the next beginning may be told; None if none waits."""
        while self._untold and self._untold[0] not in self._open:
            self._untold.popleft()
        if not self._untold:
            return None
        begun = self._open[self._untold[0]]
        waits_s = 0.0 if self._may_tell(begun, time.monotonic()) else 1.0 / begun.pace.most_a_second
        return begun.at_s + begun.pace.min_age_s + waits_s

    def tell_due(self, now_s: float) -> None:
        """Tell the beginnings of spans that are old enough, as fast as is allowed."""
        while self._untold:
            begun = self._open.get(self._untold[0])
            if begun is not None:
                if begun.at_s + begun.pace.min_age_s > now_s or not self._may_tell(begun, now_s):
                    return
                self._tokens -= 1
                self._tell(begun)
            self._untold.popleft()

    def _may_tell(self, begun: Begun, now_s: float) -> bool:
        most = begun.pace.most_a_second
        if not most:
            return True
        self._tokens = min(self._tokens + (now_s - self._counted_s) * most, most)
        self._counted_s = now_s
        return self._tokens >= 1

    def _tell(self, begun: Begun) -> None:
        span = begun.span
        attributes: dict[str, Any] = {**_names_of(begun), **(span.attributes or {}), c.SPAN_NAME: span.name, c.SPAN_START_NS: span.start_time}
        if span.parent is not None:
            attributes[c.SPAN_PARENT_ID] = f"{span.parent.span_id:016x}"
        record = self._records_of(span.resource).make(
            timestamp=span.start_time,
            context=set_span_in_context(NonRecordingSpan(cast(SpanContext, span.context))),
            event_name=c.SPAN_EVENT_PREFIX + c.BEGUN,
            attributes=attributes,
        )
        self._encoder.add_record(record, Worth.START)

    def _records_of(self, resource: Resource) -> Records:
        """Records are sent in the name of the span's own resource, and of the process that gives the signs of life."""
        known = self._records.get(id(resource))
        if known is None:
            # The resource is kept too, so that its id stays its own.
            known = self._records[id(resource)] = (resource, Records(resource.merge(self._instance)))
        return known[1]


def _names_of(begun: Begun) -> Mapping[str, Any]:
    """Return what makes a span part of the task run it began in."""
    return begun.place.names() if begun.place is not None else {}


def _placed(span: ReadableSpan, begun: Begun | None) -> ReadableSpan:
    """Return a copy that says which run and task it is in. The span itself stays as the program made it: others export it too."""
    names = _names_of(begun) if begun is not None else {}
    if not names:
        return span
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={**names, **(span.attributes or {})},
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
