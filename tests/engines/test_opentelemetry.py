"""Programs that use OpenTelemetry already: they are seen live, and what their own endpoints get is what those got before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.engines.programs import ENGINES, Programs, runs_of, states_of
from tests.otlp_recorder import recording
from tests.servers import Server

NO_EXPORTERS = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
INSTRUMENT = str(ENGINES / "bin" / "opentelemetry-instrument")

# A program with its own provider and exporter, that also runs a flow.
TRACED = """
    import sys
    from auto_workflow import flow, task
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(sys.argv[1] + "/v1/traces")))
    if sys.argv[2:]:
        from otel_bridge import LiveSpanProcessor
        provider.add_span_processor(LiveSpanProcessor(min_age_s=0.001))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("app")

    @task
    def asks():
        with tracer.start_as_current_span("GET", attributes={"a": 1}) as span:
            span.add_event("sent", {"bytes": 3})
            with tracer.start_as_current_span("connect", kind=trace.SpanKind.CLIENT):
                return 1

    @flow
    def traced(): return asks()

    with tracer.start_as_current_span("main"):
        assert traced.run() == 1
    provider.shutdown()
"""


# R169
def test_a_program_under_opentelemetry_instrument_is_seen_while_it_runs(server: Server, programs: Programs) -> None:
    code = """
        import sys
        from opentelemetry import trace

        tracer = trace.get_tracer("app")
        with tracer.start_as_current_span("outer"):
            with tracer.start_as_current_span("short"):
                pass
            with tracer.start_as_current_span("waits"):
                sys.stdin.readline()
        """
    traces = "/api/v1/runs?kind=trace&limit=50"
    with programs.running(code, through=(INSTRUMENT,), OTEL_SERVICE_NAME="instrumented", **NO_EXPORTERS) as program:
        found = server.wait_for(traces, lambda answer: any(run["counts"] for run in _of(answer, "instrumented:outer")))
        (run,) = _of(found, "instrumented:outer")
        server.wait_for(f"/api/v1/runs/{run['run_id']}/tasks", lambda answer: _names(answer) == {"short": "SUCCEEDED", "waits": "RUNNING"})
        program.communicate("go on\n", timeout=60)

    ended = server.wait_for(f"/api/v1/runs/{run['run_id']}", lambda answer: answer["finished_at"] is not None)
    assert ("RUNNING", "SUCCEEDED") == (run["status"], ended["status"])


# R169
def test_what_other_endpoints_get_is_the_same_with_and_without_the_bridge(server: Server, programs: Programs) -> None:
    with recording() as alone, recording() as watched:
        programs.run(TRACED, arguments=(alone.url,), FLOWSPAN_URL="", PYTHONPATH="")
        programs.run(TRACED, arguments=(watched.url, "live"))

    assert 3 == len(alone.spans())
    assert _told(alone.spans()) == _told(watched.spans())
    assert ["/v1/traces"] == sorted({*alone.paths, *watched.paths})
    assert [] == watched.spans(of_bridge=True)
    (run,) = runs_of(server, "traced")
    main = watched.spans()[0]
    placed = {span["name"]: _attributes(span) for span in _spans_of(server, main.trace_id.hex())}
    assert {"main", "GET", "connect"} == placed.keys()
    assert [run["run_id"]] * 2 == [placed[name]["cicd.pipeline.run.id"] for name in ("GET", "connect")]
    assert ("asks:1", "cicd.pipeline.run.id" in placed["main"]) == (placed["GET"]["flowspan.node"], False)
    assert {"asks:1": "SUCCEEDED"} == states_of(server, run)
    (root,) = (span for trace_id in run["trace_ids"] for span in _spans_of(server, trace_id) if span["name"] == "traced")
    assert [main.span_id.hex()] == [link["spanId"] for link in root["links"]]


# R159 R169
@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_ENDPOINT", "FLOWSPAN_BRIDGE_ALSO"])
def test_runs_go_to_other_endpoints_too_when_they_have_ended(server: Server, programs: Programs, variable: str) -> None:
    code = f"""
        from auto_workflow import flow, task

        @task(retries=1)
        def flaky():
            import logging
            logging.getLogger().warning("trying")
            if not tried:
                tried.append(1)
                raise OSError("try again")
            raise ValueError("no")

        tried = []

        @flow
        def beside_{variable.lower()}(): return flaky()

        try:
            beside_{variable.lower()}.run()
        except Exception:
            pass
        """
    with recording() as other:
        programs.run(code, fails=False, **{variable: other.url})

    (run,) = runs_of(server, f"beside_{variable.lower()}")
    task, root = sorted(other.spans(of_bridge=True), key=lambda span: span.name == run["flow_name"])
    assert (run["trace_ids"], root.span_id) == ([task.trace_id.hex()], task.parent_span_id)
    assert (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_INTERNAL, 2, 2) == (root.kind, task.kind, root.status.code, task.status.code)
    assert ["log", "flowspan.span.retried", "log", "exception"] == [event.name for event in task.events]
    assert "failure" == {pair.key: pair.value.string_value for pair in root.attributes}["cicd.pipeline.result"]
    assert {"/v1/traces"} == set(other.paths)


# R169
def test_a_sampler_of_the_environment_decides_for_whole_runs(server: Server, programs: Programs) -> None:
    code = """
        from auto_workflow import flow, task

        @task
        def one(): return 1

        @flow
        def sampled(): return one()

        @flow
        def last(): return one()

        import os
        sampled.run()
        """
    with recording() as other:
        programs.run(code, OTEL_TRACES_SAMPLER="always_off", OTEL_EXPORTER_OTLP_ENDPOINT=other.url)
        programs.run(code, OTEL_TRACES_SAMPLER="always_on", OTEL_EXPORTER_OTLP_ENDPOINT=other.url)

    assert (1, 2) == (len(runs_of(server, "sampled")), len(other.spans(of_bridge=True)))


# R013 R169
def test_what_a_program_leaves_open_when_it_ends_is_lost_at_once(server: Server, programs: Programs) -> None:
    programs.run(
        """
        import threading
        from opentelemetry.sdk.trace import TracerProvider
        from otel_bridge import LiveSpanProcessor, flush, task, run

        provider = TracerProvider()
        provider.add_span_processor(LiveSpanProcessor(min_age_s=0))
        left_open = provider.get_tracer("app").start_span("left open")

        def never_ends():
            with run("unended"), task("waits"):
                inside.set()
                threading.Event().wait()

        inside = threading.Event()
        threading.Thread(target=never_ends, daemon=True).start()
        inside.wait()
        flush()
        """,
        OTEL_SERVICE_NAME="ended",
    )

    everything = "/api/v1/runs?kind=all&limit=200"
    found = server.wait_for(everything, lambda answer: {"unended", "left open"} <= {run["flow_name"] for run in answer["items"]})["items"]
    lost = {run["flow_name"]: (run["status"], (run["hint"] or {}).get("reason")) for run in found}
    assert {("RUNNING", "its process ended and did not say how the run did")} == {lost["unended"], lost["left open"]}


def _spans_of(server: Server, trace_id: str) -> list[dict[str, Any]]:
    trace = server.get_json(f"/api/v1/traces/{trace_id}")
    return [span for one in trace["resourceSpans"] for scope in one["scopeSpans"] for span in scope["spans"]]


def _of(answer: Any, flow_key: str) -> list[dict[str, Any]]:
    return [run for run in answer["items"] if run["flow_key"] == flow_key]


def _names(answer: Any) -> dict[str, str]:
    return {task["task_name"]: task["status"] for task in answer["items"]}


def _attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {pair["key"]: next(iter(pair["value"].values())) for pair in span.get("attributes", [])}


def _told(spans: Sequence[Span]) -> list[tuple[Any, ...]]:
    """Return all that spans say, but for what differs from run to run: ids by their place, and no times."""
    places = {span.span_id: place for place, span in enumerate(spans)}
    traces = {trace_id: place for place, trace_id in enumerate(dict.fromkeys(span.trace_id for span in spans))}
    return [
        (
            span.name,
            span.kind,
            traces[span.trace_id],
            places.get(span.parent_span_id),
            span.flags,
            span.trace_state,
            [(pair.key, pair.value.SerializeToString()) for pair in span.attributes],
            [(event.name, len(event.attributes)) for event in span.events],
            len(span.links),
            span.status.code,
        )
        for span in spans
    ]
