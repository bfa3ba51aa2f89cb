"""A node's spans become its task run: state, times, error, attempts and what it says of itself. First match wins, design section 3. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from collector.model import FoldSpan
from collector.picture import CANCELLED, FAILED, PAUSED, PENDING, QUEUED, RUNNING, SKIPPED, SUCCEEDED, TERMINAL, Attempt, Run, TaskRun
from collector.tries import Retry, Tries, give_retries, settle_attempts, tries_of
from collector.winners import Seen, are_paused, stated_key
from collector.words import first_text, greatest_end, merged_attributes, sequence_of, stated_state, text_of, whole_number
from otel_bridge import conventions as c

# The attributes that a task run shows. Most task runs have none, and parsing is most of what a fold would do: 17 us a span.
_TASK_KEYS = (c.ATTEMPTS, c.PRIORITY, c.TAGS, c.RUN_IN, c.TASK_DESCRIPTION, c.UPSTREAM)
DESCRIBES_TASK = re.compile(f'"(?:{"|".join(map(re.escape, _TASK_KEYS))})"')


def fold_tasks(tasks: Mapping[str, Sequence[Seen]], retries: Sequence[Retry]) -> list[TaskRun]:
    """Return the task runs of these nodes as far as their own spans say, in no order. retries: the notices of the run."""
    folded = [_fold_task(node, spans) for node, spans in tasks.items()]
    give_retries(folded, retries)
    return folded


def settle_tasks(run: Run, tasks: Sequence[TaskRun]) -> None:
    """Close what is open of a run that is over: a real end that comes later replaces the inferred one."""
    if run.status in TERMINAL:
        for task in tasks:
            if task.status not in TERMINAL:
                _close(task, run.finished_ns)
    settle_attempts(tasks)


def _close(task: TaskRun, finished_ns: int) -> None:
    begun = task.status in (RUNNING, PAUSED)
    task.status = state_when_over(task.status)
    task.finished_ns = max(finished_ns, task.started_ns) if begun else 0
    task.inferred = True


def state_when_over(state: str) -> str:
    """Return what a task run's state becomes when its run is over."""
    return state if state in TERMINAL else CANCELLED if state in (RUNNING, PAUSED) else SKIPPED


def _fold_task(node: str, spans: Sequence[Seen]) -> TaskRun:
    own, tries = tries_of(spans)
    newest = max(tries, default=0)
    deciding = _deciding_end(own) or _deciding_end(tries.get(newest, ()))
    status = _task_state(own, tries, deciding)
    key, name = _task_words(spans)
    task = TaskRun(
        node=node,
        task_key=key,
        task_name=name,
        status=status,
        started_ns=_task_start(own, spans),
        finished_ns=_task_finish(status, own, deciding),
        error=deciding.error if deciding and status == FAILED else "",
        attempt=max(1, newest),
        attempts=[_attempt(number, tries[number]) for number in sorted(tries)],
    )
    _describe_task(task, merged_attributes(own or spans, DESCRIBES_TASK))
    return task


def _describe_task(task: TaskRun, attributes: Mapping[str, Any]) -> None:
    if not attributes:
        return
    task.attempt = max(task.attempt, whole_number(attributes.get(c.ATTEMPTS)) or 1)
    task.priority = whole_number(attributes.get(c.PRIORITY))
    task.tags = sequence_of(attributes.get(c.TAGS))
    task.run_in = text_of(attributes.get(c.RUN_IN))
    task.description = text_of(attributes.get(c.TASK_DESCRIPTION))
    task.upstream = sequence_of(attributes.get(c.UPSTREAM))


def _task_words(spans: Sequence[Seen]) -> tuple[str, str]:
    """Return the key and name of the task whose run these spans are."""
    if len(spans) == 1:
        told, name = spans[0].work, spans[0].work.task_name or spans[0].name
        return told.task_key or name, name
    name = first_text(seen.work.task_name for seen in spans) or first_text(seen.name for seen in spans)
    return stated_key((seen.work.task_key, seen.work.task_name) for seen in spans) or name, name


def _task_start(own: Sequence[Seen], spans: Iterable[Seen]) -> int:
    for seen in own:
        if seen.started_ns:
            return seen.started_ns
    return min([seen.started_ns for seen in spans if seen.started_ns], default=0)


def _deciding_end(spans: Sequence[Seen]) -> FoldSpan | None:
    """Return the end that speaks for the task run: none that says that another try follows."""
    return greatest_end([seen for seen in spans if seen.end is not None and seen.end.result != c.RESULT_RETRY])


def _task_state(own: Sequence[Seen], tries: Tries, deciding: FoldSpan | None) -> str:
    if any(seen.cancelled for seen in own):
        return CANCELLED
    if deciding is not None:
        return stated_state(deciding) or SUCCEEDED
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
    end = greatest_end(spans)
    started_ns = min((seen.started_ns for seen in spans if seen.started_ns), default=0)
    if end is None:
        return Attempt(number, RUNNING if any(seen.begun for seen in spans) else PENDING, started_ns)
    status = FAILED if end.result == c.RESULT_RETRY else stated_state(end) or SUCCEEDED
    return Attempt(number, status, started_ns, end.end_ns, end.error if status == FAILED else "")
