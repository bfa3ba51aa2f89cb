"""What a run's log lines are: log records and the events of finished spans, whose each is, and when two of them are one. Pure.

Every storage reads its rows in its own way and makes lines of them here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from collector.answers import LogEntry
from collector.attributes import attributes_from_json, from_json
from collector.model import LogRow
from collector.picture import RunPicture
from collector.rows import describe_exception
from collector.words import structure_of
from otel_bridge import conventions as c
from otel_bridge.facts import Attributes

SEVERITY_INFO, SEVERITY_ERROR = 9, 17

EVENT_ID = "event-"

# What a log record and the span event that tells the same have in common: time, node, message.
Twin = tuple[int, str, str]


def owner_of(row: LogRow, picture: RunPicture) -> str | None:
    """Return the node a record belongs to, "" for the run itself, None if it is another run's."""
    owner = picture.owners.get((row.trace_id, row.span_id))
    if row.run_key:
        return (row.node or owner or "") if row.run_key == picture.run.run_key else None
    if owner is None and row.trace_id in picture.own_traces:
        return ""
    return owner


def line_of(row: LogRow, node: str) -> LogEntry:
    """Return a log record as a line."""
    attributes = attributes_from_json(row.attributes)
    body = from_json(row.body)
    return LogEntry(
        id=f"{row.time_ns:x}-{row.digest.hex()}-{row.twin}",
        time_ns=row.time_ns,
        severity_number=row.severity_number,
        severity_text=row.severity_text,
        message=body if isinstance(body, str) else row.body if body is not None else describe_exception(attributes),
        event=row.event_name,
        node=node,
        payload=structure_of(attributes.get(c.LOG_PAYLOAD, _beyond_names(attributes))),
    )


def lines_of_events(span_id: bytes, events: str, node: str) -> Iterator[LogEntry]:
    """Yield a finished span's events as lines. events: the column of that name. An exception is a line of level ERROR.

    What the bridge notes of a span's life, for endpoints that know no running spans, came as moments before.
    """
    for place, (time_ns, name, attributes, _) in enumerate(from_json(events)):
        if name.startswith(c.SPAN_EVENT_PREFIX):
            continue
        failed = name == c.EXCEPTION_EVENT
        said = attributes.get("message") or attributes.get("log.message") or name
        yield LogEntry(
            id=f"{EVENT_ID}{span_id.hex()}-{place}",
            time_ns=time_ns,
            severity_number=SEVERITY_ERROR if failed else SEVERITY_INFO,
            severity_text="ERROR" if failed else "INFO",
            message=describe_exception(attributes) if failed else str(said),
            event=name,
            node=node,
            payload=_beyond_names(attributes),
        )


def without_twins(entries: Iterable[LogEntry], said: Iterable[LogEntry] = ()) -> Iterator[LogEntry]:
    """Leave out events that a record tells too: a bridge sends a line at once as a record, and again with its finished span.

    entries: records before events. said: records that are no part of this answer but are known.
    """
    seen = {_twin(entry) for entry in said}
    for entry in entries:
        if entry.id.startswith(EVENT_ID) and _twin(entry) in seen:
            continue
        seen.add(_twin(entry))
        yield entry


def _twin(entry: LogEntry) -> Twin:
    return (entry.time_ns, entry.node, entry.message)


def _beyond_names(attributes: Attributes) -> dict[str, Any] | None:
    """Return what an attribute map says beyond naming the run and task, which the page says already."""
    return {key: value for key, value in attributes.items() if not key.startswith(("cicd.pipeline.", "flowspan."))} or None
