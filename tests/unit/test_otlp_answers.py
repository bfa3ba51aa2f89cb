"""Verdicts become answers; a stored trace goes out as it came."""

from __future__ import annotations

import json
from typing import Any

from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # googleapis-common-protos has stubs but no py.typed
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum

from collector.batch import Batch
from collector.otlp import METRICS_NOT_STORED, Encoding, Signal, decode_metrics, encode_response, encode_status, encode_trace
from collector.verdict import Refusal, Verdict
from tests.otlp_bodies import (
    SPAN_ID,
    START_NS,
    TRACE_ID,
    a_span,
    any_value,
    as_json,
    as_read,
    full_logs,
    full_traces,
    log_request,
    logs,
    span_request,
    traces,
)

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
    long = encode_response(Signal.TRACES, Encoding.PROTOBUF, Verdict(0, [Refusal(-1, "x" * 10**6)]))

    assert {"partialSuccess": {"rejectedLogRecords": "0", "errorMessage": "careful"}} == warned
    assert len(long) < 1100


def test_metrics_are_counted_by_their_data_points() -> None:
    points = [NumberDataPoint(as_int=1, exemplars=[Exemplar(trace_id=TRACE_ID, span_id=SPAN_ID)]), NumberDataPoint(as_int=2)]
    metrics = [Metric(name="a", gauge=Gauge(data_points=points)), Metric(name="b", sum=Sum(data_points=points[:1])), Metric(name="c")]
    request = ExportMetricsServiceRequest(resource_metrics=[ResourceMetrics(scope_metrics=[ScopeMetrics(metrics=metrics)])])

    in_protobuf = decode_metrics(request.SerializeToString(), Encoding.PROTOBUF)
    in_json = decode_metrics(json.dumps(as_json(request)).encode(), Encoding.JSON)

    assert (3, 3) == (in_protobuf, in_json)


def test_refused_metrics_are_answered_with_the_remedy() -> None:
    body = encode_response(Signal.METRICS, Encoding.PROTOBUF, Verdict(0, [Refusal(0, METRICS_NOT_STORED)] * 3))

    answer = ExportMetricsServiceResponse.FromString(body).partial_success
    assert 3 == answer.rejected_data_points
    assert "OTEL_METRICS_EXPORTER=none" in answer.error_message


def test_an_error_is_a_google_rpc_status_in_either_encoding() -> None:
    status = Status.FromString(encode_status(3, "no", Encoding.PROTOBUF))

    assert (3, "no") == (status.code, status.message)
    assert {"code": 3, "message": "no", "details": []} == json.loads(encode_status(3, "no", Encoding.JSON))


# --- and out again -----------------------------------------------------------------------------------------------------------------------


# R064
def test_a_trace_goes_out_and_comes_back_to_the_same_rows() -> None:
    stored = Batch()
    for decoded in (traces(full_traces()), logs(full_logs()), logs(_twins())):
        stored.extend(decoded.batch)

    document = json.loads(json.dumps(encode_trace(as_read(stored))))

    back = traces(document).batch
    back.extend(logs(document).batch)
    assert stored == _in_order_of(stored, back)


def test_moments_are_not_part_of_a_trace_on_the_wire_and_an_empty_trace_is_empty_lists() -> None:
    running = traces(span_request(a_span(end_time_unix_nano=0))).batch

    assert {"resourceSpans": [], "resourceLogs": []} == encode_trace(as_read(running))


def test_integers_beyond_64_bits_go_out_as_text() -> None:
    stored = traces(span_request(a_span())).batch
    stored.spans = [stored.spans[0]._replace(attributes='{"big":1' + "0" * 30 + "}")]

    document = encode_trace(as_read(stored))

    (attribute,) = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]
    assert {"key": "big", "value": {"stringValue": "1" + "0" * 30}} == attribute


def _in_order_of(stored: Batch, back: Batch) -> Batch:
    """Sort what came back as it was stored: the wire groups rows by resource and scope."""
    places = {row: place for place, row in enumerate((*stored.spans, *stored.logs))}
    back.spans.sort(key=lambda row: places.get(row, -1))
    back.logs.sort(key=lambda row: places.get(row, -1))
    return back


def _twins() -> Any:
    return log_request(*[LogRecord(trace_id=TRACE_ID, time_unix_nano=START_NS, body=any_value("again")) for _ in range(3)])
