"""What OTLP senders are answered: partial success, and google.rpc.Status for errors, in the encoding of their request."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import NamedTuple

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # googleapis-common-protos has stubs but no py.typed
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collector.otlp.parse import Encoding
from collector.verdict import Verdict
from otel_bridge.facts import harmless

# An answer may have 4 MiB; nobody reads more than this.
MAX_MESSAGE_CHARS = 1000

METRICS_NOT_STORED = "metrics are not stored here: set OTEL_METRICS_EXPORTER=none"


class Signal(StrEnum):
    """What a request is about."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"


class _Words(NamedTuple):
    """An answer's type, and what its count of refused records is called in protobuf, JSON and English."""

    response: type[Message]
    field: str
    key: str
    records: str


_WORDS = {
    Signal.TRACES: _Words(ExportTraceServiceResponse, "rejected_spans", "rejectedSpans", "spans"),
    Signal.LOGS: _Words(ExportLogsServiceResponse, "rejected_log_records", "rejectedLogRecords", "log records"),
    Signal.METRICS: _Words(ExportMetricsServiceResponse, "rejected_data_points", "rejectedDataPoints", "data points"),
}


def encode_response(signal: Signal, encoding: Encoding, verdict: Verdict) -> bytes:
    """Return the body of a 200: empty (protobuf) or `{}` if nothing is to be said, else how many were refused and the first reason."""
    return _partial_success(_WORDS[signal], encoding, len(verdict.refused), _message(_WORDS[signal], verdict))


def encode_status(code: int, message: str, encoding: Encoding) -> bytes:
    """Return the body of an error: a google.rpc.Status. code: a google.rpc.Code, not the HTTP status."""
    text = harmless(message[:MAX_MESSAGE_CHARS])
    if encoding is Encoding.PROTOBUF:
        return bytes(Status(code=code, message=text).SerializeToString())
    return _json({"code": code, "message": text, "details": []})


def _message(words: _Words, verdict: Verdict) -> str:
    if not verdict.refused:
        return verdict.warning
    first = verdict.refused[0]
    where = f", number {first.place} of the request" if first.place >= 0 else ""  # a storage that refuses a row does not know its place
    found = f"{len(verdict.refused)} {words.records} refused; the first{where}: {first.reason}"
    return f"{found}. {verdict.warning}" if verdict.warning else found


def _partial_success(words: _Words, encoding: Encoding, rejected: int, message: str) -> bytes:
    """Full success leaves partial_success unset, as the specification demands: an empty one reads as a failure to some."""
    text = harmless(message[:MAX_MESSAGE_CHARS])
    if encoding is Encoding.JSON:
        return _json({"partialSuccess": {words.key: str(rejected), "errorMessage": text}} if rejected or text else {})
    if not rejected and not text:
        return b""
    return words.response(partial_success={words.field: rejected, "error_message": text}).SerializeToString()


def _json(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()
