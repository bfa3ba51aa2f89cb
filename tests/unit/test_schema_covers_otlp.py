"""Every field of the OTLP messages we take has a column, or stands here with the reason why it has none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.model import LogRow, ResourceRow, ScopeRow, SpanRow
from collector.verdict import Decoded
from tests.otlp_bodies import full_logs, full_traces, logs, traces

# Message.field -> the column that keeps it.
COLUMNS = {
    "Span.trace_id": "SpanRow.trace_id",
    "Span.span_id": "SpanRow.span_id",
    "Span.trace_state": "SpanRow.trace_state",
    "Span.parent_span_id": "SpanRow.parent_span_id",
    "Span.flags": "SpanRow.flags",
    "Span.name": "SpanRow.name",
    "Span.kind": "SpanRow.kind",
    "Span.start_time_unix_nano": "SpanRow.start_ns",
    "Span.end_time_unix_nano": "SpanRow.end_ns",
    "Span.attributes": "SpanRow.attributes",
    "Span.dropped_attributes_count": "SpanRow.dropped_attributes",
    "Span.events": "SpanRow.events",
    "Span.dropped_events_count": "SpanRow.dropped_events",
    "Span.links": "SpanRow.links",
    "Span.dropped_links_count": "SpanRow.dropped_links",
    "Span.status": "SpanRow.status_code",
    "Span.Event.time_unix_nano": "SpanRow.events",
    "Span.Event.name": "SpanRow.events",
    "Span.Event.attributes": "SpanRow.events",
    "Span.Event.dropped_attributes_count": "SpanRow.events",
    "Span.Link.trace_id": "SpanRow.links",
    "Span.Link.span_id": "SpanRow.links",
    "Span.Link.trace_state": "SpanRow.links",
    "Span.Link.attributes": "SpanRow.links",
    "Span.Link.dropped_attributes_count": "SpanRow.links",
    "Span.Link.flags": "SpanRow.links",
    "Status.message": "SpanRow.status_message",
    "Status.code": "SpanRow.status_code",
    "LogRecord.time_unix_nano": "LogRow.own_time_ns",
    "LogRecord.observed_time_unix_nano": "LogRow.observed_ns",
    "LogRecord.severity_number": "LogRow.severity_number",
    "LogRecord.severity_text": "LogRow.severity_text",
    "LogRecord.body": "LogRow.body",
    "LogRecord.attributes": "LogRow.attributes",
    "LogRecord.dropped_attributes_count": "LogRow.dropped_attributes",
    "LogRecord.flags": "LogRow.flags",
    "LogRecord.trace_id": "LogRow.trace_id",
    "LogRecord.span_id": "LogRow.span_id",
    "LogRecord.event_name": "LogRow.event_name",
    "ResourceSpans.schema_url": "ResourceRow.schema_url",
    "ResourceLogs.schema_url": "ResourceRow.schema_url",
    "ScopeSpans.schema_url": "ScopeRow.schema_url",
    "ScopeLogs.schema_url": "ScopeRow.schema_url",
    "Resource.attributes": "ResourceRow.attributes",
    "Resource.dropped_attributes_count": "ResourceRow.dropped_attributes",
    "Resource.entity_refs": "ResourceRow.entity_refs",
    "EntityRef.schema_url": "ResourceRow.entity_refs",
    "EntityRef.type": "ResourceRow.entity_refs",
    "EntityRef.id_keys": "ResourceRow.entity_refs",
    "EntityRef.description_keys": "ResourceRow.entity_refs",
    "InstrumentationScope.name": "ScopeRow.name",
    "InstrumentationScope.version": "ScopeRow.version",
    "InstrumentationScope.attributes": "ScopeRow.attributes",
    "InstrumentationScope.dropped_attributes_count": "ScopeRow.dropped_attributes",
}

_ENVELOPE = "an envelope: each record's row points to its resource and scope"
_VALUE = "part of an attribute's JSON text; test_every_kind_of_value_keeps_its_type"
_PROFILES = "profiles only: elsewhere to be treated as absent (common.proto)"

LEFT_OUT = {
    "ExportTraceServiceRequest.resource_spans": _ENVELOPE,
    "ResourceSpans.resource": _ENVELOPE,
    "ResourceSpans.scope_spans": _ENVELOPE,
    "ScopeSpans.scope": _ENVELOPE,
    "ScopeSpans.spans": _ENVELOPE,
    "ExportLogsServiceRequest.resource_logs": _ENVELOPE,
    "ResourceLogs.resource": _ENVELOPE,
    "ResourceLogs.scope_logs": _ENVELOPE,
    "ScopeLogs.scope": _ENVELOPE,
    "ScopeLogs.log_records": _ENVELOPE,
    "KeyValue.key": _VALUE,
    "KeyValue.value": _VALUE,
    "KeyValue.key_strindex": _PROFILES,
    "AnyValue.string_value": _VALUE,
    "AnyValue.bool_value": _VALUE,
    "AnyValue.int_value": _VALUE,
    "AnyValue.double_value": _VALUE,
    "AnyValue.array_value": _VALUE,
    "AnyValue.kvlist_value": _VALUE,
    "AnyValue.bytes_value": _VALUE,
    "AnyValue.string_value_strindex": _PROFILES,
    "ArrayValue.values": _VALUE,
    "KeyValueList.values": _VALUE,
}

_ROWS: dict[str, Any] = {row.__name__: row for row in (SpanRow, LogRow, ResourceRow, ScopeRow)}

# Without these a span is refused, so that their columns cannot be seen empty.
_NEEDED = {"Span.trace_id", "Span.span_id", "Span.end_time_unix_nano"}


# R064
def test_every_field_of_otlp_has_a_column_or_a_reason() -> None:
    found = {*_fields(ExportTraceServiceRequest.DESCRIPTOR), *_fields(ExportLogsServiceRequest.DESCRIPTOR)}

    assert found == COLUMNS.keys() | LEFT_OUT.keys()
    assert set() == COLUMNS.keys() & LEFT_OUT.keys()


def test_every_column_named_here_exists() -> None:
    for place in COLUMNS.values():
        row, column = place.split(".")
        assert column in _ROWS[row]._fields


# R064
@pytest.mark.parametrize("field", sorted(COLUMNS.keys() - _NEEDED))
def test_a_field_left_out_of_the_request_changes_its_column(field: str) -> None:
    decode, full = (logs, full_logs) if _in_logs(field) else (traces, full_traces)
    row, column = COLUMNS[field].split(".")
    request = full()

    _clear(request, field)

    assert _columns(decode(full()), row, column) != _columns(decode(request), row, column)


def _in_logs(field: str) -> bool:
    return field.startswith(("LogRecord.", "ResourceLogs.", "ScopeLogs."))


def _columns(decoded: Decoded, row: str, column: str) -> list[object]:
    assert [] == decoded.refused
    batch = decoded.batch
    rows = [*batch.spans, *batch.logs, *batch.resources.values(), *batch.scopes.values()]
    return [getattr(found, column) for found in rows if type(found).__name__ == row]


def _fields(descriptor: Descriptor) -> Iterator[str]:
    """Name every field of a message and of those inside it."""
    seen: set[str] = set()
    waiting = [descriptor]
    while waiting:
        message = waiting.pop()
        if message.full_name in seen:
            continue
        seen.add(message.full_name)
        yield from (f"{_short(message)}.{field.name}" for field in message.fields)
        waiting += [field.message_type for field in message.fields if field.message_type is not None]


def _short(message: Descriptor) -> str:
    return message.full_name.rpartition(".v1.")[2]


def _clear(message: Message, field: str) -> None:
    """Clear a field wherever its message stands in this one."""
    owner, _, name = field.rpartition(".")
    if message.DESCRIPTOR.full_name.endswith(f".v1.{owner}"):
        message.ClearField(name)
    for part, value in message.ListFields():
        if part.message_type is not None:
            for inner in value if part.is_repeated else (value,):
                _clear(inner, field)
