"""The facts of a run become what people see of it: `fold`. Pure; no order of arrival, no duplicate changes its answer.

The steps: greatest facts (winners.py), whose run each span is (lineage.py), then here the states of design section 3, first match wins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from collector.attributes import attributes_from_json
from collector.lineage import Claim, Lineage, trace_lineage
from collector.model import FoldMoment, FoldSpan
from collector.picture import (
    CANCELLED,
    FAILED,
    KIND_RUN,
    KIND_TRACE,
    PAUSED,
    PENDING,
    QUEUED,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    TERMINAL,
    Attempt,
    Run,
    RunPicture,
    TaskRun,
)
from collector.tries import Tries, give_retries, retries_of, settle_attempts, tries_of
from collector.winners import Seen, are_paused, greatest_facts, stated_key
from otel_bridge import conventions as c

STATE_OF_RESULT = {
    c.RESULT_SUCCESS: SUCCEEDED,
    c.RESULT_FAILURE: FAILED,
    c.RESULT_ERROR: FAILED,
    c.RESULT_TIMEOUT: FAILED,
    c.RESULT_CANCELLATION: CANCELLED,
    c.RESULT_SKIP: SKIPPED,
}


@dataclass(slots=True)
class Facts:
    """Everything known in the traces of one run.

    claims: the runs that have facts in these traces. beating_until_ns: process -> when its silence will mean that it is gone.
    first_ns: the first time anything about the run was heard of, for a run of which only a log line is known.
    """

    spans: Sequence[FoldSpan]
    moments: Sequence[FoldMoment]
    claims: Sequence[Claim]
    beating_until_ns: Mapping[str, int] = field(default_factory=dict)
    first_ns: int = 0


def fold(run_key: bytes, facts: Facts, now_ns: int) -> RunPicture:
    """Return the picture of one run from all facts in its traces.

    run_key: of a named run, or a trace id for the provisional run of a plain trace; facts.claims must hold a claim of it.
    now_ns decides one thing only: whether a plain trace with an ended root and open spans still runs (their process beats) or is over;
    run.recheck_ns says when to ask again.
    """
    lineage = trace_lineage(run_key, greatest_facts(facts.spans, facts.moments), facts.claims)
    run = _describe_run(run_key, lineage, facts)
    end = _greatest_end(lineage.run_spans)
    tasks = [_fold_task(node, spans) for node, spans in sorted(lineage.tasks.items())]
    give_retries(tasks, retries_of(lineage.members))
    run.status = _run_state(run, lineage, end, tasks)
    if run.status in TERMINAL and run.kind == KIND_TRACE:
        _keep_beating_trace_open(run, lineage, facts.beating_until_ns, now_ns)
    run.finished_ns = _run_finish(run, lineage, end)
    if run.status in TERMINAL:
        _close_open_tasks(tasks, run.finished_ns)
    settle_attempts(tasks)
    tasks.sort(key=lambda task: (task.started_ns or 2**63, task.node))
    run.counts = dict(Counter(task.status for task in tasks))
    run.error = "" if run.status == SUCCEEDED else run.error or _first_error(tasks)
    return RunPicture(run, tasks, lineage.owners, lineage.own_traces)


# --- the run ---------------------------------------------------------------------------------------------------------------------------


def _describe_run(run_key: bytes, lineage: Lineage, facts: Facts) -> Run:
    members = lineage.members
    claims = [claim for claim in sorted(facts.claims) if claim.run_key == run_key]
    claim = next((claim for claim in claims if claim.source != c.TRACE_SOURCE), claims[0])
    speakers = [*lineage.run_spans, *members]
    attributes = _merged_attributes(lineage.run_spans)
    times = [seen.first_ns for seen in members if seen.first_ns]
    starts = [seen.started_ns or seen.first_ns for seen in members if seen.begun or seen.end]
    days = [day for seen in members for day in seen.days] or [0]
    return Run(
        run_key=run_key,
        source=claim.source,
        run_id=claim.run_id,
        generation=claim.generation,
        kind=KIND_RUN if lineage.named else KIND_TRACE,
        status=PENDING,
        flow_key=stated_key((seen.work.flow_key, seen.work.flow_name) for seen in speakers),
        flow_name=_first(seen.work.flow_name for seen in speakers),
        flow_id=_text(attributes.get(c.FLOW_ID)),
        description=_text(attributes.get(c.FLOW_DESCRIPTION)),
        started_ns=_first_number(seen.started_ns for seen in lineage.run_spans) or min(starts, default=0),
        first_ns=min(times, default=facts.first_ns),
        params=attributes.get(c.PARAMS),
        metadata=_metadata(attributes),
        tags=_sequence(attributes.get(c.TAGS)),
        error=_first(seen.end.error for seen in lineage.run_spans if seen.end),
        tasks_declared=_whole(attributes.get(c.TASKS_DECLARED)),
        hidden=not lineage.named and not members,
        trace_ids=sorted({claim.trace_id for claim in claims}),
        first_day=min(days),
        last_day=max(days),
        processes=sorted({seen.process for seen in members if seen.is_open and seen.process}),
    )


def _run_state(run: Run, lineage: Lineage, end: FoldSpan | None, tasks: Sequence[TaskRun]) -> str:
    if any(seen.cancelled for seen in lineage.run_spans):
        return CANCELLED
    if end is not None:
        stated = _stated_state(end)
        if stated or run.kind == KIND_TRACE:
            return stated or SUCCEEDED
        return FAILED if any(task.status == FAILED for task in tasks) else SUCCEEDED
    if are_paused(lineage.run_spans):
        return PAUSED
    if any(seen.begun or seen.end for seen in lineage.members):
        return RUNNING
    return QUEUED if any(seen.queued for seen in lineage.members) else PENDING


def _stated_state(end: FoldSpan) -> str:
    """Return what an end says of itself: its result word, else its status; empty if it only says that it is over."""
    if end.result in STATE_OF_RESULT:
        return STATE_OF_RESULT[end.result]
    return {c.STATUS_ERROR: FAILED, c.STATUS_OK: SUCCEEDED}.get(end.status_code, "")


def _keep_beating_trace_open(run: Run, lineage: Lineage, beating_until_ns: Mapping[str, int], now_ns: int) -> None:
    """Never infer completion from the root's end alone: an open span in a process that beats is work going on. A person's word stands."""
    if any(seen.cancelled for seen in lineage.run_spans):
        return
    until = [beating_until_ns.get(seen.process, 0) for seen in lineage.members if seen.is_open]
    alive = [time for time in until if time > now_ns]
    if alive:
        run.status = RUNNING
        run.recheck_ns = max(alive)


def _run_finish(run: Run, lineage: Lineage, end: FoldSpan | None) -> int:
    if run.status not in TERMINAL:
        return 0
    if end is not None:
        return end.end_ns
    return max((seen.cancelled_ns for seen in lineage.run_spans), default=0)


def _close_open_tasks(tasks: Iterable[TaskRun], finished_ns: int) -> None:
    """A run that is over has no open tasks; a real end that comes later replaces the inferred one."""
    for task in tasks:
        if task.status in TERMINAL:
            continue
        begun = task.status in (RUNNING, PAUSED)
        task.status = CANCELLED if begun else SKIPPED
        task.finished_ns = max(finished_ns, task.started_ns) if begun else 0
        task.inferred = True


def _first_error(tasks: Iterable[TaskRun]) -> str:
    failed = [task for task in tasks if task.status == FAILED and task.error]
    return min(failed, key=lambda task: (task.finished_ns, task.node)).error if failed else ""


# --- a task run ------------------------------------------------------------------------------------------------------------------------


def _fold_task(node: str, spans: Sequence[Seen]) -> TaskRun:
    own, tries = tries_of(spans)
    newest = max(tries, default=0)
    deciding = _deciding_end(own) or _deciding_end(tries.get(newest, ()))
    attributes = _merged_attributes(own or spans)
    status = _task_state(own, tries, deciding)
    name = _first(seen.work.task_name for seen in spans) or _first(seen.name for seen in spans)
    starts = [seen.started_ns for seen in spans if seen.started_ns]
    return TaskRun(
        node=node,
        task_key=stated_key((seen.work.task_key, seen.work.task_name) for seen in spans) or name,
        task_name=name,
        status=status,
        started_ns=_first_number(seen.started_ns for seen in own) or min(starts, default=0),
        finished_ns=_task_finish(status, own, deciding),
        error=deciding.error if deciding and status == FAILED else "",
        attempt=max(_whole(attributes.get(c.ATTEMPTS)) or 1, 1, newest),
        attempts=[_attempt(number, tries[number]) for number in sorted(tries)],
        priority=_whole(attributes.get(c.PRIORITY)),
        tags=_sequence(attributes.get(c.TAGS)),
        run_in=_text(attributes.get(c.RUN_IN)),
        description=_text(attributes.get(c.TASK_DESCRIPTION)),
        upstream=_sequence(attributes.get(c.UPSTREAM)),
    )


def _deciding_end(spans: Sequence[Seen]) -> FoldSpan | None:
    """Return the end that speaks for the task run: none that says that another try follows."""
    return _greatest_end([seen for seen in spans if seen.end is not None and seen.end.result != c.RESULT_RETRY])


def _task_state(own: Sequence[Seen], tries: Tries, deciding: FoldSpan | None) -> str:
    if any(seen.cancelled for seen in own):
        return CANCELLED
    if deciding is not None:
        return _stated_state(deciding) or SUCCEEDED
    if are_paused(own):
        return PAUSED
    if tries or any(seen.begun or seen.end for seen in own):
        return RUNNING
    return QUEUED if any(seen.queued for seen in own) else PENDING


def _task_finish(status: str, own: Sequence[Seen], deciding: FoldSpan | None) -> int:
    if status not in TERMINAL:
        return 0
    return deciding.end_ns if deciding is not None else max((seen.cancelled_ns for seen in own), default=0)


def _attempt(number: int, spans: Sequence[Seen]) -> Attempt:
    end = _greatest_end(spans)
    started_ns = min((seen.started_ns for seen in spans if seen.started_ns), default=0)
    if end is None:
        return Attempt(number, RUNNING if any(seen.begun for seen in spans) else PENDING, started_ns)
    status = FAILED if end.result == c.RESULT_RETRY else _stated_state(end) or SUCCEEDED
    return Attempt(number, status, started_ns, end.end_ns, end.error if status == FAILED else "")


# --- words from several facts ----------------------------------------------------------------------------------------------------------


def _greatest_end(spans: Iterable[Seen]) -> FoldSpan | None:
    ends = [seen.end for seen in spans if seen.end is not None]
    return max(ends, key=lambda end: (end.rank, end.weight, end.digest), default=None)


def _merged_attributes(spans: Sequence[Seen]) -> dict[str, Any]:
    """Merge what a span's moments and end say: the end last, so that its word stands."""
    merged: dict[str, Any] = {}
    for seen in spans:
        often = [moment for moment in seen.often if moment.kind != c.RETRIED]
        once = [seen.once[kind] for kind in (c.ANNOUNCED, c.QUEUED, c.BEGUN) if kind in seen.once]
        texts = [moment.attributes for moment in (*once, *often)] + ([seen.end.attributes] if seen.end is not None else [])
        for text in texts:
            merged.update(attributes_from_json(text))
    return merged


def _metadata(attributes: Mapping[str, Any]) -> Any:
    """Return the run's metadata: what the sender named so, beside the conventions for where and from what code it ran."""
    stated = attributes.get(c.METADATA)
    known = {key: value for key, value in attributes.items() if key.startswith(("vcs.", "deployment."))}
    if stated is not None and not isinstance(stated, dict):
        return {**known, "metadata": stated} if known else stated
    return {**known, **(stated or {})} or None


def _first(values: Iterable[str]) -> str:
    return next((value for value in values if value), "")


def _first_number(values: Iterable[int]) -> int:
    return next((value for value in values if value), 0)


def _whole(value: Any) -> int | None:
    """Return a whole number that fits an int column of any database, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31 else None


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _sequence(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list) else [value]
