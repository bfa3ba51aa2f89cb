"""Facts that belong together, for the contract: one run with everything, and runs inside foreign traces."""

from __future__ import annotations

from dataclasses import replace

from collector.steady import at, log_line, run_begun, run_ended, task_begun, task_ended
from otel_bridge import conventions as c
from otel_bridge.facts import RANK_TIMED, Fact, LogLine, SpanMoment, Work

# A foreign trace. The named run in it begins with this span.
TRACE = 7
RUN_SPAN = 9


def trace_id_of(trace: int) -> bytes:
    """Return the trace id steady.plain_span gives this number."""
    return trace.to_bytes(16, "big")


def span_id_of(span: int) -> bytes:
    """Return the span id steady.plain_span gives this number."""
    return span.to_bytes(8, "big")


def story() -> list[Fact]:
    """Return one run with everything: two tasks, one of which fails, lines, conflicting ends."""
    return [
        run_begun("r1", 0),
        task_begun("r1", "extract:1", 1),
        task_begun("r1", "load:1", 2),
        task_ended("r1", "extract:1", 3),
        log_line("r1", "rows: 7", 3.5, "load:1"),
        task_ended("r1", "load:1", 4, c.RESULT_FAILURE),
        task_ended("r1", "load:1", 5, c.RESULT_SUCCESS),
        run_ended("r1", 6),
    ]


def begun_in_trace(run_id: str, seconds: float, *, span: int = RUN_SPAN, parent: int = 1) -> SpanMoment:
    """Return the beginning of a named run inside the foreign trace TRACE."""
    begun = run_begun(run_id, seconds)
    begun.trace_id, begun.span_id, begun.parent_span_id = trace_id_of(TRACE), span_id_of(span), span_id_of(parent)
    return begun


def plain_begun(span: int, seconds: float, process: str, *, parent: int = 1) -> SpanMoment:
    """Return the beginning of a span in the foreign trace TRACE, said by a process."""
    ids = (trace_id_of(TRACE), span_id_of(span))
    return SpanMoment(*ids, c.BEGUN, at(seconds), RANK_TIMED, Work(), "work", span_id_of(parent), process=process)


def plain_line(text: str, seconds: float, *, span: int = 0) -> LogLine:
    """Return a line in the foreign trace TRACE that names no run; span 0: no span either."""
    return LogLine(trace_id_of(TRACE), span_id_of(span) if span else b"", at(seconds), text)


def run_of_flow(run_id: str, flow_key: str, seconds: float, **attributes: object) -> SpanMoment:
    """Return the beginning of a run of this flow."""
    begun = run_begun(run_id, seconds)
    begun.work = replace(begun.work, flow_key=flow_key, flow_name=flow_key)
    begun.attributes = attributes
    return begun
