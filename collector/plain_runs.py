"""Folds the run of a plain trace from sums over its spans, without looking at each. Pure; equals `collector.fold.fold`.

A plain trace is what most of OpenTelemetry sends: every span has ended, none names a run, none has a role. A storage sums its spans up by
their parent, which a database does for a tenth of what reading and folding them costs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from collector.picture import FAILED, KIND_TRACE, RUNNING, SUCCEEDED, Run
from otel_bridge import conventions as c


class Siblings(NamedTuple):
    """The spans of a plain trace that have one parent; parent_span_id is empty for those that have none.

    has_root: whether that parent has none itself; None if nobody has seen it. failed, told_why: how many have status ERROR, and how many of
    those say why. first_*: the least of all; last_*: the greatest of all. Of a single span both are its own.
    """

    parent_span_id: bytes
    has_root: bool | None
    spans: int
    failed: int
    told_why: int
    first_start_ns: int
    first_end_ns: int
    last_flow_key: str
    last_flow_name: str
    last_error: str


def fold_plain_run(trace_id: bytes, day: int, groups: Collection[Siblings]) -> Run | None:
    """Return the run of a plain trace from all its spans, None if only the whole fold can tell: of two roots, or which error came first.

    day: the only one its facts lie on.
    """
    roots = [group for group in groups if not group.parent_span_id]
    if sum(root.spans for root in roots) > 1:
        return None
    run = _describe(trace_id, day, groups, roots)
    tasks = [group for group in groups if group.parent_span_id and group.has_root in (True, None)]  # the root's, and orphans
    if run.status != SUCCEEDED and not run.error and any(group.told_why for group in tasks):
        return None
    failed = sum(group.failed for group in tasks)
    counts = {SUCCEEDED: sum(group.spans for group in tasks) - failed, FAILED: failed}
    run.counts = {state: count for state, count in counts.items() if count}
    return run


def _describe(trace_id: bytes, day: int, groups: Collection[Siblings], roots: Sequence[Siblings]) -> Run:
    """Return the run but for its counts. roots: one, or none if it has not come yet; then the run goes on."""
    first_start_ns, first_end_ns = (min(times) for times in zip(*((group.first_start_ns, group.first_end_ns) for group in groups), strict=True))
    run = Run(
        run_key=trace_id,
        source=c.TRACE_SOURCE,
        run_id=trace_id.hex(),
        generation=0,
        kind=KIND_TRACE,
        status=RUNNING,
        started_ns=first_start_ns,
        first_ns=min(first_start_ns, first_end_ns),
        trace_ids=[trace_id],
        first_day=day,
        last_day=day,
        processes=[],
    )
    for root in roots:
        run.status, run.error = (FAILED, root.last_error) if root.failed else (SUCCEEDED, "")
        run.flow_key, run.flow_name = root.last_flow_key, root.last_flow_name
        run.started_ns, run.finished_ns = root.first_start_ns, root.first_end_ns
    return run
