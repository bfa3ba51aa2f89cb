"""Reports a run with the OpenTelemetry SDK: spans, and log records for log lines and for beginnings, sent at once so that the run is seen live.

Run and task span ids are the SDK's own, random ones: which run and task a span is stands in its attributes (otel_bridge/conventions.py).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from otel_bridge import conventions as c
from otel_bridge.demo.pipeline import Line, Run, Task, Undelivered, describe
from otel_bridge.demo.planned_ids import PlannedIds
from otel_bridge.demo.server import Server

SCOPE = "flowspan.demo"
# How long records wait for company: well below what an eye notices.
GATHER_MS = 100

_SEVERITIES = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
}

# Which span: (node, attempt); ("", 0) is the run, attempt 0 the task run itself.
_Key = tuple[str, int]
_RUN: _Key = ("", 0)


@dataclass
class _Step:
    """A span of the run as far as it has come: announced (its ids are known), then begun (there is a span)."""

    name: str
    parent: SpanContext
    context: SpanContext = INVALID_SPAN_CONTEXT
    attributes: dict[str, Any] = field(default_factory=dict)
    kind: SpanKind = SpanKind.INTERNAL
    span: Span | None = None


class SdkReporter:
    """Tells one run in spans: the run is the root, tasks its children, attempts theirs."""

    def __init__(self, server: Server, run: Run) -> None:
        """Make providers of our own: a program that has global ones keeps them."""
        self._run = run
        self._steps: dict[_Key, _Step] = {}
        self._ids = PlannedIds()
        resource = Resource.create({c.SERVICE_NAME: run.flow, c.SERVICE_INSTANCE_ID: str(uuid4())})
        to, headers, gzip = server.url, dict(server.headers()), Compression.Gzip
        spans = OTLPSpanExporter(f"{to}/v1/traces", headers=headers, compression=gzip)
        logs = OTLPLogExporter(f"{to}/v1/logs", headers=headers, compression=gzip)
        self._spans = TracerProvider(resource=resource, id_generator=self._ids)
        self._spans.add_span_processor(BatchSpanProcessor(spans, schedule_delay_millis=GATHER_MS))
        self._logs = LoggerProvider(resource)
        self._logs.add_log_record_processor(BatchLogRecordProcessor(logs, schedule_delay_millis=GATHER_MS))
        self._tracer = self._spans.get_tracer(SCOPE)
        self._logger = self._logs.get_logger(SCOPE)

    def run_began(self, at_ns: int) -> None:
        """Begin the root span."""
        run = self._run
        step = _Step(run.flow, INVALID_SPAN_CONTEXT, kind=SpanKind.SERVER)
        step.attributes = {
            **self._names(),
            c.ROLE: c.ROLE_RUN,
            c.PARAMS: run.params,
            c.TAGS: run.tags,
            c.TASKS_DECLARED: len(run.tasks),
            "deployment.environment.name": run.environment,
        }
        self._steps[_RUN] = step
        self._begin(step, at_ns)

    def task_announced(self, task: Task, at_ns: int) -> None:
        """Choose the task's span id and say that it will come; without more, there will be no span."""
        root = self._steps[_RUN].context
        context = SpanContext(root.trace_id, self._ids.plan(), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
        attributes = {**self._names(), **_task_names(task), c.ROLE: c.ROLE_TASK, c.UPSTREAM: task.upstream}
        if task.description:
            attributes[c.TASK_DESCRIPTION] = task.description
        step = self._steps[task.node, 0] = _Step(task.name, root, context, attributes)
        self._tell(step, c.ANNOUNCED, at_ns)

    def task_queued(self, task: Task, at_ns: int) -> None:
        """Say that the task waits for a worker."""
        self._tell(self._steps[task.node, 0], c.QUEUED, at_ns)

    def task_began(self, task: Task, at_ns: int) -> None:
        """Begin the task's span."""
        self._begin(self._steps[task.node, 0], at_ns)

    def attempt_began(self, task: Task, number: int, at_ns: int) -> None:
        """Begin a child span for the attempt."""
        attributes = {**self._names(), **_task_names(task), c.ROLE: c.ROLE_ATTEMPT, c.ATTEMPT: number, c.ATTEMPT_MAX: task.tries}
        step = _Step(f"{task.name} attempt {number}", self._steps[task.node, 0].context, attributes=attributes)
        self._steps[task.node, number] = step
        self._begin(step, at_ns)

    def attempt_ended(self, task: Task, number: int, error: Exception | None, at_ns: int) -> None:
        """End the attempt's span; the result says whether another attempt follows."""
        result = c.RESULT_RETRY if task.is_retried(number, error) else _result(error)
        _end(self._steps[task.node, number], {c.TASK_RUN_RESULT: result}, error, at_ns, with_exception=True)

    def task_logged(self, task: Task, line: Line, at_ns: int) -> None:
        """Send the line as a log record of the task's span."""
        self._logger.emit(
            timestamp=at_ns,
            context=_inside(self._steps[task.node, 0].context),
            severity_number=_SEVERITIES[line.level],
            severity_text=logging.getLevelName(line.level),
            body=line.message,
        )

    def task_ended(self, task: Task, error: Exception | None, at_ns: int) -> None:
        """End the task's span. Its exception stands on the last attempt, if attempts have spans."""
        _end(self._steps[task.node, 0], {c.TASK_RUN_RESULT: _result(error)}, error, at_ns, with_exception=task.tries == 1)

    def run_ended(self, error: Exception | None, at_ns: int) -> None:
        """End the root span."""
        _end(self._steps[_RUN], {c.PIPELINE_RESULT: _result(error)}, error, at_ns, with_exception=False)

    def flush(self) -> None:
        """Export what waits. An export that fails is the SDK's to log; it raises nothing."""
        if not (self._logs.force_flush() and self._spans.force_flush()):
            raise Undelivered("the OpenTelemetry SDK could not send everything")

    def close(self) -> None:
        """Export what waits and stop the providers."""
        self.flush()
        self._logs.shutdown()
        self._spans.shutdown()

    def _names(self) -> dict[str, Any]:
        return {c.PIPELINE_NAME: self._run.flow, c.PIPELINE_RUN_ID: self._run.run_id}

    def _begin(self, step: _Step, at_ns: int) -> None:
        with self._ids.next_is(step.context.span_id):
            step.span = self._tracer.start_span(
                step.name, context=_inside(step.parent), kind=step.kind, attributes=step.attributes, start_time=at_ns
            )
        step.context = step.span.get_span_context()
        self._tell(step, c.BEGUN, at_ns)

    def _tell(self, step: _Step, kind: str, at_ns: int) -> None:
        """Say by a log record, at once, what the exporter would say of the span only when it has ended."""
        attributes = {**step.attributes, c.SPAN_NAME: step.name}
        if step.parent.is_valid:
            attributes[c.SPAN_PARENT_ID] = f"{step.parent.span_id:016x}"
        if step.span is not None:
            attributes[c.SPAN_START_NS] = at_ns
        self._logger.emit(
            timestamp=at_ns,
            context=_inside(step.context),
            severity_number=SeverityNumber.INFO,
            event_name=c.SPAN_EVENT_PREFIX + kind,
            attributes=attributes,
        )


def _task_names(task: Task) -> dict[str, Any]:
    return {c.TASK_NAME: task.name, c.TASK_RUN_ID: task.node}


def _result(error: Exception | None) -> str:
    return c.RESULT_SUCCESS if error is None else c.RESULT_FAILURE


def _inside(context: SpanContext) -> Context:
    return set_span_in_context(NonRecordingSpan(context), Context())


def _end(step: _Step, result: dict[str, str], error: Exception | None, at_ns: int, *, with_exception: bool) -> None:
    span = step.span
    if span is None:
        return
    span.set_attributes(result)
    if error is not None:
        span.set_attribute(c.ERROR_TYPE, type(error).__name__)
        span.set_status(Status(StatusCode.ERROR, describe(error)))
        if with_exception:
            span.record_exception(error, timestamp=at_ns)
    span.end(at_ns)
