"""A run's lines: its log records and the events of its finished spans, as one list. Plain functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from collector.attributes import attributes_from_json, from_json
from collector.model import LogRow
from collector.picture import RunPicture
from collector.rows import describe_exception
from collector.storage import LogEntry, LogQuery
from flowspan_toy.tables import Kept, Trace
from otel_bridge import conventions as c
from otel_bridge.facts import Attributes

INFO, ERROR = 9, 17


def lines_of(traces: Iterable[Trace], picture: RunPicture, query: LogQuery) -> list[LogEntry]:
    """Return the lines a query asks for, in any order. An event that came as a record too is that record."""
    records: list[LogEntry] = []
    events: list[LogEntry] = []
    for trace in traces:
        records += _records(trace, picture)
        events += _events(trace, picture)
    said = {(entry.time_ns, entry.node, entry.message) for entry in records}
    lines = records + [entry for entry in events if (entry.time_ns, entry.node, entry.message) not in said]
    return [entry for entry in lines if _fits(entry, query)]


def _fits(entry: LogEntry, query: LogQuery) -> bool:
    return (
        entry.severity_number >= query.min_severity
        and query.node in (None, entry.node)
        and (query.since_version is None or entry.version > query.since_version)
    )


def _records(trace: Trace, picture: RunPicture) -> Iterator[LogEntry]:
    for kept in trace.logs.values():
        node = _node_of(kept.row, picture)
        if node is not None:
            yield _record_entry(kept, node)


def _node_of(row: LogRow, picture: RunPicture) -> str | None:
    """Return the node a record belongs to, "" for the run itself, None if it is another run's."""
    owner = picture.owners.get((row.trace_id, row.span_id))
    if row.run_key:
        return (row.node or owner or "") if row.run_key == picture.run.run_key else None
    if owner is None and row.trace_id in picture.own_traces:
        return ""
    return owner


def _record_entry(kept: Kept[LogRow], node: str) -> LogEntry:
    row, attributes, body = kept.row, attributes_from_json(kept.row.attributes), from_json(kept.row.body)
    text = body if isinstance(body, str) else describe_exception(attributes) if body is None else row.body
    return LogEntry(
        id=f"{row.trace_id.hex()}-{row.digest.hex()}-{row.time_ns}-{row.twin}",
        time_ns=row.time_ns,
        severity_number=row.severity_number,
        severity_text=row.severity_text,
        message=text,
        event=row.event_name,
        node=node,
        payload=attributes.get(c.LOG_PAYLOAD, _payload(attributes)),
        version=kept.version,
    )


def _events(trace: Trace, picture: RunPicture) -> Iterator[LogEntry]:
    for row, version in trace.spans.values():
        node = picture.owners.get((row.trace_id, row.span_id))
        for place, event in enumerate(from_json(row.events) if node is not None else ()):
            yield _event_entry(f"{row.trace_id.hex()}-{row.span_id.hex()}-{place}", event, node or "", version)


def _event_entry(line_id: str, event: list[Any], node: str, version: int) -> LogEntry:
    time_ns, name, attributes, _ = event
    failed = name == c.EXCEPTION_EVENT
    said = attributes.get("message") or attributes.get("log.message") or name
    return LogEntry(
        id=line_id,
        time_ns=time_ns,
        severity_number=ERROR if failed else INFO,
        severity_text="ERROR" if failed else "INFO",
        message=describe_exception(attributes) if failed else str(said),
        event=name,
        node=node,
        payload=_payload(attributes),
        version=version,
    )


def _payload(attributes: Attributes) -> dict[str, Any] | None:
    """What names the run and the task is said elsewhere."""
    return {key: value for key, value in attributes.items() if not key.startswith(("cicd.pipeline.", "flowspan."))} or None
