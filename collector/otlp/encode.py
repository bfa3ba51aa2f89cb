"""A stored trace becomes OTLP/JSON, without loss: what came in by OTLP goes out as it came."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, TypeVar

from collector.answers import TraceFacts
from collector.attributes import attributes_from_json, from_json
from collector.model import LogRow, ResourceRow, ScopeRow, SpanRow
from collector.otlp.values import attributes_json, value_json

Json = dict[str, Any]
Row = TypeVar("Row", SpanRow, LogRow)


def encode_trace(facts: TraceFacts) -> Json:
    """Return a trace's finished spans and log records as {"resourceSpans": [...], "resourceLogs": [...]}.

    Moments are not part of it: OTLP has no span that has not ended. Ids are hex, 64-bit integers decimal text, defaults left out.
    """
    return {
        "resourceSpans": [
            {**envelope, "scopeSpans": [{**scope, "spans": [_span(row) for row in rows]} for scope, rows in groups]}
            for envelope, groups in _grouped(facts.spans, facts)
        ],
        "resourceLogs": [
            {**envelope, "scopeLogs": [{**scope, "logRecords": [_log(row) for row in rows]} for scope, rows in groups]}
            for envelope, groups in _grouped(facts.logs, facts)
        ],
    }


def _grouped(rows: Iterable[Row], facts: TraceFacts) -> Iterator[tuple[Json, Iterator[tuple[Json, Iterator[Row]]]]]:
    """Yield each resource's envelope with its scopes and their rows. The order of rows inside a scope stays: it numbers identical logs."""
    ordered = sorted(rows, key=lambda row: (row.resource_id, row.scope_id))
    for resource_id, of_resource in groupby(ordered, key=lambda row: row.resource_id):
        groups = ((_scope(facts.scopes.get(scope_id)), of_scope) for scope_id, of_scope in groupby(of_resource, key=lambda row: row.scope_id))
        yield _resource(facts.resources.get(resource_id)), groups


def _resource(row: ResourceRow | None) -> Json:
    if row is None:
        return {}
    refs = [
        _said(schemaUrl=ref["schema_url"], type=ref["type"], idKeys=ref["id_keys"], descriptionKeys=ref["description_keys"])
        for ref in from_json(row.entity_refs)
    ]
    resource = _said(attributes=_attributes(row.attributes), droppedAttributesCount=row.dropped_attributes, entityRefs=refs)
    return {"resource": resource} | _said(schemaUrl=row.schema_url)


def _scope(row: ScopeRow | None) -> Json:
    if row is None:
        return {}
    attributes = _attributes(row.attributes)
    scope = _said(name=row.name, version=row.version, attributes=attributes, droppedAttributesCount=row.dropped_attributes)
    return {"scope": scope} | _said(schemaUrl=row.schema_url)


def _span(row: SpanRow) -> Json:
    return _said(
        traceId=row.trace_id.hex(),
        spanId=row.span_id.hex(),
        parentSpanId=row.parent_span_id.hex(),
        traceState=row.trace_state,
        flags=row.flags,
        name=row.name,
        kind=row.kind,
        startTimeUnixNano=_long(row.start_ns),
        endTimeUnixNano=_long(row.end_ns),
        attributes=_attributes(row.attributes),
        droppedAttributesCount=row.dropped_attributes,
        events=[_event(*event) for event in from_json(row.events)],
        droppedEventsCount=row.dropped_events,
        links=[_link(*link) for link in from_json(row.links)],
        droppedLinksCount=row.dropped_links,
        status=_said(message=row.status_message, code=row.status_code),
    )


def _event(time_ns: int, name: str, attributes: Mapping[str, Any], dropped: int) -> Json:
    return _said(timeUnixNano=_long(time_ns), name=name, attributes=attributes_json(attributes), droppedAttributesCount=dropped)


def _link(*columns: Any) -> Json:
    """columns: those of collector.rows, in their order."""
    trace_id, span_id, trace_state, attributes, dropped, flags = columns
    return _said(
        traceId=trace_id,
        spanId=span_id,
        traceState=trace_state,
        attributes=attributes_json(attributes),
        droppedAttributesCount=dropped,
        flags=flags,
    )


def _log(row: LogRow) -> Json:
    """A record that came without any time goes out as observed at its receipt: so it keeps its key when it comes back."""
    return _said(
        timeUnixNano=_long(row.own_time_ns),
        observedTimeUnixNano=_long(row.observed_ns or (0 if row.own_time_ns else row.time_ns)),
        severityNumber=row.severity_number,
        severityText=row.severity_text,
        body=value_json(from_json(row.body)),
        attributes=_attributes(row.attributes),
        droppedAttributesCount=row.dropped_attributes,
        flags=row.flags,
        traceId=row.trace_id.hex(),
        spanId=row.span_id.hex(),
        eventName=row.event_name,
    )


def _attributes(text: str) -> list[Json]:
    return attributes_json(attributes_from_json(text))


def _long(value: int) -> str:
    """Return a 64-bit integer as the proto3 JSON mapping writes it; 0 is the default and left out."""
    return str(value) if value else ""


def _said(**fields: Any) -> Json:
    """Leave out what has its default: absent and default are the same in proto3."""
    return {name: value for name, value in fields.items() if value not in ("", 0, [], {})}
