"""OTLP protobuf becomes rows; verdicts become answers; a stored trace goes out as it came."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # googleapis-common-protos has stubs but no py.typed
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import IdGenerator, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, set_span_in_context
from otlp_bodies import (
    END_NS,
    PARENT_ID,
    RECEIVED_NS,
    SPAN_ID,
    START_NS,
    TRACE_ID,
    a_span,
    any_value,
    as_json,
    full_logs,
    full_traces,
    log_request,
    logs,
    pairs,
    span_request,
    traces,
)

from collector.attributes import from_json
from collector.doors import Decoded, Refusal, Verdict
from collector.errors import Rejected
from collector.model import Batch
from collector.otlp import (
    Encoding,
    Signal,
    decode_metrics,
    encode_metrics_refused,
    encode_response,
    encode_status,
    encode_trace,
)
from collector.storage import TraceFacts
from otel_bridge.facts import RANK_OTLP, RANK_STAMPED, RANK_TIMED
from otel_bridge.identity import run_key

BEYOND_NS = 2**63


# --- the official SDK ------------------------------------------------------------------------------------------------------------------


class _SteadyIds(IdGenerator):
    def __init__(self) -> None:
        self._spans = iter(range(0xA1, 0xFF))

    def generate_trace_id(self) -> int:
        return int.from_bytes(TRACE_ID)

    def generate_span_id(self) -> int:
        return next(self._spans)


def _sdk_request() -> ExportTraceServiceRequest:
    """Return what the SDK's exporter puts on the wire for a run with one task."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(id_generator=_SteadyIds(), resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("lib", "1.2", schema_url="https://example.org/s", attributes={"k": 1})
    run = tracer.start_span(
        "nightly", attributes={"cicd.pipeline.run.id": "r1", "cicd.pipeline.name": "nightly"}, start_time=START_NS, kind=SpanKind.SERVER
    )
    elsewhere = SpanContext(trace_id=5, span_id=6, is_remote=True, trace_flags=TraceFlags(1))
    task = tracer.start_span(
        "load",
        context=set_span_in_context(run),
        start_time=START_NS + 1,
        links=[Link(elsewhere, {"why": "cause"})],
        attributes={
            "cicd.pipeline.run.id": "r1",
            "cicd.pipeline.task.name": "load",
            "cicd.pipeline.task.run.result": "failure",
            "n": 3,
            "share": 0.5,
            "names": ["a", "b"],
        },
    )
    task.add_event("exception", {"exception.type": "ValueError", "exception.message": "no"}, timestamp=START_NS + 2)
    task.set_status(StatusCode.ERROR, "no")
    task.end(END_NS)
    run.end(END_NS + 1)
    request: ExportTraceServiceRequest = encode_spans(exporter.get_finished_spans())
    return request


_HAND_MADE = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeSpans": [
                {
                    "scope": {"name": "lib", "version": "1.2", "attributes": [{"key": "k", "value": {"intValue": 1}}]},
                    "schemaUrl": "https://example.org/s",
                    "spans": [
                        {
                            "traceId": TRACE_ID.hex().upper(),
                            "spanId": "00000000000000A2",
                            "parentSpanId": "00000000000000a1",
                            "flags": 256,
                            "name": "load",
                            "kind": 1,
                            "startTimeUnixNano": str(START_NS + 1),
                            "endTimeUnixNano": END_NS,
                            "attributes": [
                                {"key": "cicd.pipeline.run.id", "value": {"stringValue": "r1"}},
                                {"key": "cicd.pipeline.task.name", "value": {"stringValue": "load"}},
                                {"key": "cicd.pipeline.task.run.result", "value": {"stringValue": "failure"}},
                                {"key": "n", "value": {"intValue": "3"}},
                                {"key": "share", "value": {"doubleValue": 0.5}},
                                {"key": "names", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}}},
                            ],
                            "events": [
                                {
                                    "timeUnixNano": str(START_NS + 2),
                                    "name": "exception",
                                    "attributes": [
                                        {"key": "exception.type", "value": {"stringValue": "ValueError"}},
                                        {"key": "exception.message", "value": {"stringValue": "no"}},
                                    ],
                                }
                            ],
                            "links": [
                                {
                                    "traceId": "5".zfill(32),
                                    "spanId": "6".zfill(16),
                                    "flags": 256 + 512,
                                    "attributes": [{"key": "why", "value": {"stringValue": "cause"}}],
                                }
                            ],
                            "status": {"code": 2, "message": "no"},
                        },
                        {
                            "traceId": TRACE_ID.hex(),
                            "spanId": "00000000000000a1",
                            "flags": 256,
                            "name": "nightly",
                            "kind": 2,
                            "startTimeUnixNano": START_NS,
                            "endTimeUnixNano": str(END_NS + 1),
                            "attributes": [
                                {"key": "cicd.pipeline.run.id", "value": {"stringValue": "r1"}},
                                {"key": "cicd.pipeline.name", "value": {"stringValue": "nightly"}},
                            ],
                            "status": {},
                        },
                    ],
                }
            ],
        }
    ]
}


# R019 R193
def test_the_sdk_exporter_and_hand_made_json_send_the_same_run_to_equal_rows() -> None:
    protobuf = traces(_sdk_request())
    hand_made = traces(_HAND_MADE)

    assert 2 == len(protobuf.batch.spans)
    assert protobuf == hand_made


# R020
def test_a_run_and_its_task_are_recognised_and_an_exception_is_the_error() -> None:
    task, run = traces(_sdk_request()).batch.spans

    assert ("run", "", run_key("flowspan", "r1"), "nightly") == (run.role, run.node, run.run_key, run.flow_key)
    assert ("task", "load", run_key("flowspan", "r1")) == (task.role, task.node, task.run_key)
    assert ("failure", "ValueError: no", RANK_OTLP) == (task.result, task.error, task.rank)


# R021 R193
def test_the_sdk_logger_sends_lines_and_beginnings() -> None:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=Resource({"service.name": "shop", "service.instance.id": "p1"}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("lib")
    logger.emit(body="hello", timestamp=START_NS, severity_text="INFO", attributes={"cicd.pipeline.run.id": "r1"})
    context = set_span_in_context(NonRecordingSpan(SpanContext(int.from_bytes(TRACE_ID), int.from_bytes(SPAN_ID), is_remote=False)))
    logger.emit(timestamp=START_NS, context=context, event_name="flowspan.span.begun", attributes={"flowspan.span.name": "load"})

    decoded = logs(encode_logs(exporter.get_finished_logs()))

    assert ('"hello"', run_key("flowspan", "r1")) == (decoded.batch.logs[0].body, decoded.batch.logs[0].run_key)
    assert (TRACE_ID, SPAN_ID, "begun", START_NS, "load", "p1") == _of_moment(decoded)


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

    with pytest.raises(Rejected, match="nest|depth|parse"):
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


# --- answers ---------------------------------------------------------------------------------------------------------------------------


# R019
def test_full_success_leaves_partial_success_unset() -> None:
    for signal in Signal:
        assert b"" == encode_response(signal, Encoding.PROTOBUF, Verdict(3, []))
        assert b"{}" == encode_response(signal, Encoding.JSON, Verdict(3, []))


def test_refused_records_are_counted_with_the_first_reason_only() -> None:
    verdict = Verdict(1, [Refusal(place, f"reason {place}") for place in range(4, 7)])

    spans = ExportTraceServiceResponse.FromString(encode_response(Signal.TRACES, Encoding.PROTOBUF, verdict))
    records = ExportLogsServiceResponse.FromString(encode_response(Signal.LOGS, Encoding.PROTOBUF, verdict))
    document = json.loads(encode_response(Signal.TRACES, Encoding.JSON, verdict))

    message = "3 spans refused; the first, number 4 of the request: reason 4"
    assert (3, message) == (spans.partial_success.rejected_spans, spans.partial_success.error_message)
    assert 3 == records.partial_success.rejected_log_records
    assert {"partialSuccess": {"rejectedSpans": "3", "errorMessage": message}} == document


def test_a_warning_rejects_nothing_and_a_long_reason_is_cut() -> None:
    warned = json.loads(encode_response(Signal.LOGS, Encoding.JSON, Verdict(0, [], "careful")))
    long = encode_response(Signal.TRACES, Encoding.PROTOBUF, Verdict(0, [Refusal(0, "x" * 10**6)]))

    assert {"partialSuccess": {"rejectedLogRecords": "0", "errorMessage": "careful"}} == warned
    assert 1100 > len(long)


def test_metrics_are_counted_and_refused_with_the_remedy() -> None:
    points = [NumberDataPoint(as_int=1), NumberDataPoint(as_int=2)]
    metrics = [Metric(name="a", gauge=Gauge(data_points=points)), Metric(name="b", sum=Sum(data_points=points[:1])), Metric(name="c")]
    request = ExportMetricsServiceRequest(resource_metrics=[ResourceMetrics(scope_metrics=[ScopeMetrics(metrics=metrics)])])

    found = decode_metrics(request.SerializeToString(), Encoding.PROTOBUF)
    answer = ExportMetricsServiceResponse.FromString(encode_metrics_refused(found, Encoding.PROTOBUF))

    assert found == 3 == decode_metrics(json.dumps(as_json(request)).encode(), Encoding.JSON)
    assert 3 == answer.partial_success.rejected_data_points
    assert "OTEL_METRICS_EXPORTER=none" in answer.partial_success.error_message
    assert (b"", b"{}") == (encode_metrics_refused(0, Encoding.PROTOBUF), encode_metrics_refused(0, Encoding.JSON))


def test_an_error_is_a_google_rpc_status_in_either_encoding() -> None:
    status = Status.FromString(encode_status(3, "no", Encoding.PROTOBUF))

    assert (3, "no") == (status.code, status.message)
    assert {"code": 3, "message": "no", "details": []} == json.loads(encode_status(3, "no", Encoding.JSON))


# --- and out again -----------------------------------------------------------------------------------------------------------------------


# R064
def test_a_trace_goes_out_and_comes_back_to_the_same_rows() -> None:
    stored = Batch()
    for decoded in (traces(full_traces()), traces(_sdk_request()), logs(full_logs()), logs(_twins())):
        stored.extend(decoded.batch)

    document = json.loads(json.dumps(encode_trace(_as_read(stored))))

    back = traces(document).batch
    back.extend(logs(document).batch)
    assert stored == _in_order_of(stored, back)


def test_moments_are_not_part_of_a_trace_on_the_wire_and_an_empty_trace_is_empty_lists() -> None:
    running = traces(span_request(a_span(end_time_unix_nano=0))).batch

    assert {"resourceSpans": [], "resourceLogs": []} == encode_trace(_as_read(running))


def test_integers_beyond_64_bits_go_out_as_text() -> None:
    stored = traces(span_request(a_span())).batch
    stored.spans = [stored.spans[0]._replace(attributes='{"big":1' + "0" * 30 + "}")]

    document = encode_trace(_as_read(stored))

    (attribute,) = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]
    assert {"key": "big", "value": {"stringValue": "1" + "0" * 30}} == attribute


def _as_read(batch: Batch) -> TraceFacts:
    return TraceFacts(batch.spans, batch.moments, batch.logs, batch.resources, batch.scopes)


def _in_order_of(stored: Batch, back: Batch) -> Batch:
    """Sort what came back as it was stored: the wire groups rows by resource and scope."""
    places = {row: place for place, row in enumerate((*stored.spans, *stored.logs))}
    back.spans.sort(key=lambda row: places.get(row, -1))
    back.logs.sort(key=lambda row: places.get(row, -1))
    return back


def _twins() -> Any:
    return log_request(*[LogRecord(trace_id=TRACE_ID, time_unix_nano=START_NS, body=any_value("again")) for _ in range(3)])


def _lifecycle(event: str, attributes: dict[str, Any] | None = None) -> LogRecord:
    return LogRecord(
        trace_id=TRACE_ID, span_id=SPAN_ID, time_unix_nano=START_NS, event_name=event, attributes=pairs(dict(attributes or {}))
    )


def _of_moment(decoded: Decoded) -> tuple[object, ...]:
    (moment,) = decoded.batch.moments
    return (moment.trace_id, moment.span_id, moment.kind, moment.time_ns, moment.name, moment.process)


def _outcome(decoded: Decoded) -> tuple[int, list[Refusal], str]:
    return decoded.received, decoded.refused, decoded.warning
