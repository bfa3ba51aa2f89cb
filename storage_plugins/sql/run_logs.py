"""Reads a run's log lines, page by page: records and span events (run_events.py), merged by time. What a line is, is collector/lines.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, or_, select, tuple_

from collector.answers import LogEntry, Page
from collector.lines import line_of, owner_of, without_twins
from collector.model import LogRow
from collector.questions import LARGEST_PAGE, LogQuery
from storage_plugins.sql.facts import Place, at_place, slices
from storage_plugins.sql.news import horizon_of, known_by, news_after
from storage_plugins.sql.pages import Key, from_cursor, to_cursor
from storage_plugins.sql.run_events import Step, Whose, read_events
from storage_plugins.sql.tables import Log

# Rows read at a time while looking for lines that fit: most fit, so one step of this size fills an ordinary page.
STEP = 2 * LARGEST_PAGE
# The columns by which records are read.
ORDER = ("time_ns", "trace_id", "digest", "twin", "day")


def read_logs(
    connection: Connection,
    place: Place,
    whose: Whose,
    query: LogQuery,
    steps: Iterable[Step] | None = None,
    records: Sequence[LogEntry] | None = None,
) -> Page[LogEntry]:
    """Return one page of a run's lines, in order of time. place: where its facts are.

    steps: its events, where not read_events() reads them. records: all that fit the question, where they are not read here.
    """
    limit = max(1, min(query.limit, LARGEST_PAGE))
    if records is None:
        records = _records(connection, place, whose, query, limit + 1)
    events: list[LogEntry] = []
    entries: list[LogEntry] = []
    for some, known_to_ns in read_events(connection, place, whose, query) if steps is None else steps:
        events += some
        entries = _merge(records, events, _records_left_out(connection, place, whose, query, events), query)
        if sum(_is_before(entry, known_to_ns, newest=query.newest) for entry in entries) > limit:
            break
    page = entries[:limit]
    more = to_cursor(_key(page[-1])) if len(entries) > limit else None
    return Page(page[::-1] if query.newest else page, more)


def _merge(records: Iterable[LogEntry], events: Iterable[LogEntry], said: Iterable[LogEntry], query: LogQuery) -> list[LogEntry]:
    after = from_cursor(query.cursor, int, str) if query.cursor is not None else None
    # In one order, whatever order they were read in: of events that are twins the first stays.
    told = sorted(events, key=_place)
    entries = [entry for entry in without_twins([*records, *told], said) if _is_beyond(entry, after, newest=query.newest)]
    return sorted(entries, key=_place, reverse=query.newest)


def _place(entry: LogEntry) -> tuple[int, str, str, str]:
    """Return where an entry stands: ends of a span on two days, and spans of one id in two traces, have events of one id."""
    return (*_key(entry), entry.message, entry.node)


def _is_before(entry: LogEntry, time_ns: int | None, *, newest: bool) -> bool:
    return time_ns is None or (entry.time_ns > time_ns if newest else entry.time_ns < time_ns)


def _key(entry: LogEntry) -> tuple[int, str]:
    return (entry.time_ns, entry.id)


def _is_beyond(entry: LogEntry, after: Key | None, *, newest: bool) -> bool:
    return after is None or (_key(entry) < after if newest else _key(entry) > after)


# --- log records -----------------------------------------------------------------------------------------------------------------------


def _records(connection: Connection, place: Place, whose: Whose, query: LogQuery, wanted: int) -> list[LogEntry]:
    """Read on until enough lines fit: whose a line is that names no node follows from its span, which only the picture knows.

    The last instant is read to its end, and that of the cursor from its beginning: pages are cut by id, rows are read trace by trace.
    """
    after = from_cursor(query.cursor, int, str) if query.cursor is not None else None
    found: list[LogEntry] = []
    last: tuple[Any, ...] | None = None
    while True:
        rows = connection.execute(_records_after(Shape.of(connection, query, last)), _parameters(place, query, last)).all()
        found += entries_of(rows, whose, query)
        if len(rows) < STEP:
            return found
        last = tuple(rows[-1]._mapping[name] for name in ORDER)
        if sum(entry.time_ns != last[0] and _is_beyond(entry, after, newest=query.newest) for entry in found) >= wanted:
            return found


def _records_left_out(connection: Connection, place: Place, whose: Whose, query: LogQuery, events: Sequence[LogEntry]) -> Iterator[LogEntry]:
    """Yield the records at the times of these events that a filter has left out: an event is no line of its own where its record is known."""
    if not query.min_severity and query.since is None:
        return
    columns = Log.__table__.c
    for times in slices(sorted({event.time_ns for event in events})):
        rows = connection.execute(select(Log.__table__).where(place.holds(Log), columns.time_ns.in_(times))).all()
        yield from entries_of(rows, whose, query)


def entries_of(rows: Iterable[Row[Any]], whose: Whose, query: LogQuery) -> Iterator[LogEntry]:
    """Yield rows of logs as lines, those of the run that fit the question."""
    records = [LogRow._make(row[: len(LogRow._fields)]) for row in rows]
    picture = whose((record.trace_id, record.span_id) for record in records)
    for record in records:
        owner = owner_of(record, picture)
        if owner is not None and (query.node is None or owner == query.node):
            yield line_of(record, owner)


# --- the statement for records, made once for each shape of a question -----------------------------------------------------------------


class Shape(NamedTuple):
    """What a question says: it decides the statement, not its values. since, until: whether transactions were open then; None if not said.

    by_key: whether the run's lines are read one by one. Those that are news are found by their number on SQLite: 0.02 ms among 2,500, not 0.9.
    Postgres has that number in a BRIN index only, which is no help with the last rows.
    """

    by_key: bool
    severity: bool
    node: bool
    since: bool | None
    until: bool | None
    cursor: bool
    newest: bool
    goes_on: bool

    @classmethod
    def of(cls, connection: Connection, query: LogQuery, last: tuple[Any, ...] | None) -> Shape:
        """Return the shape of a question. last: the key of the last row that was read, None at first."""
        by_key = query.since is None or connection.dialect.name != "sqlite"
        since, until = (None if cursor is None else bool(horizon_of(cursor).still_open) for cursor in (query.since, query.until))
        return cls(
            by_key, bool(query.min_severity), query.node is not None, since, until, query.cursor is not None, query.newest, last is not None
        )


@cache
def _records_after(shape: Shape) -> Select[Any]:
    row = Log.__table__.c
    order = [row[name] for name in ORDER]
    fits = [at_place(Log, by_key=shape.by_key), *_filters(shape)]
    if shape.goes_on:
        last = tuple_(*(bindparam(f"last_{column.name}", type_=column.type) for column in order))
        fits.append(tuple_(*order) < last if shape.newest else tuple_(*order) > last)
    return select(Log.__table__).where(*fits).order_by(*(column.desc() if shape.newest else column.asc() for column in order)).limit(STEP)


def _filters(shape: Shape) -> Iterator[ColumnElement[bool]]:
    row = Log.__table__.c
    if shape.severity:
        yield row.severity_number >= bindparam("severity_")
    if shape.node:
        yield or_(row.node == bindparam("node_"), row.node == "")
    if shape.since is not None:
        yield news_after(row.seq, "since", has_open=shape.since)
    if shape.until is not None:
        yield known_by(row.seq, "until", has_open=shape.until)
    if shape.cursor:
        yield row.time_ns <= bindparam("cursor_ns") if shape.newest else row.time_ns >= bindparam("cursor_ns")


def _parameters(place: Place, query: LogQuery, last: tuple[Any, ...] | None) -> dict[str, Any]:
    given = place.parameters() | {"severity_": query.min_severity, "node_": query.node}
    if query.since is not None:
        given |= horizon_of(query.since).parameters("since")
    if query.until is not None:
        given |= horizon_of(query.until).parameters("until")
    if query.cursor is not None:
        given["cursor_ns"] = from_cursor(query.cursor, int, str)[0]
    return given | {f"last_{name}": value for name, value in zip(ORDER, last or (), strict=False)}
