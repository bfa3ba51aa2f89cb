"""Opens a run too large to fold whole: its header and counters from SQL over the facts, one page of its task runs folded.

The answer is that of collector.fold.fold, or None where SQL cannot know it. What is odd is read and folded here: spans whose facts differ
on what they are, that were paused, cancelled or retried, that have two ends; and the nodes these may be of, those with attempts or several
spans. All other task runs are simple: one span, whose state and start follow from its end or its leading moment (large_run_rows.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, false, literal, or_, select

from collector.fold import describe_run, settle_run
from collector.lineage import Claim, as_task
from collector.picture import (
    FAILED,
    KIND_RUN,
    PAUSED,
    RUNNING,
    SUCCEEDED,
    TERMINAL,
    Extent,
    Run,
    TaskKey,
    TaskRun,
    choose_tasks,
    extent_of,
    first_failed,
    place_of,
)
from collector.questions import LARGEST_PAGE
from collector.task_runs import fold_tasks, settle_tasks, state_when_over
from collector.winners import Seen, SpanKey
from otel_bridge import conventions as c
from storage_plugins.sql.facts import Place, beating_until, find_place
from storage_plugins.sql.large_run_outline import Outline
from storage_plugins.sql.large_run_rows import MOMENTS, SPANS, TASK_ROLES, Ground, TaskRows, find_ground
from storage_plugins.sql.large_run_spans import TooOdd, find_doubled, find_odd, find_signs, read_spans
from storage_plugins.sql.large_run_tasks import Tasks, named_tasks, plain_tasks
from storage_plugins.sql.run_events import find_newest

# A run of more ends and moments is large. Here the outline becomes the cheaper: tasks that began and ended, 5,000 facts: fold 147 ms, outline
# 137; 20,000: 620 and 252; a flat trace of 2,500 spans: 45 and 51; of 10,000: 255 and 85 (SQLite, 2026-11).
LARGE_FACTS = 5_000
# Beyond so many odd spans, or nodes, the whole fold is as cheap: each costs 40 us here, and is named in the statements that leave it out.
MOST_ODD = 5_000
# Tasks that one run tells the catalogue of; who calls each of 100,000 task runs something else has no catalogue.
MOST_TASKS = 5_000
# The states of task runs that a page chooses before others; without them it shows the first.
CHOSEN = (FAILED, RUNNING, PAUSED)


def outline(connection: Connection, project: int, run_key: bytes, now_ns: int, most_odd: int = MOST_ODD) -> Outline | None:
    """Return a run's header and counters as the fold would, None if only the whole fold can tell.

    That is so where other named runs claim its traces, where its flow's name depends on the order of its spans, where a span has no time, and
    where more than most_odd spans, or nodes, would have to be read one by one. A run of which only log lines are known is none for this.
    """
    claims, place = find_place(connection, project, run_key)
    named = {claim.run_key for claim in claims if claim.source != c.TRACE_SOURCE}
    if not claims or named - {run_key}:
        return None
    try:
        return _outline(connection, find_ground(connection, place, most_odd), claims, now_ns, is_named=bool(named))
    except TooOdd:
        return None


def _outline(connection: Connection, whole: Ground, claims: Sequence[Claim], now_ns: int, *, is_named: bool) -> Outline:
    place = whole.place
    doubled = find_doubled(connection, whole)
    ground = whole.without(sorted(doubled))
    by_node = is_named and _any_task(connection, ground)
    ground, keys = _find_odd(connection, ground, is_named=is_named, by_node=by_node)
    odd = read_spans(connection, whole, doubled | keys)
    seen = odd.seen()
    run_spans = _run_spans(seen, place.run_key, is_named=is_named)
    signs = find_signs(connection, ground, seen, run_spans)
    if by_node:
        tasks = named_tasks(connection, ground, odd, seen)
    else:
        tasks = plain_tasks(connection, ground, seen, run_spans, claims, is_named=is_named)
    run = describe_run(place.run_key, claims, run_spans, signs)
    beating = beating_until(connection, place.project, run.processes)
    failed = tasks.states[FAILED] > 0 or any(task.status == FAILED for task in tasks.folded)
    settle_run(run, run_spans, beating, now_ns, failed=failed)
    settle_tasks(run, tasks.folded)
    run.counts = _counts(run, tasks)
    simple = tasks.rule.rows(ground)
    shown = _shown(connection, simple, run, tasks.folded)
    broken = _first_failed(connection, simple, tasks)
    run.error = "" if run.status == SUCCEEDED else run.error or (broken.error if broken else "")
    return Outline(
        run=run,
        extent=_extent(connection, simple, run, tasks.folded),
        culprit=broken.node if broken else "",
        shown=shown,
        first=_first(connection, simple, run, tasks.folded) if any(run.counts.get(state) for state in CHOSEN) else shown,
        folded=tasks.folded,
        rule=tasks.rule,
        doubled=sorted(doubled),
        has_open=ground.has_open,
        roots=[span.key for span in run_spans],
        newest=find_newest(connection, whole.spans),
    )


def _any_task(connection: Connection, ground: Ground) -> bool:
    statements = (
        select(literal(1)).where(ground.spans, SPANS.c.role.in_(TASK_ROLES)),
        select(literal(1)).where(ground.moments, MOMENTS.c.role.in_(TASK_ROLES)),
    )
    return any(connection.execute(statement.limit(1)).first() is not None for statement in statements)


def _find_odd(connection: Connection, ground: Ground, *, is_named: bool, by_node: bool) -> tuple[Ground, set[SpanKey]]:
    """Return the spans whose facts must be read: the run's own, and those that SQL may take for something else than they are."""

    def fits(row: Any) -> ColumnElement[bool]:
        is_run = row.role == c.ROLE_RUN if is_named else row.parent_span_id == b""
        tried = false() if by_node else or_(row.attempt > 0, row.result == c.RESULT_RETRY if "result" in row else false())
        return or_(is_run, tried)

    def differ(row: Any, other: Any) -> ColumnElement[bool]:
        place = "node" if by_node else "parent_span_id"
        return or_(row.role != other.role, row[place] != other[place], row.attempt.is_distinct_from(other.attempt))

    return find_odd(connection, ground, fits, differ)


def _run_spans(seen: Sequence[Seen], run_key: bytes, *, is_named: bool) -> list[Seen]:
    if is_named:
        return [span for span in seen if span.work.role == c.ROLE_RUN and span.work.run_key == run_key]
    return [span for span in seen if not span.parent_span_id][:1]


def _counts(run: Run, tasks: Tasks) -> dict[str, int]:
    states = Counter(task.status for task in tasks.folded)
    for state, count in tasks.states.items():
        states[state_when_over(state) if run.status in TERMINAL else state] += count
    return {state: count for state, count in states.items() if count}


def _first_failed(connection: Connection, simple: TaskRows, tasks: Tasks) -> TaskRun | None:
    """Return the task run that failed first, those that were folded among them; None if none has failed."""
    rows = connection.execute(simple.first_failed()).all() if tasks.states[FAILED] else []
    simple_failed = [TaskRun(simple.text_of(row.node), "", "", FAILED, finished_ns=row.end_ns, error=row.error) for row in rows]
    return first_failed([*tasks.folded, *simple_failed])


def _extent(connection: Connection, simple: TaskRows, run: Run, folded: Sequence[TaskRun]) -> Extent:
    row, known = connection.execute(simple.covers()).one(), extent_of(run, folded)
    last_ns = max(run.finished_ns, row.last_begun_ns) if row.begun and run.status in TERMINAL else 0
    starts = [start_ns for start_ns in (known.start_ns, row.start_ns) if start_ns]
    return Extent(min(starts, default=0), max(known.end_ns, row.end_ns or 0, last_ns))


def _shown(connection: Connection, simple: TaskRows, run: Run, folded: Sequence[TaskRun]) -> list[TaskRun]:
    rows = connection.execute(simple.chosen(LARGEST_PAGE, is_over=run.status in TERMINAL)).all()
    found = [*folded, *fold_simple(connection, simple, run, rows)]
    return choose_tasks(sorted(found, key=place_of), LARGEST_PAGE)


def _first(connection: Connection, simple: TaskRows, run: Run, folded: Sequence[TaskRun]) -> list[TaskRun]:
    rows = connection.execute(simple.in_order(None, LARGEST_PAGE)).all()
    keys = [(row.trace_id, row.span_id) for row in rows]
    return sorted([*folded, *fold_simple(connection, simple, run, keys)], key=place_of)[:LARGEST_PAGE]


# --- pages -----------------------------------------------------------------------------------------------------------------------------


def simple_rows(connection: Connection, place: Place, outline: Outline) -> TaskRows:
    """Return the rows of the simple task runs of a run that was outlined, perhaps at an earlier moment."""
    ground = find_ground(connection, place, MOST_ODD).without(outline.doubled)
    return outline.rule.rows(replace(ground, has_open=outline.has_open))


def task_page(
    connection: Connection, place: Place, outline: Outline, limit: int, after: TaskKey | None
) -> tuple[list[TaskRun], TaskKey | None]:
    """Return the next task runs in the order of a picture, and the key to go on after; None behind the last.

    limit: LARGEST_PAGE at most. after: the key of the page before; None for the first, which is as it was outlined, as are those that are
    not simple. A task run that has become odd since may be told on two pages.
    """
    if after is None:
        return list(outline.first[:limit]), place_of(outline.first[limit - 1]) if outline.total > limit else None
    simple = simple_rows(connection, place, outline)
    folded = {place_of(task): task for task in outline.folded}
    rows = _keys_after(connection, simple, after, limit + 1)
    keys = sorted([*rows, *(key for key in folded if key > after)])
    page = keys[:limit]
    found = fold_simple(connection, simple, outline.run, [rows[key] for key in page if key in rows])
    tasks = sorted([*found, *(folded[key] for key in page if key in folded)], key=place_of)
    return tasks, page[-1] if len(keys) > limit else None


def _keys_after(connection: Connection, simple: TaskRows, after: TaskKey, limit: int) -> dict[TaskKey, SpanKey]:
    rows = connection.execute(simple.in_order((after[0], simple.from_text(after[1])), limit))
    return {(row.sort_ns, simple.text_of(row.node)): (row.trace_id, row.span_id) for row in rows}


def fold_simple(connection: Connection, simple: TaskRows, run: Run, keys: Iterable[SpanKey]) -> list[TaskRun]:
    """Return the simple task runs whose spans these are, as far as their run is."""
    seen = read_spans(connection, simple.ground, [(trace_id, span_id) for trace_id, span_id in keys]).seen()
    spans = [span if simple.by_node else as_task(span) for span in seen]
    tasks = fold_tasks({span.work.node: [span] for span in spans}, ())
    settle_tasks(run, tasks)
    return tasks


def newest_of_each_task(connection: Connection, place: Place, outline: Outline) -> list[TaskRun]:
    """Return task runs in the order of a picture, among them the last of each task: what a catalogue learns from."""
    if outline.run.kind != KIND_RUN or not outline.run.flow_key:
        return []
    simple = simple_rows(connection, place, outline)
    rows = connection.execute(simple.newest_of_each_task(MOST_TASKS)).all()
    return sorted([*outline.folded, *fold_simple(connection, simple, outline.run, rows)], key=place_of)
