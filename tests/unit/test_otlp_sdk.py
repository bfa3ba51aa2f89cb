"""The official SDK's exporter and hand-made JSON send the same run; both doors of the wire lead to the same rows."""

from __future__ import annotations

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, set_span_in_context

from collector.otlp import encode_trace
from collector.verdict import Decoded
from otel_bridge.facts import RANK_OTLP
from otel_bridge.identity import run_key
from tests.otlp_bodies import END_NS, SPAN_ID, START_NS, TRACE_ID, as_read, logs, traces
from tests.steady_ids import SteadyIds


def _sdk_request() -> ExportTraceServiceRequest:
    """Return what the SDK's exporter puts on the wire for a run with one task."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(id_generator=SteadyIds(TRACE_ID), resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
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
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's, not ours
    provider = LoggerProvider(resource=Resource({"service.name": "shop", "service.instance.id": "p1"}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("lib")
    logger.emit(body="hello", timestamp=START_NS, severity_text="INFO", attributes={"cicd.pipeline.run.id": "r1"})
    context = set_span_in_context(NonRecordingSpan(SpanContext(int.from_bytes(TRACE_ID), int.from_bytes(SPAN_ID), is_remote=False)))
    logger.emit(timestamp=START_NS, context=context, event_name="flowspan.span.begun", attributes={"flowspan.span.name": "load"})

    decoded = logs(encode_logs(exporter.get_finished_logs()))

    assert ('"hello"', run_key("flowspan", "r1")) == (decoded.batch.logs[0].body, decoded.batch.logs[0].run_key)
    assert (TRACE_ID, SPAN_ID, "begun", START_NS, "load", "p1") == _of_moment(decoded)


# R064
def test_what_the_sdk_sent_goes_out_and_comes_back_to_the_same_rows() -> None:
    batch = traces(_sdk_request()).batch

    document = encode_trace(as_read(batch))

    assert batch == traces(document).batch


def _of_moment(decoded: Decoded) -> tuple[object, ...]:
    (moment,) = decoded.batch.moments
    return (moment.trace_id, moment.span_id, moment.kind, moment.time_ns, moment.name, moment.process)
