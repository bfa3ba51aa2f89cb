"""OTLP requests become rows: parse, read each record, interpret, make rows. A record that cannot be stored costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.dialects import Dialect, interpret
from collector.errors import TooLarge
from collector.otlp.log_records import LogReader
from collector.otlp.parse import Encoding, parse
from collector.otlp.spans import BadRecord, read_resource, read_scope, read_span
from collector.rows import RowMaker
from collector.verdict import Decoded, Refusal
from otel_bridge.facts import Fact, ProcessBeat, Resource, Scope, harmless

Record = TypeVar("Record", Span, LogRecord)

MAX_KEY_CHARS = 64
LARGEST_REQUEST = 100_000


def decode_traces(
    body: bytes,
    encoding: Encoding,
    dialects: Sequence[Dialect],
    received_ns: int,
    retention_days: int,
    max_records: int = LARGEST_REQUEST,
) -> Decoded:
    """Turn one ExportTraceServiceRequest into rows.

    body: uncompressed, at most settings.max_body_bytes. dialects: by order. A span with an end becomes a SpanEnd, one without a beginning.
    Raises Rejected if the body cannot be read: the sender must not resend it; TooLarge for more than max_records spans.
    A span that cannot be stored is counted in `refused`.
    Source: opentelemetry-proto docs/specification.md, Partial Success.
    """
    parsed = parse(ExportTraceServiceRequest(), body, encoding)
    _check_size(sum(len(group.spans) for envelope in parsed.message.resource_spans for group in envelope.scope_spans), max_records)
    rows = RowMaker(received_ns, retention_days=retention_days)
    decoded = _decode(_spans_of(parsed.message), read_span, parsed.refused, dialects, rows)
    decoded.warning = _nothing_found("spans", "resourceSpans", parsed.unknown_key) if not decoded.received else ""
    return decoded


def decode_logs(
    body: bytes,
    encoding: Encoding,
    dialects: Sequence[Dialect],
    received_ns: int,
    retention_days: int,
    max_records: int = LARGEST_REQUEST,
) -> Decoded:
    """Turn one ExportLogsServiceRequest into rows: lifecycle records into moments and signs of life, the others into log lines.

    Arguments and errors as in `decode_traces`.
    """
    parsed = parse(ExportLogsServiceRequest(), body, encoding)
    _check_size(sum(len(group.log_records) for envelope in parsed.message.resource_logs for group in envelope.scope_logs), max_records)
    rows = RowMaker(received_ns, retention_days=retention_days)
    decoded = _decode(_logs_of(parsed.message), LogReader(received_ns).read, parsed.refused, dialects, rows)
    decoded.warning = _nothing_found("log records", "resourceLogs", parsed.unknown_key) if not decoded.received else ""
    return decoded


def decode_metrics(body: bytes, encoding: Encoding) -> int:
    """Count the data points of one ExportMetricsServiceRequest; they are not stored. Raises Rejected if the body cannot be read."""
    request = parse(ExportMetricsServiceRequest(), body, encoding).message
    return sum(_points_of(metric) for envelope in request.resource_metrics for group in envelope.scope_metrics for metric in group.metrics)


def _check_size(records: int, max_records: int) -> None:
    """Before any row is made: one request is decoded at a time, and the others wait."""
    if records > max_records:
        raise TooLarge(f"{records} records in one request, this server takes {max_records}: send it in parts")


def _spans_of(request: ExportTraceServiceRequest) -> Iterator[tuple[Span, Resource, Scope]]:
    """A request's spans share their Resource and Scope objects: each is made rows of once."""
    for envelope in request.resource_spans:
        resource = read_resource(envelope.resource, envelope.schema_url)
        for group in envelope.scope_spans:
            scope = read_scope(group.scope, group.schema_url)
            for span in group.spans:
                yield span, resource, scope


def _logs_of(request: ExportLogsServiceRequest) -> Iterator[tuple[LogRecord, Resource, Scope]]:
    for envelope in request.resource_logs:
        resource = read_resource(envelope.resource, envelope.schema_url)
        for group in envelope.scope_logs:
            scope = read_scope(group.scope, group.schema_url)
            for record in group.log_records:
                yield record, resource, scope


def _decode(
    records: Iterable[tuple[Record, Resource, Scope]],
    read: Callable[[Record, Resource, Scope], Fact],
    unreadable: dict[int, str],
    dialects: Sequence[Dialect],
    rows: RowMaker,
) -> Decoded:
    decoded = Decoded(rows.batch, 0)
    for place, (record, resource, scope) in enumerate(records):
        decoded.received += 1
        if place in unreadable:
            decoded.refused.append(Refusal(place, unreadable[place]))
            continue
        try:
            fact = read(record, resource, scope)
        except BadRecord as error:
            decoded.refused.append(Refusal(place, str(error)))
            continue
        if not isinstance(fact, ProcessBeat):
            interpret(fact, dialects)
        rows.add(fact)
    return decoded


def _nothing_found(records: str, right_key: str, unknown_key: str) -> str:
    """Snake_case keys are unknown keys, and those must be ignored: without this word the data would vanish behind a 200."""
    if not unknown_key:
        return ""
    key = harmless(unknown_key[:MAX_KEY_CHARS])
    return f"no {records} found, but the unknown key {key!r}: keys must be lowerCamelCase, as in {right_key}"


def _points_of(metric: Metric) -> int:
    kind = metric.WhichOneof("data")
    return len(getattr(metric, kind).data_points) if kind else 0
