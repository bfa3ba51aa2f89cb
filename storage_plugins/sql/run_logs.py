"""Reads a run's log lines, page by page: records and span events, merged by time. What a line is, is collector/lines.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, or_, select, tuple_

from collector.lines import line_of, lines_of_events, owner_of, without_twins
from collector.model import LogRow
from collector.picture import RunPicture
from collector.storage import LARGEST_PAGE, LogEntry, LogQuery, Page
from storage_plugins.sql.facts import Place
from storage_plugins.sql.news import horizon_of
from storage_plugins.sql.pages import Key, from_cursor, to_cursor
from storage_plugins.sql.tables import Log, Span

# Rows read at a time while looking for lines that fit: most fit, so one step of this size fills an ordinary page.
STEP = 2 * LARGEST_PAGE


def read_logs(connection: Connection, place: Place, picture: RunPicture, query: LogQuery) -> Page[LogEntry]:
    """Return one page of a run's lines, in order of time. place: where the run's facts are."""
    limit = max(1, min(query.limit, LARGEST_PAGE))
    after = from_cursor(query.cursor, int, str) if query.cursor is not None else None
    events = list(_events(connection, place, picture, query))
    records = _records(connection, place, picture, query, limit + 1)
    said = _records_left_out(connection, place, picture, query, events)
    entries = [entry for entry in without_twins([*records, *events], said) if _is_beyond(entry, after, newest=query.newest)]
    entries.sort(key=_key, reverse=query.newest)
    page = entries[:limit]
    more = to_cursor(_key(page[-1])) if len(entries) > limit else None
    return Page(page[::-1] if query.newest else page, more)


def _key(entry: LogEntry) -> tuple[int, str]:
    return (entry.time_ns, entry.id)


def _is_beyond(entry: LogEntry, after: Key | None, *, newest: bool) -> bool:
    return after is None or (_key(entry) < after if newest else _key(entry) > after)


# --- log records -----------------------------------------------------------------------------------------------------------------------


def _records(connection: Connection, place: Place, picture: RunPicture, query: LogQuery, wanted: int) -> list[LogEntry]:
    """Read on until enough lines fit: whose a line is that names no node follows from its span, which only the picture knows.

    The last instant is read to its end, and that of the cursor from its beginning: pages are cut by id, rows are read trace by trace.
    """
    after = from_cursor(query.cursor, int, str) if query.cursor is not None else None
    found: list[LogEntry] = []
    last: tuple[Any, ...] | None = None
    while True:
        rows = connection.execute(_records_after(place, query, last).limit(STEP)).all()
        found += _entries_of(rows, picture, query)
        if len(rows) < STEP:
            return found
        last = tuple(rows[-1]._mapping[name] for name in ("time_ns", "trace_id", "digest", "twin", "day"))
        if sum(entry.time_ns != last[0] and _is_beyond(entry, after, newest=query.newest) for entry in found) >= wanted:
            return found


def _records_left_out(
    connection: Connection, place: Place, picture: RunPicture, query: LogQuery, events: Sequence[LogEntry]
) -> Iterator[LogEntry]:
    """Yield the records at the times of these events that a filter has left out: an event is no line of its own where its record is known."""
    if not query.min_severity and query.since is None:
        return
    columns = Log.__table__.c
    times = sorted({event.time_ns for event in events})
    for first in range(0, len(times), STEP):
        rows = connection.execute(select(Log.__table__).where(place.holds(Log), columns.time_ns.in_(times[first : first + STEP]))).all()
        yield from _entries_of(rows, picture, query)


def _entries_of(rows: Iterable[Row[Any]], picture: RunPicture, query: LogQuery) -> Iterator[LogEntry]:
    for row in rows:
        record = LogRow._make(row[: len(LogRow._fields)])
        owner = owner_of(record, picture)
        if owner is not None and (query.node is None or owner == query.node):
            yield line_of(record, owner)


def _records_after(place: Place, query: LogQuery, last: tuple[Any, ...] | None) -> Select[Any]:
    columns = Log.__table__.c
    order = (columns.time_ns, columns.trace_id, columns.digest, columns.twin, columns.day)
    fits = [place.holds(Log), *_filters(query)]
    if last is not None:
        fits.append(tuple_(*order) < tuple_(*last) if query.newest else tuple_(*order) > tuple_(*last))
    return select(Log.__table__).where(*fits).order_by(*(column.desc() if query.newest else column.asc() for column in order))


def _filters(query: LogQuery) -> list[ColumnElement[bool]]:
    columns = Log.__table__.c
    fits: list[ColumnElement[bool]] = []
    if query.min_severity:
        fits.append(columns.severity_number >= query.min_severity)
    if query.node is not None:
        fits.append(or_(columns.node == query.node, columns.node == ""))
    fits += _between(query, columns.seq)
    if query.cursor is not None:
        time_ns = int(from_cursor(query.cursor, int, str)[0])
        fits.append(columns.time_ns <= time_ns if query.newest else columns.time_ns >= time_ns)
    return fits


def _between(query: LogQuery, seq: ColumnElement[int]) -> list[ColumnElement[bool]]:
    """Return the conditions that a row came after the one cursor and by the other."""
    after = [] if query.since is None else [horizon_of(query.since).is_news(seq)]
    return after if query.until is None else [*after, horizon_of(query.until).is_known(seq)]


# --- events of finished spans ----------------------------------------------------------------------------------------------------------


def _events(connection: Connection, place: Place, picture: RunPicture, query: LogQuery) -> Iterator[LogEntry]:
    columns = Span.__table__.c
    fits = [place.holds(Span), columns.events != "[]", *_between(query, columns.seq)]
    rows = connection.execute(select(columns.trace_id, columns.span_id, columns.events).where(*fits))
    for row in rows:
        owner = picture.owners.get((row.trace_id, row.span_id))
        if owner is None or (query.node is not None and owner != query.node):
            continue
        for entry in lines_of_events(row.span_id, row.events, owner):
            if entry.severity_number >= query.min_severity:
                yield entry
