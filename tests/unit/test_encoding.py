"""Finished spans and log records become parcels: by worth, in pieces that a server takes, and one that cannot be encoded spoils no other."""

from __future__ import annotations

import gzip
import struct

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_bridge.encoding import MOST_RECORDS, Encoder
from otel_bridge.facts import RANK_OTLP, LogLine, Scope, SpanEnd
from otel_bridge.parcels import LOGS_PATH, TRACES_PATH, Parcel
from otel_bridge.worth import Worth


def span(number: int, start_ns: int = 1) -> SpanEnd:
    return SpanEnd(bytes(15) + b"1", number.to_bytes(8, "big"), 2, RANK_OTLP, start_ns=start_ns, name=str(number))


def line(text: str) -> LogLine:
    return LogLine(b"", b"", 1, text)


def records_in(parcel: Parcel) -> list[str]:
    """Return the names of the spans, or the texts of the log records, of a parcel."""
    body = gzip.decompress(parcel.body)
    if parcel.path == TRACES_PATH:
        spans = ExportTraceServiceRequest.FromString(body).resource_spans
        return [one.name for resource in spans for scope in resource.scope_spans for one in scope.spans]
    logs = ExportLogsServiceRequest.FromString(body).resource_logs
    return [one.body.string_value for resource in logs for scope in resource.scope_logs for one in scope.log_records]


def test_records_go_by_their_worth_and_starts_before_ends() -> None:
    encoder = Encoder()
    encoder.add_span(span(1), Worth.END)
    encoder.add_span(span(2), Worth.SPAN)
    for text, worth in (("start", Worth.START), ("line", Worth.LINE), ("another", Worth.LINE)):
        encoder.add_record(line(text), worth)

    parcels = list(encoder.take_parcels())

    assert [
        (LOGS_PATH, Worth.LINE, 2, ["line", "another"]),
        (LOGS_PATH, Worth.START, 1, ["start"]),
        (TRACES_PATH, Worth.SPAN, 1, ["2"]),
        (TRACES_PATH, Worth.END, 1, ["1"]),
    ] == [(parcel.path, parcel.worth, parcel.records, records_in(parcel)) for parcel in parcels]
    assert [] == list(encoder.take_parcels())


def test_many_records_are_several_requests() -> None:
    encoder = Encoder()
    for number in range(1, 2 * MOST_RECORDS + 2):
        encoder.add_span(span(number), Worth.END)

    parcels = list(encoder.take_parcels())

    assert [MOST_RECORDS, MOST_RECORDS, 1] == [parcel.records for parcel in parcels]
    assert [str(number) for number in range(1, 2 * MOST_RECORDS + 2)] == [name for parcel in parcels for name in records_in(parcel)]


def test_a_record_that_cannot_be_encoded_is_refused_and_spoils_no_other() -> None:
    encoder = Encoder()
    encoder.add_span(span(1), Worth.END)
    with pytest.raises(struct.error):
        encoder.add_span(span(2, start_ns=-1), Worth.END)
    encoder.add_span(span(3), Worth.END)

    parcels = list(encoder.take_parcels())

    assert ["1", "3"] == [name for parcel in parcels for name in records_in(parcel)]


def test_a_library_of_an_odd_name_costs_its_own_spans_only() -> None:
    encoder, odd = Encoder(), span(2)
    odd.scope = Scope("lib", version=1.0)  # type: ignore[arg-type]  # as programs do
    encoder.add_span(span(1), Worth.END)
    with pytest.raises(AttributeError):
        encoder.add_span(odd, Worth.END)

    (parcel,) = encoder.take_parcels()

    assert ["1"] == records_in(parcel)


def test_the_same_records_are_the_same_bytes() -> None:
    first, second = Encoder(), Encoder()
    for encoder in (first, second):
        encoder.add_span(span(1), Worth.END)

    assert list(first.take_parcels()) == list(second.take_parcels())


def test_a_sign_of_life_is_marked_as_one() -> None:
    encoder = Encoder()
    encoder.add_record(line("beat"), Worth.START)

    beat = encoder.take_beat()

    assert beat is not None and (True, 1, LOGS_PATH) == (beat.is_beat, beat.records, beat.path)
    assert encoder.take_beat() is None


def test_where_nobody_wants_parcels_nothing_is_kept_for_them() -> None:
    encoder = Encoder(is_wanted=False)
    encoder.add_span(span(1), Worth.END)
    encoder.add_record(line("a line"), Worth.LINE)

    assert ([], None) == (list(encoder.take_parcels()), encoder.take_beat())
