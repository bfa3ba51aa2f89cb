"""Span ids that are known before the span begins, so that a task can be announced under the id its span will have."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator


class PlannedIds(RandomIdGenerator):
    """The SDK's random ids; inside `next_is`, the next span of this thread gets the id it was promised."""

    def __init__(self) -> None:
        """Promise nothing yet."""
        self._promised = threading.local()

    def plan(self) -> int:
        """Return a new span id to promise."""
        return super().generate_span_id()

    @contextmanager
    def next_is(self, span_id: int) -> Iterator[None]:
        """Give this id to the next span this thread starts; 0 promises none."""
        self._promised.span_id = span_id
        try:
            yield
        finally:
            self._promised.span_id = 0

    def generate_span_id(self) -> int:
        """Return the promised id, else a random one."""
        return getattr(self._promised, "span_id", 0) or super().generate_span_id()
