"""The attempts of a task run: from its spans, from numbers the sender gave, and from retry notices. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from collector.attributes import attributes_from_json
from collector.model import FoldMoment
from collector.picture import FAILED, TERMINAL, Attempt, TaskRun
from collector.rows import describe_exception
from collector.winners import Seen
from otel_bridge import conventions as c

NumberedTry = tuple[int, Seen]


@dataclass(slots=True)
class Retry:
    """A sender's word that a try failed and another follows. node is empty where the sender did not say which."""

    node: str
    task_name: str
    number: int
    time_ns: int
    error: str


def tries_of(spans: Sequence[Seen]) -> tuple[list[Seen], list[NumberedTry]]:
    """Split a node's spans into its own (attempt 0) and its attempts by number.

    One span without a number is the task run itself, beside what an event said of attempt 0; several are attempts in order of start.
    """
    own = [span for span in spans if span.work.attempt == 0]
    numbered = [(span.work.attempt, span) for span in spans if span.work.attempt]
    unnumbered = sorted((span for span in spans if span.work.attempt is None), key=lambda span: (span.started_ns, span.trace_id, span.span_id))
    if len(unnumbered) == 1 and unnumbered[0].work.role != c.ROLE_ATTEMPT:
        return [*own, *unnumbered], sorted(numbered, key=_number)
    after = max((number for number, _ in numbered), default=0)
    numbered += [(after + place, span) for place, span in enumerate(unnumbered, 1)]
    return own, sorted(numbered, key=_number)


def _number(one: NumberedTry) -> tuple[int, int, bytes]:
    number, span = one
    return (number, span.started_ns, span.span_id)


def retries_of(spans: Iterable[Seen]) -> list[Retry]:
    """List the retry notices on these spans, one a number: of several for the same try the first in time."""
    found: dict[tuple[str, str, int, bytes], Retry] = {}
    for span in spans:
        for moment in span.often:
            if moment.kind == c.RETRIED:
                retry = _retry(moment)
                apart = b"" if retry.number else moment.digest + moment.time_ns.to_bytes(8, "big")
                found.setdefault((retry.node, retry.task_name, retry.number, apart), retry)
    return list(found.values())


def _retry(moment: FoldMoment) -> Retry:
    attributes = attributes_from_json(moment.attributes)
    number = attributes.get(c.ATTEMPT)
    return Retry(
        node=moment.node,
        task_name=moment.task_name,
        number=number if isinstance(number, int) else 0,
        time_ns=moment.time_ns,
        error=describe_exception(attributes),
    )


def give_retries(tasks: Sequence[TaskRun], retries: Iterable[Retry]) -> None:
    """Add each notice to its task run: the node it names, else the only node of that task open at its time, else nobody's."""
    taken: dict[str, list[Retry]] = {}
    for retry in retries:
        task = _task_of(retry, tasks)
        if task is not None:
            taken.setdefault(task.node, []).append(retry)
    for task in tasks:
        if task.node in taken:
            _add_tries(task, sorted(taken[task.node], key=lambda retry: (retry.number, retry.time_ns)))


def _task_of(retry: Retry, tasks: Sequence[TaskRun]) -> TaskRun | None:
    if retry.node:
        return next((task for task in tasks if task.node == retry.node), None)
    open_then = [task for task in tasks if task.task_name == retry.task_name and _was_open(task, retry.time_ns)]
    return open_then[0] if len(open_then) == 1 else None


def _was_open(task: TaskRun, time_ns: int) -> bool:
    return task.started_ns <= time_ns and (not task.finished_ns or time_ns <= task.finished_ns)


def _add_tries(task: TaskRun, retries: Sequence[Retry]) -> None:
    reported = {attempt.number for attempt in task.attempts}
    started_ns = task.started_ns
    last = 0
    for retry in retries:
        last = retry.number or last + 1
        if last not in reported:
            task.attempts.append(Attempt(last, FAILED, started_ns, retry.time_ns, retry.error))
            reported.add(last)
        started_ns = retry.time_ns
    if last + 1 > max(reported):
        finished_ns = task.finished_ns if task.status in TERMINAL else 0
        task.attempts.append(Attempt(last + 1, task.status, started_ns, finished_ns, task.error))
    task.attempts.sort(key=lambda attempt: attempt.number)
    task.attempt = max(task.attempt, task.attempts[-1].number)
