"""LiveSpanProcessor: any program's spans are seen while they run. One line for a program that has a TracerProvider.

    provider.add_span_processor(LiveSpanProcessor())

It sends to the Flowspan server alone (FLOWSPAN_URL): that a span has begun, and the finished span. Other exporters get what they got before.
"""

from __future__ import annotations

import time

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otel_bridge import bridge
from otel_bridge.guard import harmlessly
from otel_bridge.places import current
from otel_bridge.span_news import MIN_AGE_S, MOST_BEGINNINGS, Begun, Ended, Pace
from otel_bridge.worth import Worth

# About what a span holds in memory: an object of the SDK, a dozen attributes.
SPAN_BYTES = 2_000


class LiveSpanProcessor(SpanProcessor):
    """Tells the Flowspan server when this provider's spans begin and end. Costs the program's thread some microseconds a span."""

    def __init__(self, *, min_age_s: float = MIN_AGE_S, most_a_second: float = MOST_BEGINNINGS, finished: bool = True) -> None:
        """min_age_s, most_a_second: which beginnings are told, so that a million short spans cost little; the ends are all told.

        finished: False where an exporter of the program sends finished spans to the Flowspan server already.
        """
        self._pace = Pace(min_age_s, most_a_second)
        self._finished = finished

    @harmlessly
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Note that the span has begun."""
        bridge.put(Worth.START, SPAN_BYTES, Begun(span, current(), time.monotonic(), self._pace))

    @harmlessly
    def on_end(self, span: ReadableSpan) -> None:
        """Note that the span is finished."""
        context = span.context
        if context is not None and context.trace_flags.sampled:
            bridge.put(Worth.SPAN, SPAN_BYTES, Ended(span, self._finished))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Hand on what was told before; wait for the server only while it answers. True whatever it does.

        The SDK asks one processor after the other, and goes no further where one says False: those behind us are not to wait for our server.
        """
        bridge.flush(timeout_millis / 1000, patient=False)
        return True

    def shutdown(self) -> None:
        """Flush. The bridge goes on: it may serve other providers."""
        self.force_flush()
