"""An IdGenerator whose next ids are told to it: spans of runs and tasks get the ids that every other door computes for them."""

from __future__ import annotations

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator


class ComputedIds(RandomIdGenerator):
    """Used by one thread: `next_is`, then start the span. Without it, ids are random."""

    def __init__(self) -> None:
        """Promise nothing yet."""
        self._trace_id = 0
        self._span_id = 0

    def next_is(self, trace_id: bytes, span_id: bytes) -> None:
        """Give these ids to the next span; a span with a parent takes its parent's trace."""
        self._trace_id = int.from_bytes(trace_id, "big")
        self._span_id = int.from_bytes(span_id, "big")

    def generate_trace_id(self) -> int:
        """Return the promised trace id, once, else a random one."""
        trace_id, self._trace_id = self._trace_id, 0
        return trace_id or super().generate_trace_id()

    def generate_span_id(self) -> int:
        """Return the promised span id, once, else a random one."""
        span_id, self._span_id, self._trace_id = self._span_id, 0, 0
        return span_id or super().generate_span_id()

    def is_trace_id_random(self) -> bool:
        """Return False: a computed id is evenly spread, so ratio samplers work, but it is not random (W3C Trace Context, level 2)."""
        return False
