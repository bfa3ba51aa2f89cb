"""What the recorder holds of what has begun and not ended, and what a finished span has of it."""

from __future__ import annotations

import gzip
import struct

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_bridge.encoding import Encoder
from otel_bridge.facts import Resource
from otel_bridge.lifecycle import facts_of
from otel_bridge.recorder import MOST_EVENTS, Recorder
from otel_bridge.worth import Worth


def ended_in(encoder: Encoder) -> Span:
    """Return the one span that has ended."""
    (ended,) = (parcel for parcel in encoder.take_parcels() if Worth.END == parcel.worth)
    (envelope,) = ExportTraceServiceRequest.FromString(gzip.decompress(ended.body)).resource_spans
    (span,) = envelope.scope_spans[0].spans
    return span


def test_with_its_run_a_task_run_whose_end_was_lost_is_forgotten() -> None:
    recorder, now_ns = Recorder(Encoder(), Resource()), 1_790_000_000_000_000_000
    told = [("one", "flow_started", {}), ("one", "task_started", {"task": "load", "node": "load:1"}), ("other", "flow_started", {})]
    for run_id, event, said in told:
        recorder.record(*facts_of({"event": event, "run_id": run_id, "flow": "nightly", **said}, now_ns))
    begun = recorder.open_spans

    recorder.record(*facts_of({"event": "flow_completed", "run_id": "one", "flow": "nightly"}, now_ns))

    assert (3, 1) == (begun, recorder.open_spans)


# R172
def test_with_its_run_nothing_stays_open_though_the_run_s_end_cannot_be_sent() -> None:
    recorder, now_ns = Recorder(Encoder(), Resource()), 1_790_000_000_000_000_000
    for event, said in (("flow_started", {}), ("task_started", {"task": "load", "node": "load:1"})):
        recorder.record(*facts_of({"event": event, "run_id": "one", "flow": "nightly", **said}, now_ns))

    with pytest.raises(struct.error):
        recorder.record(*facts_of({"event": "flow_completed", "run_id": "one", "flow": "nightly"}, -1))

    assert 0 == recorder.open_spans


# R169
def test_a_finished_span_keeps_as_many_lines_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "2")
    encoder, now_ns = Encoder(), 1_790_000_000_000_000_000
    recorder = Recorder(encoder, Resource())
    for event in ("flow_started", "flow_log", "flow_log", "flow_log", "flow_completed"):
        recorder.record(*facts_of({"event": event, "run_id": "one", "flow": "nightly", "message": "a line"}, now_ns))

    span = ended_in(encoder)

    assert (2, 1) == (len(span.events), span.dropped_events_count)


# R159
def test_a_finished_span_has_the_last_of_many_lines_and_says_how_many_more_there_were() -> None:
    encoder, now_ns = Encoder(), 1_790_000_000_000_000_000
    recorder = Recorder(encoder, Resource())
    names = {"run_id": "one", "flow": "nightly", "task": "load", "node": "load:1"}
    told = ["task_started", *["task_log"] * (MOST_EVENTS + 3), "task_ok"]
    for number, event in enumerate(told):
        recorder.record(*facts_of({"event": event, "message": f"line {number}", **names}, now_ns + number))

    span = ended_in(encoder)

    lines = [event.attributes[0].value.string_value for event in span.events]
    assert (MOST_EVENTS, 3, "line 4", f"line {MOST_EVENTS + 3}") == (len(lines), span.dropped_events_count, lines[0], lines[-1])
    assert (now_ns, now_ns + len(told) - 1) == (span.start_time_unix_nano, span.end_time_unix_nano)
