"""OTLP over HTTP, as the specification wants it: every status, every shape of an answer, in the encoding of the request."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics

from tests.fragile_storage import REFUSED_NAME, fragile_server
from tests.in_process import GZIP, JSON, PROTOBUF, Server, read_answer, running, status_of, unfinished, zipped
from tests.otlp_bodies import a_span, as_json, full_logs, full_traces, span_request

TRACES = span_request(a_span()).SerializeToString()
SIGNALS = ("traces", "logs", "metrics")
WRONG_PATHS = ("/", "/v1/trace", "/v1/traces/v1/traces", "/v1development/profiles", "/traces", "/logs")


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """Return a server that the tests of this file share: none of them looks at more than its own answer."""
    with running() as one:
        yield one


def spans_named(*names: str) -> bytes:
    return span_request(*(a_span(name=name, span_id=bytes([place + 1] * 8)) for place, name in enumerate(names))).SerializeToString()


# --- success -----------------------------------------------------------------------------------------------------------------------------


# R019
@pytest.mark.parametrize("path", ["/v1/traces", "/v1/traces/"])
def test_a_whole_success_in_protobuf_is_an_empty_body_of_that_type(shared: Server, path: str) -> None:
    answer = shared.post(path, TRACES, PROTOBUF)

    assert (200, b"", "application/x-protobuf") == (answer.status_code, answer.content, answer.headers["content-type"])


# R019 R021
@pytest.mark.parametrize(("path", "request_body"), [("/v1/traces", as_json(full_traces())), ("/v1/logs/", as_json(full_logs()))])
def test_a_whole_success_in_json_is_an_empty_object(shared: Server, path: str, request_body: dict[str, Any]) -> None:
    answer = shared.post(path, json.dumps(request_body), JSON)

    assert (200, b"{}", "application/json") == (answer.status_code, answer.content, answer.headers["content-type"])


# R019
@pytest.mark.parametrize("written", ["application/x-protobuf; charset=utf-8", "Application/X-Protobuf", "application/x-protobuf ;a=b"])
def test_a_media_type_may_have_parameters_and_any_case(shared: Server, written: str) -> None:
    answer = shared.post("/v1/traces", TRACES, {"Content-Type": written})

    assert (200, "application/x-protobuf") == (answer.status_code, answer.headers["content-type"])


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(("body", "headers"), [(b"", PROTOBUF), (b"{}", JSON), (zipped(b""), PROTOBUF | GZIP)])
def test_an_empty_request_is_a_success(shared: Server, signal: str, body: bytes, headers: dict[str, str]) -> None:
    answer = shared.post(f"/v1/{signal}", body, headers)

    assert 200 == answer.status_code
    assert answer.content in (b"", b"{}")


# R019
@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", "X-GZip"])
def test_a_body_may_be_gzipped(shared: Server, coding: str) -> None:
    answer = shared.post("/v1/traces", zipped(TRACES), PROTOBUF, {"Content-Encoding": coding})

    assert (200, b"") == (answer.status_code, answer.content)


def test_identity_is_no_encoding(shared: Server) -> None:
    answer = shared.post("/v1/traces", TRACES, PROTOBUF, {"Content-Encoding": "identity"})

    assert 200 == answer.status_code


def test_every_member_of_a_gzip_body_counts(server: Server) -> None:
    body = gzip.compress(TRACES[:10]) + gzip.compress(b"") + gzip.compress(TRACES[10:])

    answer = server.post("/v1/traces", body, PROTOBUF, GZIP)

    assert (200, b"") == (answer.status_code, answer.content)
    assert 1 == server.metric("stored_total", signal="traces")


# R022
def test_metrics_are_answered_with_what_to_set_instead(server: Server) -> None:
    points = [NumberDataPoint(as_int=1), NumberDataPoint(as_int=2)]
    metric = Metric(name="m", gauge=Gauge(data_points=points))
    request = ExportMetricsServiceRequest(resource_metrics=[ResourceMetrics(scope_metrics=[ScopeMetrics(metrics=[metric])])])

    answer = server.post("/v1/metrics", request.SerializeToString(), PROTOBUF)

    partial = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert (200, 2) == (answer.status_code, partial.rejected_data_points)
    assert "OTEL_METRICS_EXPORTER=none" in partial.error_message
    assert 2 == server.metric("refused_total", signal="metrics")


def test_a_request_of_ten_thousand_spans_is_stored_whole(server: Server) -> None:
    spans = [a_span(span_id=place.to_bytes(8)) for place in range(1, 10_001)]

    answer = server.post("/v1/traces", zipped(span_request(*spans).SerializeToString()), PROTOBUF, GZIP)

    assert (200, b"") == (answer.status_code, answer.content)
    assert 10_000 == server.metric("stored_total", signal="traces")


# --- partial success ---------------------------------------------------------------------------------------------------------------------


# R019
def test_a_bad_span_costs_its_neighbours_nothing(server: Server) -> None:
    good, bad = a_span(), a_span(span_id=b"short")

    answer = server.post("/v1/traces", span_request(bad, good).SerializeToString(), PROTOBUF)

    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (200, 1) == (answer.status_code, partial.rejected_spans)
    assert "spanId" in partial.error_message
    assert 1 == server.metric("stored_total", signal="traces")


def test_in_json_the_count_of_refused_spans_is_text(shared: Server) -> None:
    body = as_json(span_request(a_span(), a_span(trace_id=bytes(16))))

    answer = shared.post("/v1/traces", json.dumps(body), JSON)

    partial = answer.json()["partialSuccess"]
    assert (200, "1") == (answer.status_code, partial["rejectedSpans"])


def test_ten_thousand_refused_spans_are_answered_in_a_few_words(shared: Server) -> None:
    spans = [a_span(span_id=b"") for _ in range(10_000)]

    answer = shared.post("/v1/traces", span_request(*spans).SerializeToString(), PROTOBUF)

    assert 10_000 == ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans
    assert len(answer.content) < 2000


def test_what_the_store_refuses_costs_its_neighbours_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = spans_named("a", "b", REFUSED_NAME, "c", "d")

    with fragile_server(tmp_path, monkeypatch) as (server, _):
        answer = server.post("/v1/traces", body, PROTOBUF)
        stored = server.metric("stored_total", signal="traces")

    assert 1 == ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans
    assert 4 == stored


# --- errors ------------------------------------------------------------------------------------------------------------------------------


# R015 R019
@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (full_traces().SerializeToString()[:-7], PROTOBUF),
        (b"\xff" * 40, PROTOBUF),
        (b"", JSON),
        (b'{"resourceSpans": [', JSON),
        (b"[]", JSON),
        (b'{"resourceSpans": 7, "resourceLogs": 7, "resourceMetrics": 7}', JSON),
        (b"[" * 100_000, JSON),
        (b"\x00\x01", PROTOBUF | GZIP),
        (zipped(TRACES)[:-9], PROTOBUF | GZIP),
        (zipped(TRACES)[:-8] + bytes(8), PROTOBUF | GZIP),
        (zipped(TRACES) + b"more", PROTOBUF | GZIP),
        (b"", JSON | GZIP),
    ],
    ids=[
        "cut",
        "random",
        "no json",
        "half json",
        "a list",
        "wrong types",
        "deep",
        "no gzip",
        "cut gzip",
        "bad sum",
        "gzip and more",
        "no gzip json",
    ],
)
def test_what_cannot_be_read_is_400(shared: Server, signal: str, body: bytes, headers: dict[str, str]) -> None:
    answer = shared.post(f"/v1/{signal}", body, headers)

    assert (400, headers["Content-Type"]) == (answer.status_code, answer.headers["content-type"])
    assert 3 == status_of(answer).code
    assert status_of(answer).message


# R019
@pytest.mark.parametrize("headers", [PROTOBUF, JSON])
@pytest.mark.parametrize("path", WRONG_PATHS)
def test_a_wrong_path_is_404_and_says_the_right_one(shared: Server, path: str, headers: dict[str, str]) -> None:
    answer = shared.post(path, TRACES, headers)

    assert (404, headers["Content-Type"]) == (answer.status_code, answer.headers["content-type"])
    assert "/v1/traces" in status_of(answer).message


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_another_method_is_405_and_says_which_one(shared: Server, method: str) -> None:
    answer = shared.client.request(method, "/v1/traces", headers=PROTOBUF)

    assert (405, "POST") == (answer.status_code, answer.headers["allow"])


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}, {"Content-Type": "application/grpc"}])
def test_another_media_type_is_415(shared: Server, headers: dict[str, str]) -> None:
    answer = shared.post("/v1/traces", TRACES, headers)

    assert 415 == answer.status_code
    assert "application/x-protobuf" in status_of(answer).message


def test_an_unknown_encoding_is_415_in_the_encoding_of_the_request(shared: Server) -> None:
    answer = shared.post("/v1/traces", TRACES, PROTOBUF, {"Content-Encoding": "zstd"})

    assert (415, "application/x-protobuf") == (answer.status_code, answer.headers["content-type"])
    assert "gzip" in status_of(answer).message


# R142
@pytest.mark.parametrize("headers", [PROTOBUF, JSON])
def test_without_a_key_it_is_401_before_the_body_is_read(headers: dict[str, str]) -> None:
    with running(server_api_keys=("k",)) as server, unfinished(server, headers["Content-Type"], b"x", length=1000) as sender:
        answer = read_answer(sender)

    assert (401, headers["Content-Type"], "Bearer") == (
        answer.status_code,
        answer.headers["content-type"],
        answer.headers["www-authenticate"],
    )
    assert 16 == status_of(answer).code
