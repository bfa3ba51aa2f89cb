"""Ids for what OpenTelemetry's SDK traces: the same in every run of a test."""

from __future__ import annotations

from opentelemetry.sdk.trace.id_generator import IdGenerator


class SteadyIds(IdGenerator):
    """One trace id, and span ids 0xa1, 0xa2, ..."""

    def __init__(self, trace_id: bytes) -> None:
        self._trace_id = int.from_bytes(trace_id)
        self._spans = iter(range(0xA1, 0xFF))

    def generate_trace_id(self) -> int:
        """Return the one."""
        return self._trace_id

    def generate_span_id(self) -> int:
        """Return the next."""
        return next(self._spans)
