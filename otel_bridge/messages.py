"""Facts as OTLP messages: a finished span, a log record, and the request that carries them, as bytes. Pure.

Field numbers are those of opentelemetry-proto 1.9 (trace.proto, logs.proto, common.proto, resource.proto). Traces and logs have like envelopes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import Struct
from typing import NamedTuple

from otel_bridge.facts import LogLine, Resource, Scope, SpanEnd, SpanEvent, SpanLink
from otel_bridge.protobuf import any_value, attribute_fields, field, number_field, text_field

# A tag and a number of fixed size, twice: the two times that spans and log records have.
_TIMES = Struct("<BQBQ").pack
_TIME = Struct("<BQ").pack
_FLAGS = Struct("<BI").pack
_SPAN_FLAGS = Struct("<HI").pack


class Message(NamedTuple):
    """A span or log record, encoded, and the fields that its resource and its scope are in the envelope."""

    resource: bytes
    scope: bytes
    content: bytes


def span_message(span: SpanEnd) -> bytes:
    """Return a finished span. Raises struct.error for times and flags that are out of range."""
    status = text_field(b"\x12", span.status_message) + number_field(b"\x18", span.status_code)
    parts = [
        field(b"\x0a", span.trace_id),
        field(b"\x12", span.span_id),
        text_field(b"\x1a", span.trace_state),
        field(b"\x22", span.parent_span_id) if span.parent_span_id else b"",
        text_field(b"\x2a", span.name),
        number_field(b"\x30", span.kind),
        _TIMES(0x39, span.start_ns, 0x41, span.end_ns),
        attribute_fields(b"\x4a", span.attributes),
        number_field(b"\x50", span.dropped_attributes),
        *[field(b"\x5a", _event(event)) for event in span.events],
        number_field(b"\x60", span.dropped_events),
        *[field(b"\x6a", _link(link)) for link in span.links],
        number_field(b"\x70", span.dropped_links),
        field(b"\x7a", status),
        _SPAN_FLAGS(0x0185, span.flags),
    ]
    return b"".join(parts)


def record_message(line: LogLine) -> bytes:
    """Return a log record. Raises struct.error for times and flags that are out of range."""
    body = any_value(line.body)
    parts = [
        _TIMES(0x09, line.time_ns, 0x59, line.observed_ns),
        number_field(b"\x10", line.severity_number),
        text_field(b"\x1a", line.severity_text),
        field(b"\x2a", body) if body else b"",
        attribute_fields(b"\x32", line.attributes),
        number_field(b"\x38", line.dropped_attributes),
        _FLAGS(0x45, line.flags),
        field(b"\x4a", line.trace_id) if line.trace_id else b"",
        field(b"\x52", line.span_id) if line.span_id else b"",
        text_field(b"\x62", line.event_name),
    ]
    return b"".join(parts)


def resource_fields(resource: Resource) -> bytes:
    """Return a resource and its schema as fields of their envelope."""
    content = attribute_fields(b"\x0a", resource.attributes) + number_field(b"\x10", resource.dropped_attributes)
    return field(b"\x0a", content) + text_field(b"\x1a", resource.schema_url)


def scope_fields(scope: Scope) -> bytes:
    """Return a scope and its schema as fields of their envelope."""
    names = text_field(b"\x0a", scope.name) + text_field(b"\x12", scope.version)
    content = names + attribute_fields(b"\x1a", scope.attributes) + number_field(b"\x20", scope.dropped_attributes)
    return field(b"\x0a", content) + text_field(b"\x1a", scope.schema_url)


def request(messages: Iterable[Message]) -> bytes:
    """Return one request with these messages, all spans or all log records, in their order within each scope of each resource."""
    resources: dict[bytes, dict[bytes, list[bytes]]] = {}
    for resource, scope, content in messages:
        resources.setdefault(resource, {}).setdefault(scope, []).append(field(b"\x12", content))
    return b"".join([field(b"\x0a", resource + _groups(scopes)) for resource, scopes in resources.items()])


def _groups(scopes: Mapping[bytes, list[bytes]]) -> bytes:
    return b"".join([field(b"\x12", scope + b"".join(fields)) for scope, fields in scopes.items()])


def _event(event: SpanEvent) -> bytes:
    names = _TIME(0x09, event.time_ns) + text_field(b"\x12", event.name)
    return names + attribute_fields(b"\x1a", event.attributes) + number_field(b"\x20", event.dropped_attributes)


def _link(link: SpanLink) -> bytes:
    ids = field(b"\x0a", link.trace_id) + field(b"\x12", link.span_id) + text_field(b"\x1a", link.trace_state)
    said = attribute_fields(b"\x22", link.attributes) + number_field(b"\x28", link.dropped_attributes)
    return ids + said + _FLAGS(0x35, link.flags)
