"""Several OTLP/protobuf trace requests become columns in one call; a bad body fails alone, what columns cannot hold goes by rows."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import pyarrow as pa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector.errors import FlowspanError
from collector.otlp.columns.envelopes import Request, open_request
from collector.otlp.columns.spans import make_columns
from collector.otlp.columns.wire import NotColumnar
from collector.otlp.terms import TraceTerms
from collector.verdict import Decoded

log = logging.getLogger(__name__)

# ptars holds the GIL: 0.6 us a span of 240 bytes, so 5 ms here. Ten bodies of 512 spans in a call cost half of what one does, more gain
# nothing.
CALL_BYTES = 2 * 1024 * 1024


def decode_trace_columns(bodies: Sequence[bytes], received_ns: Sequence[int], terms: TraceTerms) -> list[Decoded | FlowspanError]:
    """Turn ExportTraceServiceRequests in protobuf into columns, as `decode_traces` turns each into rows.

    received_ns: one for each body. terms: those that allow columns. Returns for each body, in order, what it holds, its finished spans as
    columns, parts of those of its neighbours (as rows if only rows can hold them); or what `decode_traces` raises for it.
    """
    opened = [open_request(body, ns, terms.max_records) for body, ns in zip(bodies, received_ns, strict=True)]
    columnar = (decoded for call in _calls(request for request in opened if request is not None) for decoded in decode_call(call, terms))
    return [
        terms.decode_by_rows(body, ns) if request is None else next(columnar)
        for body, ns, request in zip(bodies, received_ns, opened, strict=True)
    ]


def warm_up(terms: TraceTerms) -> None:
    """Decode a small body, so that no sender waits for what the first call does: 11 ms, after 0.3 s of imports."""
    span = Span(trace_id=b"t" * 16, span_id=b"s" * 8, start_time_unix_nano=1, end_time_unix_nano=1)
    span.attributes.add(key="warm").value.double_value = 1.5
    span.events.add(name="up")
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.append(span)
    decode_trace_columns([request.SerializeToString()], [1], terms)


def _calls(requests: Iterator[Request]) -> Iterator[list[Request]]:
    """Yield as many requests at a time as CALL_BYTES allows."""
    call: list[Request] = []
    size_bytes = 0
    for request in requests:
        size_bytes += len(request.body)
        if call and size_bytes > CALL_BYTES:
            yield call
            call, size_bytes = [], len(request.body)
        call.append(request)
    if call:
        yield call


def decode_call(requests: Sequence[Request], terms: TraceTerms) -> Sequence[Decoded | FlowspanError]:
    """Decode all in one call if that goes, else each alone, else by rows."""
    try:
        return make_columns(requests, terms)
    except (NotColumnar, pa.ArrowException) as error:
        if len(requests) > 1:
            return [decoded for request in requests for decoded in decode_call([request], terms)]
        (request,) = requests
        log.warning("a sound traces body of %d bytes cannot be columns and goes by rows: %s", len(request.body), error)
        return [terms.decode_by_rows(request.body, request.received_ns)]
