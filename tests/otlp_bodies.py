"""OTLP requests for the tests: one with every field set, and its JSON made by protobuf's own mapping as the oracle."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from collector.answers import TraceFacts
from collector.batch import Batch
from collector.dialects import Dialect, pipeline, plain
from collector.otlp import Encoding, decode_logs, decode_traces
from collector.verdict import Decoded

SECOND_NS = 10**9
START_NS = 1_790_000_000 * SECOND_NS + 1
END_NS = START_NS + 2 * SECOND_NS
RECEIVED_NS = END_NS + SECOND_NS

TRACE_ID = bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
SPAN_ID = bytes.fromhex("b7ad6b7169203331")
PARENT_ID = bytes.fromhex("00f067aa0ba902b7")

DIALECTS: tuple[Dialect, ...] = (pipeline.DIALECT, plain.DIALECT)


def traces(body: bytes | str | dict[str, Any] | Message) -> Decoded:
    """Decode a traces request: bytes are protobuf, text and maps JSON."""
    return decode_traces(*_wire(body), DIALECTS, RECEIVED_NS, 0)


def logs(body: bytes | str | dict[str, Any] | Message) -> Decoded:
    """Decode a logs request: bytes are protobuf, text and maps JSON."""
    return decode_logs(*_wire(body), DIALECTS, RECEIVED_NS, 0)


def _wire(body: bytes | str | dict[str, Any] | Message) -> tuple[bytes, Encoding]:
    if isinstance(body, Message):
        return body.SerializeToString(), Encoding.PROTOBUF
    if isinstance(body, bytes):
        return body, Encoding.PROTOBUF
    text = body if isinstance(body, str) else json.dumps(body)
    return text.encode("utf-8", "surrogatepass"), Encoding.JSON


def as_read(batch: Batch) -> TraceFacts:
    """Return a batch as a storage that holds nothing else would read it back."""
    return TraceFacts(batch.spans, batch.moments, batch.logs, batch.resources, batch.scopes)


def a_span(**fields: Any) -> Span:
    """Return a span with ids, a name and times; fields replace them."""
    given: dict[str, Any] = {
        "trace_id": TRACE_ID,
        "span_id": SPAN_ID,
        "name": "work",
        "start_time_unix_nano": START_NS,
        "end_time_unix_nano": END_NS,
    }
    return Span(**(given | fields))


def span_request(*spans: Span, **resource: Any) -> ExportTraceServiceRequest:
    """Return a request with these spans, of one resource with these attributes (dots written as two underscores)."""
    envelope = ResourceSpans(resource=a_resource(**resource), scope_spans=[ScopeSpans(spans=spans)])
    return ExportTraceServiceRequest(resource_spans=[envelope])


def log_request(*records: LogRecord, **resource: Any) -> ExportLogsServiceRequest:
    """Return a request with these log records."""
    envelope = ResourceLogs(resource=a_resource(**resource), scope_logs=[ScopeLogs(log_records=records)])
    return ExportLogsServiceRequest(resource_logs=[envelope])


def a_resource(**attributes: Any) -> Resource:
    """Return a resource with these attributes."""
    return Resource(attributes=pairs({key.replace("__", "."): value for key, value in attributes.items()}))


def pairs(attributes: dict[str, Any]) -> list[KeyValue]:
    """Return a map as an attribute list."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def any_value(value: Any) -> AnyValue:
    """Return a Python value as an AnyValue."""
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))
    if isinstance(value, dict):
        return AnyValue(kvlist_value=KeyValueList(values=pairs(value)))
    fields = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value", bytes: "bytes_value"}
    return AnyValue() if value is None else AnyValue(**{fields[type(value)]: value})


EVERY_KIND_OF_VALUE = {
    "text": "grüße",
    "empty": "",
    "yes": True,
    "no": False,
    "int": 2**62 + 1,
    "zero": 0,
    "double": 1.0,
    "nan": float("nan"),
    "infinite": float("-inf"),
    "bytes": b"\x00\xff\xfe",
    "nothing": None,
    "list": [1, 1.5, "a", [b"b"], {"deep": None}],
    "map": {"a": {"b": [True]}, "$double": "a trap"},
    "one": {"$bytes": "another"},
}


def full_traces() -> ExportTraceServiceRequest:
    """Return a request with one span in which every field of OTLP is set."""
    span = a_span(
        parent_span_id=PARENT_ID,
        trace_state="vendor=1",
        flags=0xFFFFFFFF,
        kind=Span.SPAN_KIND_CONSUMER,
        attributes=pairs(EVERY_KIND_OF_VALUE),
        dropped_attributes_count=2**32 - 1,
        events=[Span.Event(time_unix_nano=START_NS + 5, name="note", attributes=pairs({"n": 1}), dropped_attributes_count=2)],
        dropped_events_count=3,
        links=[
            Span.Link(
                trace_id=TRACE_ID,
                span_id=PARENT_ID,
                trace_state="other=2",
                attributes=pairs({"l": b"x"}),
                dropped_attributes_count=4,
                flags=0x301,
            )
        ],
        dropped_links_count=5,
        status=Status(code=Status.STATUS_CODE_ERROR, message="broke"),
    )
    group = ScopeSpans(scope=full_scope(), spans=[span], schema_url="https://example.org/scope")
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=full_resource(), scope_spans=[group], schema_url="https://example.org/resource")]
    )


def full_logs() -> ExportLogsServiceRequest:
    """Return a request with one log record in which every field of OTLP is set."""
    record = LogRecord(
        time_unix_nano=START_NS,
        observed_time_unix_nano=START_NS + 7,
        severity_number=SeverityNumber.SEVERITY_NUMBER_ERROR,
        severity_text="ERROR",
        body=any_value(EVERY_KIND_OF_VALUE),
        attributes=pairs(EVERY_KIND_OF_VALUE),
        dropped_attributes_count=6,
        flags=1,
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        event_name="something.happened",
    )
    group = ScopeLogs(scope=full_scope(), log_records=[record], schema_url="https://example.org/scope")
    return ExportLogsServiceRequest(
        resource_logs=[ResourceLogs(resource=full_resource(), scope_logs=[group], schema_url="https://example.org/resource")]
    )


def full_resource() -> Resource:
    """Return a resource with every field set."""
    ref = EntityRef(schema_url="https://example.org/entity", type="service", id_keys=["service.name"], description_keys=["host.name"])
    attributes = pairs({"service.name": "shop", "service.instance.id": "p1"})
    return Resource(attributes=attributes, dropped_attributes_count=7, entity_refs=[ref])


def full_scope() -> InstrumentationScope:
    """Return a scope with every field set."""
    return InstrumentationScope(name="lib", version="1.2", attributes=pairs({"s": [1]}), dropped_attributes_count=8)


def as_json(request: Message) -> dict[str, Any]:
    """Return a request as OTLP/JSON: protobuf's own mapping, with the ids made hex."""
    document = MessageToDict(request, use_integers_for_enums=True)
    _ids_to_hex(document)
    return document


def _ids_to_hex(found: Any) -> None:
    for key, value in list(found.items()) if isinstance(found, dict) else []:
        if key in ("traceId", "spanId", "parentSpanId"):
            found[key] = b64decode(value).hex()
    for part in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        _ids_to_hex(part)
