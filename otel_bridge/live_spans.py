"""The spans of a program's own providers: which beginnings are told and when, and which run and task each is in. Used by the mapper alone."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from weakref import ReferenceType, ref

from otel_bridge import conventions as c
from otel_bridge.encoding import Encoder
from otel_bridge.facts import LogLine, Resource, Scope
from otel_bridge.places import Place
from otel_bridge.readable_spans import ids_of, scope_of, span_end
from otel_bridge.span_news import Begun, Ended, Pace
from otel_bridge.worth import Worth

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource as SdkResource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext

# A program has one resource, or a few, and a scope for each library; who makes one for each request is not followed that far.
MOST_RESOURCES = 100
MOST_SCOPES = 1_000
# How often a span is asked for attributes that its own thread is just changing.
TRIES = 3

SpanKey = tuple[int, int]


@dataclass(slots=True)
class _Open:
    """A span that has begun. It is the program's: one that nobody holds any more will not end. is_suspect: its end may have been dropped."""

    span: ReferenceType[ReadableSpan]
    place: Place | None
    is_suspect: bool = False


@dataclass(slots=True)
class _Queue:
    """Beginnings of one pace that have not been told, the oldest first; and a token bucket: how many may be told now."""

    untold: deque[tuple[float, SpanKey]] = field(default_factory=deque)
    tokens: float = 0.0
    counted_s: float = 0.0

    def may_tell(self, pace: Pace, now_s: float) -> bool:
        if not pace.most_a_second:
            return True
        self.tokens = min(self.tokens + (now_s - self.counted_s) * pace.most_a_second, max(pace.most_a_second, 1.0))
        self.counted_s = now_s
        return self.tokens >= 1


@dataclass(frozen=True, slots=True)
class _Sender:
    """A resource of the program, and as facts. of_beginnings names the process that gives the signs of life."""

    known: SdkResource  # kept, so that its id stays its own
    of_spans: Resource
    of_beginnings: Resource


class LiveSpans:
    """Holds a beginning until its span is old enough, and forgets it if the span ends before."""

    def __init__(self, encoder: Encoder, instance_id: str) -> None:
        """instance_id: the process whose signs of life speak for these spans."""
        self._encoder = encoder
        self._instance_id = instance_id
        self._open: dict[SpanKey, _Open] = {}
        self._queues: dict[Pace, _Queue] = {}
        self._resources: dict[int, _Sender] = {}
        self._scopes: dict[InstrumentationScope | None, Scope] = {}
        self._beginnings = Scope("flowspan")

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
        self._open[key] = _Open(ref(begun.span), begun.place)
        self._queues.setdefault(begun.pace, _Queue()).untold.append((begun.at_s, key))

    def end(self, ended: Ended) -> None:
        """Take a finished span."""
        context = ended.span.context
        known = self._open.pop((context.trace_id, context.span_id), None) if context else None
        if ended.is_told and context:
            names = _names_of(known.place if known else None)
            span = span_end(ended.span, context, names, self._sender_of(ended.span).of_spans, self._scope_of(ended.span))
            self._encoder.add_span(span, Worth.SPAN)

    def forget_lost(self) -> None:
        """Forget spans that are over and whose end did not come here: nobody holds them, or a full queue dropped it.

        Asked now and then: a span is over a moment before its end is told, so it must be so twice.
        """
        for key, known in list(self._open.items()):
            span = known.span()
            if span is None or span.end_time is not None:
                if known.is_suspect:
                    del self._open[key]
                known.is_suspect = True

    def next_due_s(self, now_s: float) -> float | None:
        """Return when, on the monotonic clock, the next beginning may be told; None if none waits."""
        due = [self._due_s(pace, queue, now_s) for pace, queue in self._queues.items() if self._next_of(queue) is not None]
        return min(due, default=None)

    def tell_due(self, now_s: float) -> None:
        """Tell the beginnings of spans that are old enough, as fast as is allowed."""
        for pace, queue in self._queues.items():
            while (next_s := self._next_of(queue)) is not None and next_s + pace.min_age_s <= now_s and queue.may_tell(pace, now_s):
                queue.tokens -= 1
                self._tell(self._open[queue.untold.popleft()[1]])

    def _next_of(self, queue: _Queue) -> float | None:
        """Return when the first span began that waits here and is still open; None if there is none."""
        while queue.untold and queue.untold[0][1] not in self._open:
            queue.untold.popleft()
        return queue.untold[0][0] if queue.untold else None

    def _due_s(self, pace: Pace, queue: _Queue, now_s: float) -> float:
        of_age_s = queue.untold[0][0] + pace.min_age_s
        if queue.may_tell(pace, now_s):
            return of_age_s
        return max(of_age_s, now_s + (1 - queue.tokens) / pace.most_a_second)

    def _tell(self, known: _Open) -> None:
        span = known.span()
        if span is None:
            return
        context = cast("SpanContext", span.context)
        attributes: dict[str, Any] = {
            **_names_of(known.place),
            **_attributes_of(span),
            c.SPAN_NAME: span.name,
            c.SPAN_START_NS: span.start_time,
        }
        if span.parent is not None:
            attributes[c.SPAN_PARENT_ID] = f"{span.parent.span_id:016x}"
        record = LogLine(
            *ids_of(context),
            span.start_time or 0,
            None,
            observed_ns=time.time_ns(),
            event_name=c.SPAN_EVENT_PREFIX + c.BEGUN,
            flags=int(context.trace_flags),
            attributes=attributes,
            resource=self._sender_of(span).of_beginnings,
            scope=self._beginnings,
        )
        self._encoder.add_record(record, Worth.START)

    def _sender_of(self, span: ReadableSpan) -> _Sender:
        known = self._resources.get(id(span.resource))
        if known is None:
            if len(self._resources) >= MOST_RESOURCES:
                self._resources.clear()
            attributes, schema_url = span.resource.attributes, span.resource.schema_url
            living = Resource({**attributes, c.SERVICE_INSTANCE_ID: self._instance_id}, schema_url=schema_url)
            known = self._resources[id(span.resource)] = _Sender(span.resource, Resource(attributes, schema_url=schema_url), living)
        return known

    def _scope_of(self, span: ReadableSpan) -> Scope:
        known = self._scopes.get(span.instrumentation_scope)
        if known is None:
            if len(self._scopes) >= MOST_SCOPES:
                self._scopes.clear()
            known = self._scopes[span.instrumentation_scope] = scope_of(span.instrumentation_scope)
        return known


def _attributes_of(span: ReadableSpan) -> Mapping[str, Any]:
    """Return a span's attributes, though its own thread may be changing them: the SDK locks them against writers only."""
    for _ in range(TRIES):
        try:
            return dict(span.attributes or {})
        except (KeyError, RuntimeError):
            continue
    return {}


def _names_of(place: Place | None) -> Mapping[str, Any]:
    """Return what makes a span part of the task run it began in."""
    return place.names() if place is not None else {}
