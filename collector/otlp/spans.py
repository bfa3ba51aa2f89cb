"""One span of a request becomes a fact: its end, or its beginning where the sender says that it has not ended yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.otlp.values import read_attributes
from otel_bridge import conventions as c
from otel_bridge.facts import RANK_OTLP, RANK_TIMED, Resource, Scope, SpanEnd, SpanEvent, SpanLink, SpanMoment, harmless, short_key
from otel_bridge.timestamps import LATEST_NS

TRACE_ID_BYTES = 16
SPAN_ID_BYTES = 8


class BadRecord(ValueError):
    """This span or log record cannot be stored; the text says why. Its neighbours can."""


def read_span(span: Span, resource: Resource, scope: Scope) -> SpanEnd | SpanMoment:
    """Return what a span says. Raises BadRecord for ids that are none and for times beyond what can be stored."""
    if not is_id(span.trace_id, TRACE_ID_BYTES):
        raise BadRecord("traceId must be 16 bytes, in JSON 32 hex digits, and not all zero")
    if not is_id(span.span_id, SPAN_ID_BYTES):
        raise BadRecord("spanId must be 8 bytes, in JSON 16 hex digits, and not all zero")
    if span.start_time_unix_nano > LATEST_NS or span.end_time_unix_nano > LATEST_NS:
        raise BadRecord(f"startTimeUnixNano and endTimeUnixNano must be at most {LATEST_NS} (the year 2262)")
    if span.start_time_unix_nano and not span.end_time_unix_nano:
        return _running_copy(span, resource)
    return _finished(span, resource, scope)


def _finished(span: Span, resource: Resource, scope: Scope) -> SpanEnd:
    return SpanEnd(
        trace_id=span.trace_id,
        span_id=span.span_id,
        end_ns=span.end_time_unix_nano,
        rank=RANK_OTLP,
        start_ns=span.start_time_unix_nano,
        parent_span_id=usable_id(span.parent_span_id, SPAN_ID_BYTES),
        trace_state=span.trace_state,
        flags=span.flags,
        name=span.name,
        kind=span.kind,
        status_code=span.status.code,
        status_message=span.status.message,
        attributes=read_attributes(span.attributes),
        dropped_attributes=span.dropped_attributes_count,
        events=_read_events(span.events) if span.events else (),
        dropped_events=span.dropped_events_count,
        links=tuple(read_links(span.links)) if span.links else (),
        dropped_links=span.dropped_links_count,
        resource=resource,
        scope=scope,
    )


def _running_copy(span: Span, resource: Resource) -> SpanMoment:
    """Some senders export a span when it starts, with no end: it has begun, and the copy with an end will say the rest."""
    return SpanMoment(
        trace_id=span.trace_id,
        span_id=span.span_id,
        kind=c.BEGUN,
        time_ns=span.start_time_unix_nano,
        rank=RANK_TIMED,
        name=span.name,
        parent_span_id=usable_id(span.parent_span_id, SPAN_ID_BYTES),
        start_ns=span.start_time_unix_nano,
        process=process_of(resource),
        attributes=read_attributes(span.attributes),
        resource=resource,
    )


def _read_events(events: Iterable[Span.Event]) -> Sequence[SpanEvent]:
    return [
        SpanEvent(usable_time(event.time_unix_nano), event.name, read_attributes(event.attributes), event.dropped_attributes_count)
        for event in events
    ]


def read_links(links: Iterable[Span.Link]) -> Iterator[SpanLink]:
    """A link to nowhere is left out; its span is not (trace.proto calls such a link invalid, not the span)."""
    for link in links:
        if is_id(link.trace_id, TRACE_ID_BYTES) and is_id(link.span_id, SPAN_ID_BYTES):
            attributes = read_attributes(link.attributes)
            yield SpanLink(link.trace_id, link.span_id, link.trace_state, attributes, link.dropped_attributes_count, link.flags)


def read_resource(found: resource_pb2.Resource, schema_url: str) -> Resource:
    """Return who sent an envelope."""
    refs = [
        {"schema_url": ref.schema_url, "type": ref.type, "id_keys": [*ref.id_keys], "description_keys": [*ref.description_keys]}
        for ref in found.entity_refs
    ]
    return Resource(read_attributes(found.attributes), found.dropped_attributes_count, schema_url, refs)


def read_scope(found: InstrumentationScope, schema_url: str) -> Scope:
    """Return which library made a group of records."""
    return Scope(found.name, found.version, read_attributes(found.attributes), found.dropped_attributes_count, schema_url)


def process_of(resource: Resource) -> str:
    """Return the name of the sender's process, empty if its resource has none."""
    instance = resource.attributes.get(c.SERVICE_INSTANCE_ID)
    return short_key(harmless(instance)) if isinstance(instance, str) else ""


def is_id(found: bytes, size: int) -> bool:
    """Return whether found is an id of this many bytes; all zero is none."""
    return len(found) == size and any(found)


def usable_id(found: bytes, size: int) -> bytes:
    """Return found if it is an id of this many bytes, else no id."""
    return found if is_id(found, size) else b""


def usable_time(found: int) -> int:
    """Return a time if it can be stored, else 0: unknown."""
    return found if 0 < found <= LATEST_NS else 0
