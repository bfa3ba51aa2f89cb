"""A run's lines from the toy's dicts. What a line is, collector.lines knows."""

from __future__ import annotations

from collections.abc import Iterable

from collector.answers import LogEntry
from collector.lines import line_of, lines_of_events, owner_of, without_twins
from collector.picture import RunPicture
from collector.questions import LogQuery
from flowspan_toy.tables import Trace


def lines_of(traces: Iterable[Trace], picture: RunPicture, query: LogQuery) -> list[LogEntry]:
    """Return the lines a query asks for, in any order."""
    records: list[LogEntry] = []
    events: list[LogEntry] = []
    came_with: dict[str, int] = {}
    for trace in traces:
        for kept in trace.logs.values():
            node = owner_of(kept.row, picture)
            if node is not None:
                records.append(line_of(kept.row, node))
                came_with[records[-1].id] = kept.version
        for row, version in trace.spans.values():
            node = picture.owners.get((row.trace_id, row.span_id))
            if node is not None:
                told = list(lines_of_events(row.span_id, row.events, node))
                events += told
                came_with |= dict.fromkeys((entry.id for entry in told), version)
    return [entry for entry in without_twins([*records, *events]) if _fits(entry, came_with[entry.id], query)]


def _fits(entry: LogEntry, version: int, query: LogQuery) -> bool:
    return (
        entry.severity_number >= query.min_severity
        and query.node in (None, entry.node)
        and (query.since is None or version > int(query.since))
        and (query.until is None or version <= int(query.until))
    )
