"""The attempts of a task run: from its spans, from numbers the sender gave, and from retry notices. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from collector.attributes import attributes_from_json
from collector.model import FoldMoment
from collector.picture import FAILED, PENDING, QUEUED, TERMINAL, Attempt, TaskRun
from collector.rows import describe_exception
from collector.winners import Seen
from otel_bridge import conventions as c

# Number of the try -> its spans: more than one where two doors report it.
Tries = Mapping[int, Sequence[Seen]]

# What an int of Postgres holds; a greater number is no count of tries.
MOST_ATTEMPTS = 2**31 - 1


@dataclass(slots=True)
class Retry:
    """A sender's word that a try failed and another follows. node is empty where the sender did not say which."""

    node: str
    task_name: str
    number: int
    time_ns: int
    error: str


def tries_of(spans: Sequence[Seen]) -> tuple[Sequence[Seen], Tries]:
    """Split a node's spans into its own (attempt 0) and its attempts by number.

    One span without a number is the task run itself, beside what an event said of attempt 0, unless it says that another try follows;
    several are attempts in order of start.
    """
    if len(spans) == 1 and not spans[0].work.attempt and not _is_attempt(spans[0]):
        return spans, {}
    own = [span for span in spans if span.work.attempt == 0]
    tries: dict[int, list[Seen]] = {}
    for span in spans:
        if span.work.attempt:
            tries.setdefault(span.work.attempt, []).append(span)
    unnumbered = sorted((span for span in spans if span.work.attempt is None), key=lambda span: (span.started_ns, span.key))
    if len(unnumbered) == 1 and not _is_attempt(unnumbered[0]):
        return [*own, *unnumbered], tries
    after = max(tries, default=0)
    return own, tries | {after + place: [span] for place, span in enumerate(unnumbered, 1)}


def _is_attempt(span: Seen) -> bool:
    return span.work.role == c.ROLE_ATTEMPT or (span.end is not None and span.end.result == c.RESULT_RETRY)


def retries_of(spans: Iterable[Seen]) -> list[Retry]:
    """List the retry notices on these spans."""
    return [_retry(moment) for span in spans for moment in span.often if moment.kind == c.RETRIED]


def _retry(moment: FoldMoment) -> Retry:
    attributes = attributes_from_json(moment.attributes)
    number = attributes.get(c.ATTEMPT)
    return Retry(
        node=moment.node,
        task_name=moment.task_name,
        number=number if isinstance(number, int) and not isinstance(number, bool) and 0 < number <= MOST_ATTEMPTS else 0,
        time_ns=moment.time_ns,
        error=describe_exception(attributes),
    )


def give_retries(tasks: Sequence[TaskRun], retries: Iterable[Retry]) -> None:
    """Add each notice to its task run: the node it names, else the only node of that task open at its time, else nobody's.

    Of several notices of one try of a node, the first in time stays.
    """
    nodes: dict[str, TaskRun] = {}
    names: dict[str, list[TaskRun]] = {}
    for task in tasks:
        nodes[task.node] = task
        names.setdefault(task.task_name, []).append(task)
    taken: dict[str, list[Retry]] = {}
    for retry in retries:
        owner = nodes.get(retry.node) if retry.node else _only_open(names.get(retry.task_name, ()), retry.time_ns)
        if owner is not None:
            taken.setdefault(owner.node, []).append(retry)
    for node, notices in taken.items():
        _add_tries(nodes[node], sorted(notices, key=lambda retry: (retry.number, retry.time_ns)))


def _only_open(tasks: Iterable[TaskRun], time_ns: int) -> TaskRun | None:
    open_then = [task for task in tasks if _was_open(task, time_ns)]
    return open_then[0] if len(open_then) == 1 else None


def _was_open(task: TaskRun, time_ns: int) -> bool:
    return task.status not in (PENDING, QUEUED) and task.started_ns <= time_ns and (not task.finished_ns or time_ns <= task.finished_ns)


def _add_tries(task: TaskRun, retries: Sequence[Retry]) -> None:
    reported = {attempt.number for attempt in task.attempts}
    started_ns = task.started_ns
    last = 0
    for retry in retries:
        if retry.number and retry.number == last:
            continue
        last = retry.number or last + 1
        if last not in reported:
            task.attempts.append(Attempt(last, FAILED, started_ns, retry.time_ns, retry.error))
        started_ns = retry.time_ns
    if last + 1 > max(reported, default=0):
        finished_ns = task.finished_ns if task.status in TERMINAL else 0
        task.attempts.append(Attempt(last + 1, task.status, started_ns, finished_ns, task.error))
    task.attempts.sort(key=lambda attempt: attempt.number)
    task.attempt = max(task.attempt, task.attempts[-1].number)


def settle_attempts(tasks: Iterable[TaskRun]) -> None:
    """Close what is open of task runs that are over: the last try ended as the task run did, one that another followed had failed."""
    for task in tasks:
        for attempt in task.attempts if task.status in TERMINAL else ():
            if attempt.status in TERMINAL:
                continue
            is_last = attempt is task.attempts[-1]
            attempt.status = task.status if is_last else FAILED
            attempt.finished_ns = task.finished_ns if is_last else 0
