"""What SQL can say of the spans of one large run: their signs, which of them are simple task runs, in what state and order. Statements only.

Two words of large_runs.py, which asks: a span is odd if its facts must be read to know what it is, a node if the fold must judge it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    Subquery,
    and_,
    case,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    union_all,
)

from collector.picture import FAILED, LAST_NS, PENDING, QUEUED, RUNNING, SUCCEEDED
from collector.words import STATE_OF_RESULT
from otel_bridge import conventions as c
from otel_bridge.facts import RANK_OTLP
from storage_plugins.sql.facts import Place, traces_of
from storage_plugins.sql.pages import hex_of
from storage_plugins.sql.tables import Moment, Span, table_of

SPANS, MOMENTS = table_of(Span), table_of(Moment)
TASK_ROLES = (c.ROLE_TASK, c.ROLE_ATTEMPT)
# SQLite reads the rows of a trace six times as fast in the order they lie in as by its index (60 against 350 ms for 100,000), unless
# as many others lie between them.
SPARSE = 4

# A condition on the columns of spans or of moments; they share most names.
Fits = Callable[[Any], ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Ground:
    """Where to look for the facts of a run: conditions that scan its spans and its moments.

    most_odd: how many odd spans, or nodes, are read one by one. has_moments: whether there are any. has_open: whether SQL must look for
    spans that have not ended; else all of them are odd.
    """

    place: Place
    spans: ColumnElement[bool]
    moments: ColumnElement[bool]
    most_odd: int
    has_moments: bool
    has_open: bool = True

    def without(self, doubled: Sequence[tuple[bytes, bytes]]) -> Ground:
        """Return the same ground without these spans."""
        if not doubled:
            return self
        spans = self.spans & tuple_(SPANS.c.trace_id, SPANS.c.span_id).not_in(doubled)
        moments = self.moments & tuple_(MOMENTS.c.trace_id, MOMENTS.c.span_id).not_in(doubled)
        return replace(self, spans=spans, moments=moments)

    def same_span(self, other: Any, row: Any) -> ColumnElement[bool]:
        """Return the condition that a row of `other`, an alias, is about the same span as a scanned row."""
        return self.at(other, row.trace_id, row.span_id)

    def at(self, other: Any, trace_id: Any, span_id: Any) -> ColumnElement[bool]:
        """Return the condition that a row of `other`, an alias, is about this span. By the primary key of either table."""
        return and_(other.project == self.place.project, other.trace_id == trace_id, other.span_id == span_id, other.day.in_(self.place.days))

    def said(self, row: Any, *fits: Fits) -> ColumnElement[bool]:
        """Return the condition that a moment of the row's span fits."""
        other = MOMENTS.alias()
        return exists(select(literal(1)).select_from(other).where(self.same_span(other.c, row), *(fit(other.c) for fit in fits)))

    def ended(self, row: Any, *fits: Fits) -> ColumnElement[bool]:
        """Return the condition that the row's span has ended, with an end that fits."""
        other = SPANS.alias()
        return exists(select(literal(1)).select_from(other).where(self.same_span(other.c, row), *(fit(other.c) for fit in fits)))

    def is_orphan(self, row: Any) -> ColumnElement[bool]:
        """Return the condition that nobody has seen the parent of the row's span."""
        seen = (
            exists(select(literal(1)).select_from(other).where(self.at(other.c, row.trace_id, row.parent_span_id)))
            for other in ((SPANS.alias(), MOMENTS.alias()) if self.has_moments else (SPANS.alias(),))
        )
        return and_(*(~one for one in seen))


def find_ground(connection: Connection, place: Place, most_odd: int) -> Ground:
    """Return how the facts of a run are best scanned on this engine."""
    spans, moments = (_scan(connection, place, model) for model in (Span, Moment))
    has_moments = connection.execute(select(literal(1)).select_from(MOMENTS).where(moments).limit(1)).first() is not None
    return Ground(place, spans, moments, most_odd, has_moments)


def _scan(connection: Connection, place: Place, model: type[Span] | type[Moment]) -> ColumnElement[bool]:
    if connection.dialect.name != "sqlite":
        return place.holds(model)
    table = table_of(model).name
    rowid: ColumnElement[int] = literal_column(f"{table}.rowid", BigInteger)
    first, last, count = connection.execute(select(func.min(rowid), func.max(rowid), func.count()).where(place.holds(model))).one()
    if not count or last - first >= SPARSE * count:
        return place.holds(model)
    if last - first == count - 1:  # nobody else's row lies between
        return rowid.between(first, last)
    # A plus sign keeps SQLite from choosing the index.
    project: ColumnElement[int] = literal_column(f"+{table}.project", BigInteger)
    trace_id: ColumnElement[bytes] = literal_column(f"+{table}.trace_id", LargeBinary)
    day: ColumnElement[int] = literal_column(f"+{table}.day", BigInteger)
    mine = (project == place.project, trace_id.in_(traces_of(place.project, place.run_key)), day.in_(place.days))
    return and_(rowid.between(first, last), *mine)


# --- one span a row --------------------------------------------------------------------------------------------------------------------


def is_begun(row: Any) -> ColumnElement[bool]:
    """Fit moments that are a beginning."""
    columns: ColumnElement[bool] = row.kind == c.BEGUN
    return columns


def ended_spans(ground: Ground, *columns: Any, fits: Fits | None = None) -> Select[Any]:
    """Select of the spans that have ended."""
    return select(*columns).select_from(SPANS).where(ground.spans, true() if fits is None else fits(SPANS.c))


def open_spans(ground: Ground, *columns: Any, fits: Fits | None = None) -> Select[Any]:
    """Select of the spans that have not ended, each by its leading moment: that it began, else waits in a queue, else was announced."""
    row = MOMENTS.c
    leads = or_(
        row.kind == c.BEGUN,
        and_(row.kind == c.QUEUED, ~ground.said(row, is_begun)),
        and_(row.kind == c.ANNOUNCED, ~ground.said(row, lambda other: other.kind.in_((c.BEGUN, c.QUEUED)))),
    )
    return select(*columns).select_from(MOMENTS).where(ground.moments, leads, true() if fits is None else fits(row), ~ground.ended(row))


def _told_start(row: Any) -> ColumnElement[int]:
    return case((row.start_ns != 0, row.start_ns), else_=row.time_ns)


def ended_started(ground: Ground) -> ColumnElement[int]:
    """Return when an ended span started (collector.winners.Seen.started_ns), 0 = unknown. Its beginning is looked for only if it must be."""
    span, begun = SPANS.c, MOMENTS.alias()
    if not ground.has_moments:
        return span.start_ns
    told = select(_told_start(begun.c)).where(ground.same_span(begun.c, span), is_begun(begun.c)).limit(1).scalar_subquery()
    return case((and_(span.rank == RANK_OTLP, span.start_ns != 0), span.start_ns), else_=func.coalesce(told, span.start_ns))


# When an open span started, by its leading moment; 0 = it has not.
OPEN_STARTED: ColumnElement[int] = case((MOMENTS.c.kind == c.BEGUN, _told_start(MOMENTS.c)), else_=0)
ENDED_STATE: ColumnElement[str] = case(
    STATE_OF_RESULT, value=SPANS.c.result, else_=case((SPANS.c.status_code == c.STATUS_ERROR, FAILED), else_=SUCCEEDED)
)
OPEN_STATE: ColumnElement[str] = case({c.BEGUN: RUNNING, c.QUEUED: QUEUED}, value=MOMENTS.c.kind, else_=PENDING)


# --- one task run a row ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TaskRows:
    """The rows of a run's tasks. node: the column that tells one from another. fits: what rows they are, of spans as of moments."""

    ground: Ground
    node: str
    fits: Fits

    @property
    def by_node(self) -> bool:
        """Return whether its spans name their nodes; else a span's id is its node."""
        return self.node == "node"

    def text_of(self, node: Any) -> str:
        """Return a node as a picture has it."""
        return str(node) if self.by_node else node.hex()

    def from_text(self, node: str) -> Any:
        """Return a node as its column has it. Raises BadCursor: it may come from a cursor."""
        return node if self.by_node else hex_of(node)

    def rows(self, fits: Fits | None = None) -> Subquery:
        """Return a row a span: its key, node, state, times (0 = none), the words its task is called by, odd.

        odd: 1 if the span alone is not its task run.
        """
        chosen: Fits = self.fits if fits is None else lambda row: and_(self.fits(row), fits(row))
        ended, waits = SPANS.c, MOMENTS.c
        odd = case((or_(ended.attempt > 0, ended.role == c.ROLE_ATTEMPT, ended.result == c.RESULT_RETRY), 1), else_=0)
        ended_columns = (
            ended[self.node].label("node"),
            ENDED_STATE.label("state"),
            ended_started(self.ground).label("started_ns"),
            ended.end_ns.label("finished_ns"),
            *_words(ended),
            odd.label("odd"),
        )
        rows = ended_spans(self.ground, ended.trace_id, ended.span_id, *ended_columns, fits=chosen)
        if not self.ground.has_open:
            return rows.subquery()
        odd = case((or_(waits.attempt > 0, waits.role == c.ROLE_ATTEMPT), 1), else_=0)
        open_columns = (
            waits[self.node].label("node"),
            OPEN_STATE.label("state"),
            OPEN_STARTED.label("started_ns"),
            literal(0, BigInteger).label("finished_ns"),
            *_words(waits),
            odd.label("odd"),
        )
        return union_all(rows, open_spans(self.ground, waits.trace_id, waits.span_id, *open_columns, fits=chosen)).subquery()

    def tally(self) -> Select[Any]:
        """Select (node, state, count): simple nodes by state, with node NULL; and each node that is odd by itself or has several spans."""
        row = self.rows().c
        nodes = select(row.node, func.count().label("spans"), func.min(row.state).label("state"), func.max(row.odd).label("odd"))
        each = nodes.group_by(row.node).subquery().c
        named = select(case((or_(each.spans > 1, each.odd > 0), each.node)).label("node"), each.state).subquery().c
        return select(named.node, named.state, func.count()).group_by(named.node, named.state)

    def states(self, fits: Fits | None = None) -> Select[Any]:
        """Select (state, count) of task runs known to be simple."""
        row = self.rows(fits).c
        return select(row.state, func.count().label("tasks")).group_by(row.state)

    def in_order(self, after: tuple[int, Any] | None, limit: int) -> Select[Any]:
        """Select (sort_ns, node, trace_id, span_id) of the next task runs in the order of a picture (collector.picture.place_of)."""
        rows = self._placed()
        page = select(rows.sort_ns, rows.node, rows.trace_id, rows.span_id).order_by(rows.sort_ns, rows.node).limit(limit)
        if after is None:
            return page
        return page.where(or_(rows.sort_ns > after[0], and_(rows.sort_ns == after[0], rows.node > after[1])))

    def chosen(self, limit: int, *, is_over: bool) -> Select[Any]:
        """Select (trace_id, span_id) of those a page shows first (collector.picture.choose_tasks). is_over: then none is at work any more."""
        rows = self._placed()
        weight = case({FAILED: 0} if is_over else {FAILED: 0, RUNNING: 1}, value=rows.state, else_=2)
        return select(rows.trace_id, rows.span_id).order_by(weight, rows.sort_ns, rows.node).limit(limit)

    def newest_of_each_task(self, limit: int) -> Select[Any]:
        """Select (trace_id, span_id) of the last task run, in the order of a picture, of each task, as far as its words tell."""
        rows = self._placed()
        last = func.row_number().over(partition_by=(rows.task_key, rows.task_name, rows.name), order_by=(rows.sort_ns.desc(), rows.node.desc()))
        numbered = select(rows.trace_id, rows.span_id, rows.sort_ns, last.label("number")).subquery().c
        return select(numbered.trace_id, numbered.span_id).where(numbered.number == 1).order_by(numbered.sort_ns.desc()).limit(limit)

    def ended_of(self, nodes: Collection[str]) -> Select[Any]:
        """Select those of these nodes that a span names which has ended. A simple one has one span: when as many are found, it is over."""
        row = SPANS.c
        return select(row.node).where(self.ground.spans, self.fits(row), row.node.in_(nodes)).limit(len(nodes))

    def open_of(self, nodes: Collection[str]) -> Select[Any]:
        """Select those of these nodes that a moment names, some several times."""
        row = MOMENTS.c
        return select(row.node).where(self.ground.moments, self.fits(row), row.node.in_(nodes))

    def covers(self) -> Select[Any]:
        """Select (start_ns, end_ns, begun, last_begun_ns): what they cover, how many have only begun, and when the last of these did."""
        row = self.rows().c
        return select(
            func.min(func.nullif(row.started_ns, 0)).label("start_ns"),
            func.max(row.finished_ns).label("end_ns"),
            func.sum(case((row.state == RUNNING, 1), else_=0)).label("begun"),
            func.max(case((row.state == RUNNING, row.started_ns))).label("last_begun_ns"),
        )

    def first_failed(self) -> Select[Any]:
        """Select (end_ns, node, error) of the one that failed first, one with an error rather than one without."""
        span = SPANS.c
        failed = ended_spans(
            self.ground, span.end_ns, span[self.node].label("node"), span.error, fits=lambda row: and_(self.fits(row), ENDED_STATE == FAILED)
        )
        return failed.order_by(span.error == "", span.end_ns, span[self.node]).limit(1)

    def _placed(self) -> Any:
        row = self.rows().c
        sort_ns = func.coalesce(func.nullif(row.started_ns, 0), LAST_NS)
        words = (row.task_key, row.task_name, row.name)
        return select(sort_ns.label("sort_ns"), row.node, row.state, row.trace_id, row.span_id, *words).subquery().c


def _words(row: Any) -> tuple[Any, ...]:
    return row.task_key, row.task_name, row.name
