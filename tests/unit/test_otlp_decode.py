"""OTLP requests become rows; what cannot be stored costs only itself."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from collector.attributes import from_json
from collector.errors import Rejected
from collector.verdict import Decoded, Refusal
from otel_bridge.facts import RANK_STAMPED, RANK_TIMED
from tests.otlp_bodies import (
    PARENT_ID,
    RECEIVED_NS,
    SPAN_ID,
    START_NS,
    TRACE_ID,
    a_span,
    any_value,
    full_traces,
    log_request,
    logs,
    pairs,
    span_request,
    traces,
)

BEYOND_NS = 2**63


# --- spans: what is refused, what is kept ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"trace_id": b""}, "traceId must be 16 bytes"),
        ({"trace_id": b"short"}, "traceId must be 16 bytes"),
        ({"trace_id": bytes(16)}, "traceId must be 16 bytes"),
        ({"span_id": b"x" * 16}, "spanId must be 8 bytes"),
        ({"span_id": bytes(8)}, "spanId must be 8 bytes"),
        ({"start_time_unix_nano": BEYOND_NS}, "startTimeUnixNano and endTimeUnixNano must be at most"),
        ({"end_time_unix_nano": 2**64 - 1}, "startTimeUnixNano and endTimeUnixNano must be at most"),
    ],
)
def test_a_span_that_cannot_be_stored_is_counted_and_its_neighbours_stay(bad: dict[str, Any], reason: str) -> None:
    decoded = traces(span_request(a_span(name="before"), a_span(**bad), a_span(name="after")))

    assert 3 == decoded.received
    assert ["before", "after"] == [row.name for row in decoded.batch.spans]
    assert [1] == [refusal.place for refusal in decoded.refused]
    assert decoded.refused[0].reason.startswith(reason)


# R064
def test_a_running_number_counts_through_all_envelopes() -> None:
    request = span_request(a_span())
    request.MergeFrom(span_request(a_span(), a_span(span_id=b"")))

    assert [2] == [refusal.place for refusal in traces(request).refused]


@pytest.mark.parametrize(
    ("kept", "column", "value"),
    [
        ({"name": ""}, "name", ""),
        ({"end_time_unix_nano": START_NS - 5}, "end_ns", START_NS - 5),
        ({"start_time_unix_nano": 0}, "start_ns", 0),
        ({"parent_span_id": b"abc"}, "parent_span_id", b""),
        ({"parent_span_id": bytes(8)}, "parent_span_id", b""),
        ({"kind": 99}, "kind", 99),
        ({"flags": 2**32 - 1}, "flags", 2**32 - 1),
        ({"attributes": [*pairs({"a": 1}), *pairs({"a": 2})]}, "attributes", '{"a":2}'),
        ({"attributes": pairs({"n\x00": "x\x00"})}, "attributes", '{"n\ufffd":"x\ufffd"}'),
        ({"events": [Span.Event(time_unix_nano=BEYOND_NS, name="e")]}, "events", '[[0,"e",{},0]]'),
        ({"links": [Span.Link(trace_id=TRACE_ID, span_id=b"no"), Span.Link()]}, "links", "[]"),
    ],
)
def test_an_odd_span_is_stored_harmless(kept: dict[str, Any], column: str, value: object) -> None:
    decoded = traces(span_request(a_span(**kept)))

    assert [] == decoded.refused
    assert value == getattr(decoded.batch.spans[0], column)


# R021
def test_a_span_without_an_end_is_a_running_copy() -> None:
    span = a_span(end_time_unix_nano=0, parent_span_id=PARENT_ID, attributes=pairs({"cicd.pipeline.task.name": "load"}))

    decoded = traces(span_request(span, service__instance__id="p1"))

    (moment,) = decoded.batch.moments
    assert [] == decoded.batch.spans
    assert (TRACE_ID, SPAN_ID, "begun", START_NS, "work", "p1") == _of_moment(decoded)
    assert (RANK_TIMED, START_NS, PARENT_ID, "load") == (moment.rank, moment.start_ns, moment.parent_span_id, moment.node)


# R064
def test_every_kind_of_value_keeps_its_type() -> None:
    (row,) = traces(full_traces()).batch.spans

    values = from_json(row.attributes)

    assert (1.0, float, 0, int) == (values["double"], type(values["double"]), values["zero"], type(values["zero"]))
    assert (b"\x00\xff\xfe", None, [1, 1.5, "a", [b"b"], {"deep": None}]) == (values["bytes"], values["nothing"], values["list"])
    assert {"a": {"b": [True]}, "$double": "a trap"} == values["map"]


# R024
def test_a_plain_trace_names_its_flow_by_its_root_only() -> None:
    request = span_request(a_span(name="root"), a_span(span_id=b"child___", parent_span_id=SPAN_ID), service__name="shop")

    root, child = traces(request).batch.spans

    assert ("shop:root", "root", b"", "", "plain") == (root.flow_key, root.flow_name, root.run_key, root.role, root.dialect)
    assert ("", "", b"") == (child.flow_key, child.flow_name, child.run_key)


# --- log records -------------------------------------------------------------------------------------------------------------------------


# R021
def test_a_log_record_with_bad_ids_and_times_is_stored_without_them() -> None:
    record = LogRecord(trace_id=b"short", span_id=bytes(8), time_unix_nano=BEYOND_NS, body=any_value("hello"))

    (row,) = logs(log_request(record)).batch.logs

    assert (b"", b"", RECEIVED_NS, 0, '"hello"') == (row.trace_id, row.span_id, row.time_ns, row.own_time_ns, row.body)


@pytest.mark.parametrize("kind", ["announced", "queued", "begun", "paused", "resumed", "cancelled", "retried"])
def test_a_lifecycle_record_becomes_a_moment_and_no_log(kind: str) -> None:
    attributes = {"flowspan.span.parent_id": PARENT_ID.hex(), "flowspan.span.name": "load", "flowspan.span.start_ns": str(START_NS - 9)}

    decoded = logs(log_request(_lifecycle(f"flowspan.span.{kind}", attributes), service__instance__id="p1"))

    (moment,) = decoded.batch.moments
    assert [] == decoded.batch.logs
    assert (TRACE_ID, SPAN_ID, kind, START_NS, "load", "p1") == _of_moment(decoded)
    assert (PARENT_ID, START_NS - 9, RANK_TIMED) == (moment.parent_span_id, moment.start_ns, moment.rank)


def test_an_older_sdk_names_the_event_in_an_attribute() -> None:
    decoded = logs(log_request(_lifecycle("", {"event.name": "flowspan.span.begun"})))

    assert ["begun"] == [moment.kind for moment in decoded.batch.moments]


def test_a_moment_takes_the_observed_time_and_without_any_the_receipt() -> None:
    observed, timeless = _lifecycle("flowspan.span.begun"), _lifecycle("flowspan.span.begun")
    observed.time_unix_nano, observed.observed_time_unix_nano = 0, START_NS
    timeless.time_unix_nano = 0

    moments = logs(log_request(observed, timeless)).batch.moments

    assert [(START_NS, RANK_TIMED), (RECEIVED_NS, RANK_STAMPED)] == [(moment.time_ns, moment.rank) for moment in moments]


@pytest.mark.parametrize("value", ["nothex", "abcd", 5, b"12345678", ["x"], None])
def test_odd_lifecycle_attributes_are_left_unread(value: object) -> None:
    attributes = {"flowspan.span.parent_id": value, "flowspan.span.start_ns": [value], "flowspan.span.name": [value]}

    (moment,) = logs(log_request(_lifecycle("flowspan.span.begun", attributes))).batch.moments

    assert (b"", 0, "") == (moment.parent_span_id, moment.start_ns, moment.name)


def test_a_lifecycle_record_that_names_no_span_is_refused_and_an_unknown_kind_is_a_log() -> None:
    nameless = LogRecord(event_name="flowspan.span.begun", span_id=SPAN_ID)

    decoded = logs(log_request(nameless, _lifecycle("flowspan.span.exploded")))

    assert [Refusal(0, "flowspan.span.begun needs the traceId and spanId of its span")] == decoded.refused
    assert ["flowspan.span.exploded"] == [row.event_name for row in decoded.batch.logs]


def test_heartbeats_and_exits_are_signs_of_life() -> None:
    beat = LogRecord(event_name="flowspan.process.heartbeat", attributes=pairs({"flowspan.process.interval_ms": 5000}))
    exit_ = LogRecord(event_name="flowspan.process.exit")

    decoded = logs(log_request(beat, exit_, service__instance__id="p1"))

    assert [("p1", RECEIVED_NS, 5000, 0), ("p1", RECEIVED_NS, 0, RECEIVED_NS)] == [row[1:] for row in decoded.batch.processes]
    assert 1 == len(logs(log_request(beat)).refused)


# --- bodies that cannot be read --------------------------------------------------------------------------------------------------------


def test_an_empty_request_is_a_success() -> None:
    assert (0, [], "") == _outcome(traces(b""))
    assert (0, [], "") == _outcome(logs(b""))
    assert (0, [], "") == _outcome(traces(ExportTraceServiceRequest(resource_spans=[ResourceSpans()])))


@pytest.mark.parametrize("body", [b"\xff" * 20, b"{}", b"\x0a\x7f", full_traces().SerializeToString()[:-3]])
def test_a_body_that_is_no_protobuf_is_rejected(body: bytes) -> None:
    with pytest.raises(Rejected, match="not a protobuf ExportTraceServiceRequest"):
        traces(body)


def test_protobuf_nested_beyond_reading_is_rejected() -> None:
    value = b""
    for _ in range(60):
        value = _inside(5, _inside(1, value))  # AnyValue.array_value, ArrayValue.values
    attribute = _inside(9, _inside(1, b"deep") + _inside(2, value))

    with pytest.raises(Rejected, match="MaxDepth"):
        traces(_inside(1, _inside(2, _inside(2, attribute))))


def _inside(number: int, content: bytes) -> bytes:
    """Return content as a length-delimited protobuf field; up to 16 KB."""
    return bytes([number << 3 | 2, len(content) & 0x7F | 0x80, len(content) >> 7]) + content


def test_invalid_utf8_is_rejected() -> None:
    body = span_request(a_span(name="@@@@")).SerializeToString().replace(b"@@@@", b"\xff\xfe\xfd\xfc")

    with pytest.raises(Rejected):
        traces(body)


def test_logs_sent_to_the_traces_address_are_refused_one_by_one() -> None:
    decoded = traces(log_request(LogRecord(body=any_value("hello"))).SerializeToString())

    assert (1, 0, 1) == (decoded.received, len(decoded.batch), len(decoded.refused))


def _lifecycle(event: str, attributes: dict[str, Any] | None = None) -> LogRecord:
    return LogRecord(trace_id=TRACE_ID, span_id=SPAN_ID, time_unix_nano=START_NS, event_name=event, attributes=pairs(dict(attributes or {})))


def _of_moment(decoded: Decoded) -> tuple[object, ...]:
    (moment,) = decoded.batch.moments
    return (moment.trace_id, moment.span_id, moment.kind, moment.time_ns, moment.name, moment.process)


def _outcome(decoded: Decoded) -> tuple[int, list[Refusal], str]:
    return decoded.received, decoded.refused, decoded.warning
