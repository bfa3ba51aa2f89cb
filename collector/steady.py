"""Ready facts with steady ids and times, for tests: the same on every machine and in every year. Written for collector.testing."""

from __future__ import annotations

from collector.batch import Batch
from collector.rows import RowMaker
from otel_bridge import conventions as c
from otel_bridge.facts import RANK_OTLP, RANK_TIMED, Fact, LogLine, Resource, Scope, SpanEnd, SpanMoment, Work
from otel_bridge.identity import run_key, run_span_id, task_span_id

SECOND_NS = 10**9
# A Tuesday at noon, so that steady facts are hours away from a day's end.
T0_NS = 1_763_467_200 * SECOND_NS

SOURCE = c.DEFAULT_SOURCE


def at(seconds: float) -> int:
    """Return a steady time: so many seconds after T0_NS."""
    return T0_NS + round(seconds * SECOND_NS)


def batch_of(*facts: Fact, received_s: float = 0.0) -> Batch:
    """Return the rows of facts as one request received so many seconds after T0_NS."""
    return RowMaker(at(received_s)).add_all(facts)


def run_work(run_id: str, generation: int = 0) -> Work:
    """Return what names a run of the flow `etl`."""
    key = run_key(SOURCE, run_id, generation)
    return Work(SOURCE, run_id, generation, key, flow_key="etl", flow_name="etl", role=c.ROLE_RUN)


def task_work(run_id: str, node: str) -> Work:
    """Return what names a task run; the task is the node up to its last colon."""
    name = node.rpartition(":")[0] or node
    key = run_key(SOURCE, run_id)
    return Work(SOURCE, run_id, 0, key, task_key=name, task_name=name, node=node, attempt=0, role=c.ROLE_TASK)


def run_begun(run_id: str, seconds: float = 0.0, *, generation: int = 0) -> SpanMoment:
    """Return a run's beginning."""
    work = run_work(run_id, generation)
    return SpanMoment(work.run_key, run_span_id(work.run_key), c.BEGUN, at(seconds), RANK_TIMED, work, name="etl")


def run_ended(run_id: str, seconds: float, result: str = "", *, rank: int = RANK_TIMED) -> SpanEnd:
    """Return a run's end."""
    work = run_work(run_id)
    return SpanEnd(work.run_key, run_span_id(work.run_key), at(seconds), rank, work, result, name="etl")


def task_begun(run_id: str, node: str, seconds: float, *, rank: int = RANK_TIMED) -> SpanMoment:
    """Return a task run's beginning."""
    work = task_work(run_id, node)
    parent = run_span_id(work.run_key)
    return SpanMoment(work.run_key, task_span_id(work.run_key, node), c.BEGUN, at(seconds), rank, work, node, parent)


def task_ended(run_id: str, node: str, seconds: float, result: str = c.RESULT_SUCCESS, *, rank: int = RANK_TIMED) -> SpanEnd:
    """Return a task run's end."""
    work = task_work(run_id, node)
    parent = run_span_id(work.run_key)
    return SpanEnd(work.run_key, task_span_id(work.run_key, node), at(seconds), rank, work, result, parent_span_id=parent, name=node)


def log_line(run_id: str, text: str, seconds: float, node: str = "", severity: int = 9, *, event_id: str = "") -> LogLine:
    """Return a log line of a run or one of its task runs; with an event_id it has no time of its own."""
    work = task_work(run_id, node) if node else run_work(run_id)
    span_id = task_span_id(work.run_key, node) if node else run_span_id(work.run_key)
    time_ns = 0 if event_id else at(seconds)
    return LogLine(work.run_key, span_id, time_ns, text, work, at(seconds), severity, event_id=event_id)


def plain_span(trace: int, span: int, name: str, seconds: float, *, parent: int = 0) -> SpanEnd:
    """Return a finished span of a plain trace with a service; ids are these numbers."""
    trace_id, span_id = trace.to_bytes(16, "big"), span.to_bytes(8, "big")
    resource, scope = Resource({c.SERVICE_NAME: "shop"}), Scope("http", "1.0")
    root = Work(flow_key=f"shop:{name}", flow_name=name) if not parent else Work()
    parent_id = parent.to_bytes(8, "big") if parent else b""
    start_ns, end_ns = at(seconds), at(seconds + 1)
    return SpanEnd(trace_id, span_id, end_ns, RANK_OTLP, root, "", start_ns, parent_id, name=name, resource=resource, scope=scope)
