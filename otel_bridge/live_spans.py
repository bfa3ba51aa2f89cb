"""The spans of a program's own providers: which beginnings are told and when, and which run and task each is in. Used by the mapper alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from weakref import ReferenceType, ref

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context

from otel_bridge import conventions as c
from otel_bridge.encoding import Encoder
from otel_bridge.live import Begun, Ended, Pace
from otel_bridge.places import Place
from otel_bridge.recorder import Records
from otel_bridge.worth import Worth

# A program has one resource, or a few; who makes one for each request is not followed that far.
MOST_RESOURCES = 100
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


class LiveSpans:
    """Holds a beginning until its span is old enough, and forgets it if the span ends before."""

    def __init__(self, encoder: Encoder, instance_id: str) -> None:
        """instance_id: the process whose signs of life speak for these spans."""
        self._encoder = encoder
        self._instance = Resource({c.SERVICE_INSTANCE_ID: instance_id})
        self._open: dict[SpanKey, _Open] = {}
        self._queues: dict[Pace, _Queue] = {}
        self._records: dict[int, tuple[Resource, Records]] = {}

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
        if ended.is_told:
            self._encoder.add_span(_placed(ended.span, known.place if known else None), Worth.SPAN)

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
        attributes: dict[str, Any] = {
            **_names_of(known.place),
            **_attributes_of(span),
            c.SPAN_NAME: span.name,
            c.SPAN_START_NS: span.start_time,
        }
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
            if len(self._records) >= MOST_RESOURCES:
                self._records.clear()
            # The resource is kept too, so that its id stays its own.
            known = self._records[id(resource)] = (resource, Records(resource.merge(self._instance)))
        return known[1]


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


def _placed(span: ReadableSpan, place: Place | None) -> ReadableSpan:
    """Return a copy that says which run and task it is in. The span itself stays as the program made it: others export it too."""
    if place is None:
        return span
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={**place.names(), **(span.attributes or {})},
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
