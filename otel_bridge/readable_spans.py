"""A finished span of the SDK as a fact: what the SDK's exporters send of it. Pure; whoever has such a span has loaded the SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from otel_bridge.facts import RANK_OTLP, Resource, Scope, SpanEnd, SpanEvent, SpanLink

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext

# Of the flags of spans and links (trace.proto, SpanFlags): it is known whether a context came from another process; and it did.
_KNOWS_REMOTE, _IS_REMOTE = 0x100, 0x200


def span_end(span: ReadableSpan, context: SpanContext, names: Mapping[str, Any], resource: Resource, scope: Scope) -> SpanEnd:
    """Return a finished span whole. context: its own. names: attributes that stand before its own. resource, scope: its own, as facts."""
    trace_id, span_id = ids_of(context)
    return SpanEnd(
        trace_id,
        span_id,
        span.end_time or 0,
        RANK_OTLP,
        start_ns=span.start_time or 0,
        parent_span_id=ids_of(span.parent)[1] if span.parent is not None else b"",
        trace_state=_trace_state(context),
        flags=_flags_under(span.parent),
        name=span.name,
        kind=span.kind.value + 1,  # OTLP's 0 is "not said"
        status_code=span.status.status_code.value,
        status_message=span.status.description or "",
        attributes={**names, **(span.attributes or {})},
        dropped_attributes=span.dropped_attributes,
        events=[SpanEvent(event.timestamp, event.name, event.attributes or {}, event.dropped_attributes) for event in span.events],
        dropped_events=span.dropped_events,
        links=[
            SpanLink(
                *ids_of(link.context), _trace_state(link.context), link.attributes or {}, link.dropped_attributes, _flags_under(link.context)
            )
            for link in span.links
        ],
        dropped_links=span.dropped_links,
        resource=resource,
        scope=scope,
    )


def scope_of(scope: InstrumentationScope | None) -> Scope:
    """Return which library made a span."""
    if scope is None:
        return Scope()
    return Scope(scope.name, scope.version or "", scope.attributes or {}, schema_url=scope.schema_url or "")


def ids_of(context: SpanContext) -> tuple[bytes, bytes]:
    """Return trace id and span id. Raises OverflowError for ids that are too long."""
    return context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big")


def _trace_state(context: SpanContext) -> str:
    return context.trace_state.to_header() if context.trace_state else ""


def _flags_under(parent: SpanContext | None) -> int:
    return _KNOWS_REMOTE | _IS_REMOTE if parent is not None and parent.is_remote else _KNOWS_REMOTE
