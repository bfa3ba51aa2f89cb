"""Spans and log records that are odd in every way OTLP allows: kept, or refused alone."""

from __future__ import annotations

import json

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.in_process import GZIP, JSON, PROTOBUF, Server, zipped
from tests.otlp_bodies import START_NS, a_span, as_json, log_request, pairs, span_request
from tests.standing import assert_stands, nested

LAST_NS = 2**64 - 1

ODD_SPANS = {
    "no ids": a_span(trace_id=b"", span_id=b""),
    "zero ids": a_span(trace_id=bytes(16), span_id=bytes(8)),
    "long ids": a_span(trace_id=bytes(range(32)), span_id=bytes(range(16))),
    "last time": a_span(start_time_unix_nano=LAST_NS, end_time_unix_nano=LAST_NS),
    "beyond int64": a_span(start_time_unix_nano=2**63, end_time_unix_nano=2**63),
}
ODD_BUT_USABLE = {
    "last usable time": a_span(trace_id=b"1" * 16, start_time_unix_nano=2**63 - 1, end_time_unix_nano=2**63 - 1),
    "no times": a_span(trace_id=b"2" * 16, start_time_unix_nano=0, end_time_unix_nano=0),
    "end before start": a_span(trace_id=b"3" * 16, start_time_unix_nano=START_NS, end_time_unix_nano=START_NS - 10**9),
    "odd parent": a_span(trace_id=b"4" * 16, parent_span_id=b"odd"),
    "own parent": a_span(trace_id=b"5" * 16, parent_span_id=a_span().span_id),
    "twin keys": a_span(trace_id=b"6" * 16, attributes=[*pairs({"a": 1}), *pairs({"a": 2}), *pairs({"": 3})]),
    "unknown kinds": a_span(trace_id=b"7" * 16, kind=99, status=Status(code=77), flags=2**32 - 1),  # type: ignore[arg-type]  # open enums
    "deep value": a_span(trace_id=b"8" * 16, attributes=pairs({"deep": nested(40)})),
    "five megabytes": a_span(trace_id=b"9" * 16, name="n" * 5_000_000, attributes=pairs({"v": "v" * 5_000_000})),
    "odd link": a_span(trace_id=b"a" * 16, links=[Span.Link(trace_id=b"odd", span_id=b"odd"), Span.Link()]),
    "odd event": a_span(trace_id=b"b" * 16, events=[Span.Event(time_unix_nano=LAST_NS), Span.Event()]),
    "first second": a_span(trace_id=b"c" * 16, start_time_unix_nano=1, end_time_unix_nano=2),
    "odd result": a_span(
        trace_id=b"d" * 16, attributes=pairs({"cicd.pipeline.run.id": 7, "cicd.pipeline.result": [1], "flowspan.attempt": "x"})
    ),
    "odd process": a_span(trace_id=b"e" * 16, end_time_unix_nano=0),
}


# R015
@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_a_span_that_cannot_be_stored_costs_its_neighbours_nothing(server: Server, encoding: str) -> None:
    request = span_request(*ODD_SPANS.values(), *ODD_BUT_USABLE.values())
    body, kind = (request.SerializeToString(), PROTOBUF) if encoding == "protobuf" else (json.dumps(as_json(request)), JSON)

    answer = server.post("/v1/traces", zipped(body), kind, GZIP)

    assert 200 == answer.status_code
    assert len(ODD_BUT_USABLE) == server.metric("stored_total", signal="traces")
    assert len(ODD_SPANS) == server.metric("refused_total", signal="traces", reason="record")
    assert_stands(server)


# R015 R021
def test_an_odd_log_record_is_kept(server: Server) -> None:
    records = [
        LogRecord(),
        LogRecord(trace_id=b"odd", span_id=b"odd", severity_number=99),  # type: ignore[arg-type]  # open enums
        LogRecord(time_unix_nano=LAST_NS, observed_time_unix_nano=LAST_NS, trace_id=b"t" * 16),
        LogRecord(severity_text="\0", event_name="\0", trace_id=b"t" * 16),
        LogRecord(trace_id=b"t" * 16, span_id=b"s" * 8, attributes=pairs({"deep": nested(40), "\0": float("nan")})),
    ]

    answer = server.post("/v1/logs", log_request(*records).SerializeToString(), PROTOBUF)

    assert (200, b"") == (answer.status_code, answer.content)
    assert 5 == server.metric("stored_total", signal="logs")
    assert_stands(server)
