"""The official Python SDK and its exporters against the real server; and the same run written by hand as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.util.types import AnyValue

from tests.builders import at
from tests.fragile_storage import fragile_server
from tests.in_process import JSON, Server, eventually, running
from tests.steady_ids import SteadyIds

TRACE_ID = bytes(range(1, 17))
RESOURCE = {"service.name": "shop", "service.instance.id": "p1"}
RUN_NAMES = {"cicd.pipeline.run.id": "r1", "cicd.pipeline.name": "nightly"}
TASK_NAMES = {"cicd.pipeline.run.id": "r1", "cicd.pipeline.task.name": "load", "cicd.pipeline.task.run.id": "load:1"}


@dataclass
class Program:
    """A user's program: what it traces and logs is on its way when the `with` of `program` ends."""

    traces: TracerProvider
    logs: LoggerProvider

    @property
    def tracer(self) -> Tracer:
        return self.traces.get_tracer("lib", "1.2")


@contextmanager
def program(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """Configure the SDK as README says, by environment variables, with gzip."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    resource = Resource(RESOURCE)
    traces = TracerProvider(id_generator=SteadyIds(TRACE_ID), resource=resource, shutdown_on_exit=False)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    try:
        yield Program(traces, logs)
    finally:
        traces.shutdown()
        logs.shutdown()


def run_nightly(one: Program) -> None:
    """Trace a run with one task that fails, begun by a lifecycle record, and a line of its log."""
    tracer, logger = one.tracer, one.logs.get_logger("lib", "1.2")
    run = tracer.start_span("nightly", attributes=RUN_NAMES, start_time=at(0), kind=SpanKind.SERVER)
    task = tracer.start_span("load", set_span_in_context(run), attributes=TASK_NAMES | {"share": 1.0, "rows": 2**60}, start_time=at(1))
    inside = set_span_in_context(task)
    begun: dict[str, AnyValue] = {
        **TASK_NAMES,
        "flowspan.span.name": "load",
        "flowspan.span.start_ns": at(1),
        "flowspan.span.parent_id": "00000000000000a1",
    }
    logger.emit(timestamp=at(1), observed_timestamp=at(1), context=inside, event_name="flowspan.span.begun", attributes=begun)
    logger.emit(timestamp=at(2), observed_timestamp=at(3), context=inside, body="half way", severity_text="WARN", attributes={"n": [1, 2]})
    task.add_event("exception", {"exception.type": "OSError", "exception.message": "gone"}, timestamp=at(4))
    task.set_status(StatusCode.ERROR, "gone")
    task.end(at(5))
    run.end(at(6))


def text(value: str) -> dict[str, str]:
    return {"stringValue": value}


def pairs(texts: dict[str, str], **others: dict[str, Any]) -> list[dict[str, Any]]:
    values = {key: text(value) for key, value in texts.items()} | {key.replace("__", "."): value for key, value in others.items()}
    return [{"key": key, "value": value} for key, value in values.items()]


def envelope(kind: str, records: str, *items: dict[str, Any]) -> str:
    scope = {"scope": {"name": "lib", "version": "1.2"}, records: items}
    return json.dumps({f"resource{kind}": [{"resource": {"attributes": pairs(RESOURCE)}, f"scope{kind}": [scope]}]})


RUN_SPAN = {
    "traceId": TRACE_ID.hex(),
    "spanId": "00000000000000a1",
    "flags": 256,
    "name": "nightly",
    "kind": 2,
    "startTimeUnixNano": str(at(0)),
    "endTimeUnixNano": str(at(6)),
    "attributes": pairs(RUN_NAMES),
}
TASK_SPAN = {
    "traceId": TRACE_ID.hex().upper(),
    "spanId": "00000000000000A2",
    "parentSpanId": "00000000000000a1",
    "flags": 256,
    "name": "load",
    "kind": 1,
    "startTimeUnixNano": at(1),
    "endTimeUnixNano": at(5),
    "attributes": pairs(TASK_NAMES, share={"doubleValue": 1}, rows={"intValue": str(2**60)}),
    "events": [
        {
            "timeUnixNano": str(at(4)),
            "name": "exception",
            "attributes": pairs({"exception.type": "OSError", "exception.message": "gone"}),
        }
    ],
    "status": {"code": 2, "message": "gone"},
}
IN_TASK = {"traceId": TRACE_ID.hex(), "spanId": "00000000000000a2", "flags": 1}
BEGUN = IN_TASK | {
    "timeUnixNano": str(at(1)),
    "observedTimeUnixNano": str(at(1)),
    "eventName": "flowspan.span.begun",
    "attributes": pairs(
        TASK_NAMES | {"flowspan.span.name": "load"},
        flowspan__span__start_ns={"intValue": str(at(1))},
        flowspan__span__parent_id=text("00000000000000a1"),
    ),
}
LINE = IN_TASK | {
    "timeUnixNano": str(at(2)),
    "observedTimeUnixNano": at(3),
    "severityText": "WARN",
    "body": text("half way"),
    "attributes": pairs({}, n={"arrayValue": {"values": [{"intValue": 1}, {"intValue": "2"}]}}),
}


def facts_of(server: Server) -> list[str]:
    """Return every fact of the trace, but for the time it was received."""
    facts = asyncio.run(server.collector.reader.read_trace(TRACE_ID))
    spans = [str(row._replace(received_ns=0)) for row in facts.spans]
    moments = [str(row._replace(received_ns=0)) for row in facts.moments]
    return sorted([*spans, *moments, *(str(row._replace(received_ns=0)) for row in facts.logs)])


def senders_of(server: Server) -> object:
    """Return the resources and scopes of the trace."""
    facts = asyncio.run(server.collector.reader.read_trace(TRACE_ID))
    return facts.resources, facts.scopes


# R019 R021 R064 R193
def test_the_exporter_and_hand_made_json_send_the_same_run_to_equal_rows(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with program(server, monkeypatch) as one:
        run_nightly(one)
    with running() as other:
        other.post("/v1/traces", envelope("Spans", "spans", TASK_SPAN, RUN_SPAN), JSON)
        other.post("/v1/logs", envelope("Logs", "logRecords", BEGUN, LINE), JSON)
        by_hand, senders = facts_of(other), senders_of(other)

    assert 4 == len(by_hand)
    assert by_hand == facts_of(server)
    assert senders == senders_of(server)


# R020 R021
def test_a_traced_run_is_shown_with_its_task_its_error_and_its_log(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with program(server, monkeypatch) as one:
        run_nightly(one)

    run = server.json("/api/v1/runs/r1")
    (task,) = server.json("/api/v1/runs/r1/tasks")["items"]
    lines = server.json("/api/v1/runs/r1/logs")["items"]
    assert ("FAILED", "nightly", [TRACE_ID.hex()]) == (run["status"], run["flow_key"], run["trace_ids"])
    assert ("load:1", "FAILED", "OSError: gone", 4.0) == (task["id"], task["status"], task["error"], task["duration_ms"])
    (line,) = (one for one in lines if one["event"] != "exception")
    assert ("half way", "WARN", "load:1") == (line["message"], line["level"], line["task_node"])


# R021
def test_a_beginning_is_seen_before_any_span_has_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with program(server, monkeypatch) as one:
        logger = one.logs.get_logger("lib")
        task = one.tracer.start_span("load", attributes=TASK_NAMES)
        logger.emit(context=set_span_in_context(task), event_name="flowspan.span.begun", attributes=TASK_NAMES)
        one.logs.force_flush()
        status = server.json("/api/v1/runs/r1")["status"]
        (node,) = server.json("/api/v1/runs/r1/tasks")["items"]

    assert ("RUNNING", "RUNNING") == (status, node["status"])


# R024
def test_any_instrumented_program_is_shown_its_trace_is_a_run(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with program(server, monkeypatch) as one, one.tracer.start_as_current_span("checkout"), one.tracer.start_as_current_span("pay"):
        pass

    eventually(lambda: bool(server.json("/api/v1/runs")["items"]))

    (run,) = server.json("/api/v1/runs")["items"]
    (task,) = server.json(f"/api/v1/runs/{run['run_id']}/tasks")["items"]
    assert (TRACE_ID.hex(), "trace", "trace", "shop:checkout", "SUCCEEDED") == tuple(
        run[key] for key in ("run_id", "kind", "source", "flow_key", "status")
    )
    assert ("pay", "SUCCEEDED") == (task["task_name"], task["status"])


# R050 R193
def test_the_exporter_resends_after_503_and_nothing_is_lost_or_doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fragile_server(tmp_path, monkeypatch, retry_after_s=1) as (server, weather):
        weather.lost_answers = 2  # each is committed, and said to have failed
        with program(server, monkeypatch) as one:
            run_nightly(one)
        (task,) = server.json("/api/v1/runs/r1/tasks")["items"]
        lines = server.json("/api/v1/runs/r1/logs")["items"]
        refused = server.metric("http_requests_total", status="503")
        facts = facts_of(server)

    assert (2, 4, 4) == (refused, weather.writes, len(facts))
    assert ("FAILED", 1) == (task["status"], [line["message"] for line in lines].count("half way"))


# R022
def test_a_default_metrics_exporter_has_no_errors(server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
    provider = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], shutdown_on_exit=False)

    provider.get_meter("lib").create_counter("sold").add(1)
    provider.shutdown()

    assert 1 == server.metric("refused_total", signal="metrics", reason="record")
    assert not [line for line in caplog.records if line.name.startswith("opentelemetry")]


# R142 R193
def test_the_exporter_sends_the_key_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20k1")

    with running(server_api_keys=("k1",)) as server:
        with program(server, monkeypatch) as one:
            run_nightly(one)
        facts = facts_of(server)

    assert 4 == len(facts)
