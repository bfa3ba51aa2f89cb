"""Reads the events of a run's finished spans in order of time, as far as a page of its log needs: a run may have a million.

When an event was, only its span's JSON says, and it need not lie within its span: the engine looks for the time in the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import JSON, ColumnElement, Connection, Numeric, Row, Select, Text, cast, func, select, tuple_

from collector.answers import LogEntry
from collector.lines import SEVERITY_INFO, lines_of_events
from collector.picture import RunPicture
from collector.questions import LARGEST_PAGE, LogQuery
from collector.winners import SpanKey
from otel_bridge import conventions as c
from storage_plugins.sql.facts import Place, slices
from storage_plugins.sql.news import came_between
from storage_plugins.sql.pages import from_cursor
from storage_plugins.sql.tables import Span, table_of

# Spans whose events are read for a page, as a multiple of its lines. If few of them fit the question, the next time it is so many times more.
FIRST_STEP = 2
STEP_GROWS = 8
# Spans that are kept with a large run, enough for the newest page of its log.
MOST_KEPT = 500

# Returns the run, with the owners of at least these spans.
Whose = Callable[[Iterable[SpanKey]], RunPicture]

# Lines, and the time up to which all are known by then, in the direction of the question; None for all there are.
Step = tuple[list[LogEntry], int | None]

_SPAN = table_of(Span).c
# Ends of one span may lie on two days, and both have events: without the day they stand in one place, and the second is passed over.
_KEY = ("told_ns", "trace_id", "span_id", "day")
# Less than any: in the order that begins with the newest it is behind all ends of a span.
_NO_DAY = -1


class Newest(NamedTuple):
    """The spans with a run's newest events at one moment of the store. since_ns: no other has newer ones; None if no other has any.

    keys: of spans that are read with their ends on all days.
    """

    keys: Sequence[SpanKey]
    since_ns: int | None


def find_newest(connection: Connection, spans: ColumnElement[bool]) -> Newest:
    """Return the spans with a run's newest events. spans: the condition that holds its spans."""
    rows = connection.execute(_spans_after(connection, spans, LogQuery(newest=True), None).limit(MOST_KEPT)).all()
    return Newest([(row.trace_id, row.span_id) for row in rows], int(rows[-1].told_ns) if len(rows) == MOST_KEPT else None)


def read_events(connection: Connection, place: Place, whose: Whose, query: LogQuery, newest: Newest | None = None) -> Iterator[Step]:
    """Yield lines in steps. A step holds all events of its spans that fit, of whatever time. newest: if they are known, of query.until."""
    last: tuple[Any, ...] | None = None
    if newest is not None and query.newest and query.cursor is None:
        yield entries_of(_rows_of(connection, place, query, newest.keys), whose, query), newest.since_ns
        if newest.since_ns is None:
            return
        last = (newest.since_ns, *newest.keys[-1], _NO_DAY)
    step = FIRST_STEP * max(1, min(query.limit, LARGEST_PAGE))
    while True:
        rows = connection.execute(_spans_after(connection, place.holds(Span), query, last).limit(step)).all()
        known_to_ns = int(rows[-1].told_ns) if len(rows) == step else None
        yield entries_of(rows, whose, query), known_to_ns
        if known_to_ns is None:
            return
        last, step = tuple(rows[-1]._mapping[name] for name in _KEY), step * STEP_GROWS


def _rows_of(connection: Connection, place: Place, query: LogQuery, keys: Sequence[SpanKey]) -> list[Row[Any]]:
    found: list[Any] = []
    for some in slices(keys):
        wanted = select(_SPAN.trace_id, _SPAN.span_id, _SPAN.events).where(place.has(_SPAN, some), *came_between(query, _SPAN.seq))
        found += connection.execute(wanted)
    return found


def entries_of(rows: Sequence[Row[Any]], whose: Whose, query: LogQuery) -> list[LogEntry]:
    """Return the events of spans as lines, those of the run that fit the question, whatever the time. rows: with trace_id, span_id, events."""
    picture = whose((row.trace_id, row.span_id) for row in rows)
    return [entry for row in rows for entry in _lines(row, picture, query)]


def _lines(row: Row[Any], picture: RunPicture, query: LogQuery) -> Iterator[LogEntry]:
    owner = picture.owners.get((row.trace_id, row.span_id))
    if owner is None or (query.node is not None and owner != query.node):
        return
    for entry in lines_of_events(row.span_id, row.events, owner):
        if entry.severity_number >= query.min_severity:
            yield entry


def _spans_after(connection: Connection, spans: ColumnElement[bool], query: LogQuery, last: tuple[Any, ...] | None) -> Select[Any]:
    """Select spans with events by the time of the first (newest: last) that the question has not passed; those that have none are left out."""
    told_ns = _first_time(connection, query)
    fits = [spans, _SPAN.events != "[]", *came_between(query, _SPAN.seq)]
    if query.min_severity > SEVERITY_INFO:
        fits.append(_SPAN.events.contains(f'"{c.EXCEPTION_EVENT}"'))
    rows = select(_SPAN.trace_id, _SPAN.span_id, _SPAN.day, _SPAN.events, told_ns.label("told_ns")).where(*fits).subquery().c
    order = [rows[name] for name in _KEY]
    more: list[ColumnElement[bool]] = [rows.told_ns.is_not(None)]
    if last is not None:
        more.append(tuple_(*order) < tuple_(*last) if query.newest else tuple_(*order) > tuple_(*last))
    return select(*rows).where(*more).order_by(*(column.desc() if query.newest else column for column in order))


def _first_time(connection: Connection, query: LogQuery) -> ColumnElement[int]:
    """Return when the first event of a span was that the question has not passed, NULL if none."""
    time_ns, events = _times(connection)
    first = select(func.max(time_ns) if query.newest else func.min(time_ns)).select_from(events)
    if query.cursor is None:
        return first.scalar_subquery()
    passed_ns = int(from_cursor(query.cursor, int, str)[0])
    return first.where(time_ns <= passed_ns if query.newest else time_ns >= passed_ns).scalar_subquery()


def _times(connection: Connection) -> tuple[ColumnElement[Any], Any]:
    """Return the time of one of a span's events, and the rows of them all."""
    if connection.dialect.name == "sqlite":
        each = func.json_each(_SPAN.events).table_valued("value", name="told")
        return func.json_extract(each.c.value, "$[0]"), each
    each = func.json_array_elements(cast(_SPAN.events, JSON)).table_valued("value", name="told")
    return cast(cast(each.c.value.op("->")(0), Text), Numeric), each
