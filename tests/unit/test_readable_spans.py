"""A program's finished spans go out as the SDK's own exporters would send them, field by field."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from otel_bridge.facts import Resource
from otel_bridge.readable_spans import scope_of, span_end
from tests.parcels import body_of

RESOURCE = SdkResource({"service.name": "app", "cores": 2}, "https://schema/resource")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
values = st.one_of(texts, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.lists(texts, max_size=3).map(tuple))
attributes = st.dictionaries(texts.filter(bool), values, max_size=4)
times = st.integers(1, 2**63 - 1)
states = st.sampled_from([None, TraceState([("vendor", "1"), ("other", "x")])])


def contexts(*, has_state: bool = True) -> st.SearchStrategy[SpanContext]:
    ids = st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1)
    return st.builds(SpanContext, *ids, st.booleans(), st.just(TraceFlags(1)), states if has_state else st.none())


statuses = st.one_of(st.just(Status()), st.just(Status(StatusCode.OK)), st.builds(Status, st.just(StatusCode.ERROR), texts))
links = st.builds(Link, contexts(has_state=False), attributes)  # the SDK's encoder leaves the state of links out
scopes = st.none() | st.builds(InstrumentationScope, texts, texts, texts, attributes)
spans: st.SearchStrategy[Any] = st.builds(
    ReadableSpan,
    texts,
    context=contexts(),
    parent=st.none() | contexts(),
    resource=st.just(RESOURCE),
    attributes=attributes,
    events=st.lists(st.builds(Event, texts, attributes, times), max_size=3),
    links=st.lists(links, max_size=2),
    kind=st.sampled_from(SpanKind),
    status=statuses,
    start_time=times,
    end_time=times,
    instrumentation_scope=scopes,
)


# R169
@given(spans)
def test_a_span_is_what_the_sdk_s_own_exporters_send(span: ReadableSpan) -> None:
    context = span.context
    assert context is not None
    resource = Resource(RESOURCE.attributes, schema_url=RESOURCE.schema_url)

    told = body_of(span_end(span, context, {}, resource, scope_of(span.instrumentation_scope)))

    assert encode_spans([span]) == ExportTraceServiceRequest.FromString(told)
