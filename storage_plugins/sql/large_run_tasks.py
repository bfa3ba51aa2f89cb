"""The task runs of a large run: those that must be folded, folded, and the rows of all others counted. What odd means is in large_runs.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from collector.lineage import Claim, as_task
from collector.picture import STATES, TaskRun, place_of
from collector.task_runs import fold_tasks
from collector.tries import Retry, retries_of
from collector.winners import Seen
from otel_bridge import conventions as c
from storage_plugins.sql.large_run_rows import MOMENTS, SPANS, TASK_ROLES, Ground, TaskRows
from storage_plugins.sql.large_run_spans import Read, TooOdd, find_rows, read_fitting, read_spans


@dataclass(frozen=True, slots=True)
class TaskRule:
    """Which of a run's spans are simple task runs, in words that can be kept.

    by_node: spans name their nodes, and `odd` has the nodes that are not simple. Else `odd` has ids of spans, and simple are the other
    children of the roots, and with_orphans the spans whose parent nobody has seen.
    """

    by_node: bool
    odd: Sequence[Any]
    roots: Sequence[bytes] = ()
    with_orphans: bool = False

    def rows(self, ground: Ground) -> TaskRows:
        """Return their rows."""
        if self.by_node:
            return TaskRows(ground, "node", lambda row: and_(_is_task(row), row.node.not_in(self.odd)))
        if not self.with_orphans:
            return TaskRows(ground, "span_id", self._is_child)
        return TaskRows(ground, "span_id", lambda row: or_(self._is_child(row), self.is_orphan(ground, row)))

    def is_orphan(self, ground: Ground, row: Any) -> ColumnElement[bool]:
        """Return the condition that a row is of a span whose parent nobody has seen, and not odd."""
        parent = row.parent_span_id
        return and_(row.role != c.ROLE_RUN, row.span_id.not_in(self.odd), parent != b"", parent.not_in(self.roots), ground.is_orphan(row))

    def _is_child(self, row: Any) -> ColumnElement[bool]:
        return and_(row.role != c.ROLE_RUN, row.span_id.not_in(self.odd), row.parent_span_id.in_(self.roots))


@dataclass(slots=True)
class Tasks:
    """The task runs of a run: those that were folded, by place, and the rule for all others, with how many are in which state."""

    folded: list[TaskRun]
    rule: TaskRule
    states: Counter[str]


# --- the task runs of a run that names its nodes ---------------------------------------------------------------------------------------


def named_tasks(connection: Connection, ground: Ground, odd: Read, seen: Sequence[Seen]) -> Tasks:
    """Return the task runs of a run in which spans name their nodes. odd, seen: what was read of odd spans. Raises TooOdd."""
    every = TaskRows(ground, "node", _is_task)
    retries = retries_of(seen)
    states, odd_nodes = _tally(connection, every)
    more = (_nodes_of(odd, seen) | _nodes_told(connection, every, retries)) - odd_nodes
    if len(more) + len(odd_nodes) > ground.most_odd:
        raise TooOdd
    if more:
        states.subtract({row.state: row.tasks for row in connection.execute(every.states(lambda row: row.node.in_(more)))})
    odd_nodes |= more
    nodes = _read_nodes(connection, ground, odd, odd_nodes) if odd_nodes else {}
    if not nodes and not sum(states.values()):
        raise TooOdd  # nobody names a node after all
    return Tasks(sorted(fold_tasks(nodes, retries), key=place_of), TaskRule(True, sorted(odd_nodes)), states)


def _is_task(row: Any) -> ColumnElement[bool]:
    fits: ColumnElement[bool] = row.role.in_(TASK_ROLES)
    return fits


def _nodes_of(odd: Read, seen: Iterable[Seen]) -> set[str]:
    """Return the nodes that odd spans are of, or are taken for by SQL, which sees one of their facts."""
    told = {end.node for end in odd.spans if end.role in TASK_ROLES} | {moment.node for moment in odd.moments if moment.role in TASK_ROLES}
    return told | {span.work.node for span in seen if span.work.role in TASK_ROLES}


def _nodes_told(connection: Connection, every: TaskRows, retries: Iterable[Retry]) -> set[str]:
    """Return the nodes that notices of retries name; and of those that name none, all of their task: whose they are depends on all."""
    found = {retry.node for retry in retries if retry.node}
    called = sorted({retry.task_name for retry in retries if not retry.node})
    for scan, row in ((every.ground.spans, SPANS.c), (every.ground.moments, MOMENTS.c)) if called else ():
        fits = or_(row.task_name.in_(called), row.name.in_(called))
        found.update(connection.scalars(select(row.node).where(scan, every.fits(row), fits).distinct().limit(every.ground.most_odd + 1)))
    return found


def _read_nodes(connection: Connection, ground: Ground, odd: Read, nodes: set[str]) -> dict[str, list[Seen]]:
    read = odd + read_fitting(connection, ground, lambda row: and_(_is_task(row), row.node.in_(nodes)))
    found: dict[str, list[Seen]] = {}
    for span in read.seen():
        if span.work.role in TASK_ROLES:
            found.setdefault(span.work.node, []).append(span)
    return found


def _tally(connection: Connection, every: TaskRows) -> tuple[Counter[str], set[str]]:
    """Return how many simple nodes are in which state, and the nodes that are not."""
    states: Counter[str] = Counter()
    odd_nodes = set()
    most = every.ground.most_odd + len(STATES)
    rows = connection.execute(every.tally().limit(most + 1)).all()
    if len(rows) > most:
        raise TooOdd
    for node, state, count in rows:
        if node is None:
            states[state] += count
        else:
            odd_nodes.add(node)
    return states, odd_nodes


# --- the task runs of a run whose spans are no more than spans ---------------------------------------------------------------------------


def plain_tasks(
    connection: Connection, ground: Ground, seen: Sequence[Seen], run_spans: Sequence[Seen], claims: Iterable[Claim], *, is_named: bool
) -> Tasks:
    """Return the task runs of a run in which no span names its node. seen: its odd spans, its roots among them. Raises TooOdd.

    See collector.lineage: the children of the root are tasks, and spans whose parent nobody has seen; of a named run one or the other.
    """
    is_worked = is_named and any(span.work.role in TASK_ROLES for span in seen)
    if is_worked or len({claim.trace_id for claim in claims}) > 1 or retries_of(seen):
        raise TooOdd
    roots = [span.key[1] for span in run_spans]
    with_orphans = not (is_named and roots)
    rule = TaskRule(False, [span.key[1] for span in seen], roots)
    read = _odd_tasks(connection, ground, seen, roots, is_named=is_named, with_orphans=with_orphans)
    if with_orphans:
        try:
            orphans = read_spans(connection, ground, find_rows(connection, ground, lambda row: rule.is_orphan(ground, row))).seen()
            read += orphans
            rule = replace(rule, odd=[*rule.odd, *(span.key[1] for span in orphans)])
        except TooOdd:
            rule = replace(rule, with_orphans=True)  # until their parent comes, all are orphans
    states = Counter({row.state: row.tasks for row in connection.execute(rule.rows(ground).states())})
    folded = fold_tasks({span.key[1].hex(): [as_task(span)] for span in read}, ())
    return Tasks(sorted(folded, key=place_of), rule, states)


def _odd_tasks(
    connection: Connection, ground: Ground, seen: Sequence[Seen], roots: Sequence[bytes], *, is_named: bool, with_orphans: bool
) -> list[Seen]:
    """Return which of the odd spans are tasks."""
    others = [span for span in seen if span.key[1] not in roots and span.work.role != c.ROLE_RUN]
    children = [span for span in others if span.parent_span_id in roots]
    if not with_orphans:
        return children
    known = {span.key for span in read_spans(connection, ground, {span.parent_key for span in others}).seen()}
    orphans = [span for span in others if span.parent_key not in known and (span.parent_span_id or not is_named)]
    return [*children, *orphans]
