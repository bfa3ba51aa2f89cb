"""Opens a run too large to fold whole: its header and counters from SQL over the facts, one page of its task runs folded.

The answer is that of collector.fold.fold, or None where SQL cannot know it. What is odd is read and folded here: spans whose facts differ
on what they are, that were paused, cancelled or retried, that have two ends; and the nodes these may be of, those with attempts or several
spans. All other task runs are simple: one span, whose state and start follow from its end or its leading moment (large_run_rows.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, false, func, literal, or_, select

from collector.fold import describe_run, settle_run
from collector.lineage import Claim, as_task
from collector.picture import FAILED, SUCCEEDED, TERMINAL, Run, TaskRun
from collector.task_runs import fold_tasks, place_of, settle_tasks, state_when_over
from collector.winners import Seen, SpanKey
from otel_bridge import conventions as c
from storage_plugins.sql.facts import beating_until, find_place
from storage_plugins.sql.large_run_rows import (
    ENDED_STATE,
    LAST_NS,
    MOMENTS,
    SPANS,
    TASK_ROLES,
    Ground,
    TaskRows,
    ended_spans,
    find_ground,
)
from storage_plugins.sql.large_run_spans import TooOdd, find_doubled, find_odd, find_signs, read_spans
from storage_plugins.sql.large_run_tasks import Tasks, named_tasks, plain_tasks
from storage_plugins.sql.tables import Moment, Span

# Beyond so many odd spans, or nodes, the whole fold is as cheap: each costs 40 us here, and is named in the statements that leave it out.
MOST_ODD = 5_000

# Where a task run stands in its run: its start, or LAST_NS if it has none, and its node.
Key = tuple[int, str]


@dataclass(slots=True)
class Outline:
    """A large run without its task runs, good for the snapshot it was made from. total: how many task runs it has."""

    run: Run
    total: int
    tasks: Tasks
    beating_until_ns: dict[str, int]


def count_facts(connection: Connection, project: int, run_key: bytes, at_most: int) -> int:
    """Return how many ends and moments of spans the run's traces hold, as far as at_most. Reads of the primary keys alone."""
    _, place = find_place(connection, project, run_key)
    counted = 0
    for model in (Span, Moment):
        some = select(literal(1)).where(place.holds(model)).limit(at_most - counted).subquery()
        counted += connection.execute(select(func.count()).select_from(some)).scalar_one()
    return counted


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
    run.error = "" if run.status == SUCCEEDED else run.error or _first_error(connection, tasks)
    return Outline(run, sum(run.counts.values()), tasks, beating)


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


def _first_error(connection: Connection, tasks: Tasks) -> str:
    """Return the error of the task run that failed first: of those that were folded, or of the others."""
    rows, span = tasks.simple, SPANS.c
    failed = ended_spans(
        rows.ground,
        span.end_ns,
        span[rows.node].label("node"),
        span.error,
        fits=lambda row: and_(rows.fits(row), ENDED_STATE == FAILED, row.error != ""),
    )
    found = [
        (row.end_ns, rows.text_of(row.node), row.error) for row in connection.execute(failed.order_by(span.end_ns, span[rows.node]).limit(1))
    ]
    found += [(task.finished_ns, task.node, task.error) for task in tasks.folded if task.status == FAILED and task.error]
    return min(found)[2] if found else ""


# --- pages -----------------------------------------------------------------------------------------------------------------------------


def task_page(connection: Connection, outline: Outline, limit: int, after: Key | None) -> tuple[list[TaskRun], Key | None]:
    """Return the next task runs in the order of a picture, and the key to go on after; None behind the last.

    after: the key of the page before, None for the first. Asked in the snapshot of the outline.
    """
    simple = outline.tasks.simple
    folded = {_key_of(task): task for task in outline.tasks.folded}
    rows = _keys_after(connection, simple, after, limit + 1)
    keys = sorted([*rows, *(key for key in folded if after is None or key > after)])
    page = keys[:limit]
    found = _fold_simple(connection, simple, [rows[key] for key in page if key in rows])
    settle_tasks(outline.run, list(found.values()))
    return [folded.get(key) or found[key[1]] for key in page], page[-1] if len(keys) > limit else None


def _key_of(task: TaskRun) -> Key:
    started_ns, node = place_of(task)
    return (min(started_ns, LAST_NS), node)


def _keys_after(connection: Connection, simple: TaskRows, after: Key | None, limit: int) -> dict[Key, SpanKey]:
    start = (after[0], simple.from_text(after[1])) if after is not None else None
    rows = connection.execute(simple.in_order(start, limit))
    return {(row.sort_ns, simple.text_of(row.node)): (row.trace_id, row.span_id) for row in rows}


def _fold_simple(connection: Connection, simple: TaskRows, keys: Iterable[SpanKey]) -> dict[str, TaskRun]:
    seen = read_spans(connection, simple.ground, keys).seen()
    spans = [span if simple.by_node else as_task(span) for span in seen]
    return {task.node: task for task in fold_tasks({span.work.node: [span] for span in spans}, ())}
