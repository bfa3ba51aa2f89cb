"""Reads, of one large run, the few spans that are odd, and the signs of all the others. What odd means is in large_runs.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, Select, and_, case, func, null, or_, select

from collector.fold import Signs, signs_of
from collector.model import FoldMoment, FoldSpan
from collector.picture import PENDING, QUEUED, RUNNING
from collector.winners import Seen, SpanKey, greatest_facts
from otel_bridge import conventions as c
from otel_bridge.facts import short_key
from storage_plugins.sql.facts import FOLD_MOMENT, FOLD_SPAN, slices
from storage_plugins.sql.large_run_rows import MOMENTS, OPEN_STARTED, SPANS, Fits, Ground, ended_spans, ended_started, is_begun, open_spans

# Spans with ends, or with beginnings, on two days: both doors told of a task at midnight.
MOST_DOUBLED = 50

# A limit nobody reaches: neither engine then computes a column of the subquery again wherever it is used.
FENCE = 2**62

# The words of a moment that may tell its span from what its other facts say.
Differs = Callable[[Any, Any], ColumnElement[bool]]


class TooOdd(Exception):
    """Only the whole fold can tell what this run is."""


@dataclass(slots=True)
class Read:
    """Facts that were read, and what they say of each span, by first_ns."""

    spans: list[FoldSpan] = field(default_factory=list)
    moments: list[FoldMoment] = field(default_factory=list)

    def seen(self) -> list[Seen]:
        """Return what is known of each span."""
        return sorted(greatest_facts(self.spans, self.moments).values(), key=lambda seen: (seen.first_ns, seen.key))

    def __add__(self, other: Read) -> Read:
        """Return both; what is in both counts once in `seen`."""
        return Read(self.spans + other.spans, self.moments + other.moments)


def read_spans(connection: Connection, ground: Ground, keys: Iterable[SpanKey]) -> Read:
    """Return all facts of these spans."""
    read = Read()
    for some in slices(sorted(keys)):
        read += _read(connection, *(ground.place.has(table.c, some) for table in (SPANS, MOMENTS)))
    return read


def read_fitting(connection: Connection, ground: Ground, fits: Fits) -> Read:
    """Return the facts that fit."""
    return _read(connection, and_(ground.spans, fits(SPANS.c)), and_(ground.moments, fits(MOMENTS.c)))


def _read(connection: Connection, of_spans: ColumnElement[bool], of_moments: ColumnElement[bool]) -> Read:
    return Read(
        [FoldSpan._make(row) for row in connection.execute(select(*FOLD_SPAN).select_from(SPANS).where(of_spans))],
        [FoldMoment._make(row) for row in connection.execute(select(*FOLD_MOMENT).select_from(MOMENTS).where(of_moments))],
    )


# --- which are odd ---------------------------------------------------------------------------------------------------------------------


def find_doubled(connection: Connection, ground: Ground) -> set[SpanKey]:
    """Return the spans of which two facts of a kind lie on two days. Raises TooOdd."""
    if len(ground.place.days) < 2:
        return set()
    ended = ground.ended(SPANS.c, lambda other: other.day != SPANS.c.day)
    said = ground.said(MOMENTS.c, lambda other: and_(other.day != MOMENTS.c.day, other.kind == MOMENTS.c.kind, other.at == MOMENTS.c.at))
    return set(_keys(connection, MOST_DOUBLED, _of_ends(ground, ended), _of_moments(ground, said)))


def find_odd(connection: Connection, ground: Ground, fits: Fits, differ: Differs) -> tuple[Ground, set[SpanKey]]:
    """Return the spans that fit, or whose facts differ, or to which more happened than that they waited, began and ended. Raises TooOdd.

    While there are few, the spans that have not ended are among them, and need not be looked for on the ground that is returned.
    """
    row = MOMENTS.c
    ends = _of_ends(ground, fits(SPANS.c))
    happened = or_(fits(row), row.kind.not_in(sorted(c.ONCE_KINDS)))
    has_same_end = ground.ended(row, lambda end: ~differ(row, end))
    try:
        keys = set(_keys(connection, ground.most_odd, ends, _of_moments(ground, or_(happened, ~has_same_end))))
        return replace(ground, has_open=False), keys
    except TooOdd:
        differs = or_(ground.ended(row, lambda end: differ(row, end)), ground.said(row, lambda other: differ(row, other)))
        return ground, set(_keys(connection, ground.most_odd, ends, _of_moments(ground, or_(happened, differs))))


def find_rows(connection: Connection, ground: Ground, fits: Fits) -> set[SpanKey]:
    """Return the spans of which an end or the leading moment fits. Raises TooOdd."""
    statements = [ended_spans(ground, SPANS.c.trace_id, SPANS.c.span_id, fits=fits)]
    if ground.has_open:
        statements.append(open_spans(ground, MOMENTS.c.trace_id, MOMENTS.c.span_id, fits=fits))
    return set(_keys(connection, ground.most_odd, *statements))


def _of_ends(ground: Ground, fits: ColumnElement[bool]) -> Select[Any]:
    return select(SPANS.c.trace_id, SPANS.c.span_id).where(ground.spans, fits)


def _of_moments(ground: Ground, fits: ColumnElement[bool]) -> Select[Any]:
    return select(MOMENTS.c.trace_id, MOMENTS.c.span_id).where(ground.moments, fits)


def _keys(connection: Connection, most: int, *statements: Select[Any]) -> Iterator[SpanKey]:
    for statement in statements:
        rows = connection.execute(statement.limit(most + 1)).all()
        if len(rows) > most:
            raise TooOdd
        yield from ((row.trace_id, row.span_id) for row in rows)


# --- what all spans say together -------------------------------------------------------------------------------------------------------


def find_signs(connection: Connection, ground: Ground, odd: Sequence[Seen], run_spans: Sequence[Seen]) -> Signs:
    """Return what all spans of the run say together. odd: those SQL cannot speak for, by first_ns. Raises TooOdd."""
    ends, moments = (connection.execute(statement).one() for statement in (_ends(ground), _moments(ground)))
    opened = connection.execute(_opened(ground)).all() if ground.has_open else []
    begun_ns = min((row.started_ns for row in opened), default=None)
    if ends.timeless or moments.timeless:
        raise TooOdd  # the fold has a rule for what has no time, but SQL would need another pass for it
    if not odd and ends.first_day is None and moments.first_day is None:
        raise TooOdd
    own = signs_of(odd)
    worked = [seen.started_ns or seen.first_ns for seen in odd if seen.end or seen.begun]
    said = {RUNNING: ends.spans or moments.begun, QUEUED: moments.queued}
    return Signs(
        state=next((state for state in (RUNNING, QUEUED) if said[state] or own.state == state), PENDING),
        first_ns=_least(own.first_ns or None, ends.started_ns, ends.ended_ns, moments.told_ns, begun_ns),
        first_sign_ns=_least(*worked, ends.started_ns, ends.unstarted_ns, ends.unstarted_told_ns, begun_ns),
        flows=[_flow([ends, moments], odd, run_spans)],
        days={*own.days, *(day for row in (ends, moments) for day in (row.first_day, row.last_day) if day is not None)},
        processes={*own.processes, *(row.process for row in opened)} - {""},
    )


def _least(*times: int | None) -> int:
    return min((time for time in times if time is not None), default=0)


def _flow(told: Iterable[Any], odd: Iterable[Seen], run_spans: Sequence[Seen]) -> tuple[str, str]:
    """Return the key and name of the flow, whoever told them: if several are told, the run's own spans must decide."""
    own = [(seen.work.flow_key, seen.work.flow_name) for seen in run_spans]
    keys = {key for row in told for key in (row.flow_key, row.other_flow_key)} | {seen.work.flow_key for seen in odd}
    names = {name for row in told for name in (row.flow_name, row.other_flow_name)} | {seen.work.flow_name for seen in odd}
    keys, names = keys - {None, ""}, names - {None, ""}
    if len(keys) > 1 and not any(key and key != short_key(name) for key, name in own):
        raise TooOdd
    if len(names) > 1 and not any(name for _, name in own):
        raise TooOdd
    return min(keys, default=""), min(names, default="")


def _ends(ground: Ground) -> Select[Any]:
    span, other = SPANS.c, MOMENTS.alias()
    started_ns = ended_started(ground)
    told = select(func.min(other.c.time_ns)).where(ground.same_span(other.c, span)).scalar_subquery()
    told_ns = case((started_ns == 0, told)) if ground.has_moments else null()
    columns = (span.day, span.end_ns, span.flow_key, span.flow_name, started_ns.label("started_ns"), told_ns.label("told_ns"))
    rows = ended_spans(ground, *columns)
    row = (rows.limit(FENCE) if ground.has_moments else rows).subquery().c
    return select(
        func.count().label("spans"),
        func.max(case((and_(row.started_ns == 0, row.end_ns == 0), 1), else_=0)).label("timeless"),
        func.min(func.nullif(row.started_ns, 0)).label("started_ns"),
        func.min(func.nullif(row.end_ns, 0)).label("ended_ns"),
        func.min(case((row.started_ns == 0, row.end_ns))).label("unstarted_ns"),
        func.min(row.told_ns).label("unstarted_told_ns"),
        *_days_and_flows(row),
    )


def _moments(ground: Ground) -> Select[Any]:
    row = MOMENTS.c
    waited = (c.ANNOUNCED, c.QUEUED, c.CANCELLED)
    said = select(
        func.max(case((row.time_ns == 0, 1), else_=0)).label("timeless"),
        func.max(case((row.kind.not_in(waited), 1), else_=0)).label("begun"),
        func.max(case((row.kind == c.QUEUED, 1), else_=0)).label("queued"),
        func.min(row.time_ns).label("told_ns"),
        *_days_and_flows(row),
    )
    return said.select_from(MOMENTS).where(ground.moments)


def _days_and_flows(row: Any) -> Iterator[ColumnElement[Any]]:
    yield func.min(row.day).label("first_day")
    yield func.max(row.day).label("last_day")
    for name in ("flow_key", "flow_name"):
        yield func.min(func.nullif(row[name], "")).label(name)
        yield func.max(row[name]).label(f"other_{name}")


def _opened(ground: Ground) -> Select[Any]:
    """Select the processes of open spans, that which said that one began, else that it waited, else announced it; and when the first began."""
    row = MOMENTS.c
    told = (row.process, *(_process_of(ground, kind) for kind in (c.QUEUED, c.ANNOUNCED)))
    process = func.coalesce(*(func.nullif(one, "") for one in told), "")
    columns = (process.label("process"), OPEN_STARTED.label("started_ns"))
    begun = open_spans(ground, *columns, fits=lambda row: and_(is_begun(row), ~ground.said(row, _is_cancelled))).subquery().c
    return select(begun.process, func.min(begun.started_ns).label("started_ns")).group_by(begun.process)


def _process_of(ground: Ground, kind: str) -> ScalarSelect[Any]:
    other = MOMENTS.alias()
    return select(func.max(other.c.process)).where(ground.same_span(other.c, MOMENTS.c), other.c.kind == kind).scalar_subquery()


def _is_cancelled(row: Any) -> ColumnElement[bool]:
    cancelled: ColumnElement[bool] = row.kind == c.CANCELLED
    return cancelled
