"""Facts as OTLP messages: what protobuf and the server's own reader make of the bytes is the facts that were written."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.otlp.log_records import LogReader
from collector.otlp.spans import read_resource, read_scope, read_span
from otel_bridge.facts import RANK_OTLP, LogLine, Resource, Scope, SpanEnd, SpanEvent, SpanLink
from tests.parcels import body_of

# Text as UTF-8 can hold it; a pair of a key and a short value is remembered, one of a long value is not.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
counts = st.integers(0, 2**32 - 1)
times = st.integers(1, 2**63 - 1)
trace_ids = st.binary(min_size=16, max_size=16).filter(any)
span_ids = st.binary(min_size=8, max_size=8).filter(any)
scalars = st.one_of(texts, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.binary(max_size=20), st.none())
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(texts, scalars | st.lists(scalars, max_size=2), max_size=2)
attributes = st.dictionaries(texts, values, max_size=3)
resources = st.builds(Resource, attributes, counts, texts, st.just([]))
scopes = st.builds(Scope, texts, texts, attributes, counts, texts)
events = st.builds(SpanEvent, times, texts, attributes, counts)
links = st.builds(SpanLink, trace_ids, span_ids, texts, attributes, counts, counts)

spans = st.builds(
    SpanEnd,
    trace_id=trace_ids,
    span_id=span_ids,
    end_ns=times,
    rank=st.just(RANK_OTLP),
    start_ns=times,
    parent_span_id=st.just(b"") | span_ids,
    trace_state=texts,
    flags=counts,
    name=texts,
    kind=st.integers(0, 5),
    status_code=st.integers(0, 2),
    status_message=texts,
    attributes=attributes,
    dropped_attributes=counts,
    events=st.just(()) | st.lists(events, min_size=1, max_size=2),
    dropped_events=counts,
    links=st.lists(links, max_size=2).map(tuple),
    dropped_links=counts,
    resource=resources,
    scope=scopes,
    work=st.builds(lambda: SpanEnd(b"", b"", 0, 0).work),
)
lines = st.builds(
    LogLine,
    trace_id=trace_ids | st.just(b""),
    span_id=span_ids | st.just(b""),
    time_ns=st.just(0) | times,
    body=values,
    observed_ns=times,
    severity_number=st.integers(0, 24),
    severity_text=texts,
    event_name=texts.filter(lambda name: not name.startswith("flowspan.")),
    flags=counts,
    attributes=attributes.filter(lambda said: "event.name" not in said),
    dropped_attributes=counts,
    resource=resources,
    scope=scopes,
    work=st.builds(lambda: LogLine(b"", b"", 0, "").work),
)


def spans_in(body: bytes) -> list[Any]:
    """Read spans as the server reads them, and be sure that protobuf knows every field of theirs."""
    read = _known(ExportTraceServiceRequest.FromString(body))
    return [
        read_span(span, read_resource(envelope.resource, envelope.schema_url), read_scope(group.scope, group.schema_url))
        for envelope in read.resource_spans
        for group in envelope.scope_spans
        for span in group.spans
    ]


def lines_in(body: bytes) -> list[Any]:
    read, reader = _known(ExportLogsServiceRequest.FromString(body)), LogReader(0)
    return [
        reader.read(record, read_resource(envelope.resource, envelope.schema_url), read_scope(group.scope, group.schema_url))
        for envelope in read.resource_logs
        for group in envelope.scope_logs
        for record in group.log_records
    ]


def _known(message: Any) -> Any:
    size = message.ByteSize()
    message.DiscardUnknownFields()
    assert isinstance(message, Message)
    assert size == message.ByteSize(), "a field that nobody knows was written"
    return message


# R159
@given(spans)
def test_a_span_is_read_as_it_was_written(span: SpanEnd) -> None:
    assert [span] == spans_in(body_of(span))


# R159
@given(lines)
def test_a_log_record_is_read_as_it_was_written(line: LogLine) -> None:
    assert [line] == lines_in(body_of(line))


def test_records_stand_in_the_envelope_of_their_own_resource_and_scope() -> None:
    ours, theirs = Resource({"service.name": "ours"}), Resource({"service.name": "theirs"})
    first, second = Scope("first"), Scope("second")
    told = [(ours, first, "1"), (theirs, first, "2"), (ours, second, "3"), (ours, first, "4")]

    body = body_of(*(LogLine(b"", b"", 1, text, resource=resource, scope=scope) for resource, scope, text in told))

    read = ExportLogsServiceRequest.FromString(body)
    groups = [
        [envelope.resource.attributes[0].value.string_value, group.scope.name, [record.body.string_value for record in group.log_records]]
        for envelope in read.resource_logs
        for group in envelope.scope_logs
    ]
    assert [["ours", "first", ["1", "4"]], ["ours", "second", ["3"]], ["theirs", "first", ["2"]]] == groups


def test_what_has_no_room_in_a_value_is_text_and_no_text_is_too_odd() -> None:
    said = {"large": 2**63, "huge": 10**5000, "half": "\ud800", "\ud800": 1, "one": 1, "yes": True, "real": 1.0}

    (read,) = lines_in(body_of(LogLine(b"", b"", 1, "", attributes=said)))

    assert {"large": str(2**63), "huge": "int", "half": "?", "?": 1, "one": 1, "yes": True, "real": 1.0} == read.attributes
    assert [str, str, str, int, int, bool, float] == [type(value) for value in read.attributes.values()]
