"""What came into many traces since a moment of the store, read at once: facts as the fold wants them, events, and log records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, select

from collector.model import FoldMoment, FoldSpan
from collector.questions import LARGEST_PAGE
from storage_plugins.sql.facts import FOLD_MOMENT, FOLD_SPAN, slices
from storage_plugins.sql.news import Horizon, news_after
from storage_plugins.sql.tables import Base, Log, Moment, Span, table_of
from storage_plugins.sql.upsert import is_among

# Of more records each run reads its own, as far as it needs: a body may be as long as a request.
MOST_RECORDS = 2 * LARGEST_PAGE
# What is read of each kind. Of an end also what has just happened in its span.
COLUMNS: Mapping[type[Base], tuple[Any, ...]] = {
    Span: (*FOLD_SPAN, table_of(Span).c.events),
    Moment: tuple(FOLD_MOMENT),
    Log: tuple(table_of(Log).c),
}


@dataclass(slots=True)
class Arrivals:
    """What came. ends: rows of spans with events. records: rows of logs."""

    spans: list[FoldSpan] = field(default_factory=list)
    moments: list[FoldMoment] = field(default_factory=list)
    ends: list[Row[Any]] = field(default_factory=list)
    records: list[Row[Any]] = field(default_factory=list)

    def add(self, others: Arrivals) -> None:
        """Take in what came elsewhere."""
        self.spans += others.spans
        self.moments += others.moments
        self.ends += others.ends
        self.records += others.records


@dataclass(slots=True)
class Found:
    """What came, by trace. has_records: False if there were too many to read them here."""

    by_trace: Mapping[bytes, Arrivals]
    has_records: bool

    def of(self, traces: Iterable[bytes]) -> Arrivals:
        """Return what came into these traces."""
        arrivals = Arrivals()
        for trace_id in traces:
            if trace_id in self.by_trace:
                arrivals.add(self.by_trace[trace_id])
        return arrivals


def find_arrivals(
    connection: Connection, project: int, traces: Collection[bytes], days: Collection[int], since: Horizon, most_facts: int
) -> Found | None:
    """Return what came since into these traces, of these days. None if there are more ends than most_facts, or moments."""
    given = since.parameters("since") | {"project_": project, "days_": sorted(days)}
    spans, moments = (_rows(connection, kind, traces, given, most_facts + 1) for kind in (Span, Moment))
    if max(len(spans), len(moments)) > most_facts:
        return None
    records = _rows(connection, Log, traces, given, MOST_RECORDS + 1)
    found: dict[bytes, Arrivals] = defaultdict(Arrivals)
    for row in spans:
        found[row.trace_id].spans.append(FoldSpan._make(row[:-1]))
        if row.events != "[]":
            found[row.trace_id].ends.append(row)
    for row in moments:
        found[row.trace_id].moments.append(FoldMoment._make(row))
    has_records = len(records) <= MOST_RECORDS
    for row in records if has_records else ():
        found[row.trace_id].records.append(row)
    return Found(found, has_records)


def _rows(connection: Connection, kind: type[Base], traces: Collection[bytes], given: Mapping[str, Any], limit: int) -> list[Row[Any]]:
    statement = _that_came(connection.dialect.name, kind, has_open="since_open" in given)
    rows: list[Row[Any]] = []
    for some in slices(sorted(traces)):
        rows += connection.execute(statement, {**given, "traces_": some, "limit_": limit - len(rows)})
    return rows


@cache
def _that_came(dialect: str, kind: type[Base], *, has_open: bool) -> Select[Any]:
    columns = table_of(kind).c
    # SQLite finds records by their number, as run_logs.Shape says.
    project = columns.project + 0 if kind is Log and dialect == "sqlite" else columns.project
    fits = (
        project == bindparam("project_"),
        is_among(dialect, columns.trace_id, "traces_"),
        columns.day.in_(bindparam("days_", expanding=True)),  # of an array Postgres does not see which partitions it spares
        news_after(columns.seq, "since", has_open=has_open),
    )
    return select(*COLUMNS[kind]).where(*fits).limit(bindparam("limit_"))
