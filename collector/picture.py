"""What people see of a run: the shapes the fold makes, the storages cache and the viewer shows. Seed 000's entities, in our words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

PENDING, QUEUED, RUNNING, PAUSED = "PENDING", "QUEUED", "RUNNING", "PAUSED"
SUCCEEDED, FAILED, CANCELLED, SKIPPED = "SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED"
STATES = (PENDING, QUEUED, RUNNING, PAUSED, SUCCEEDED, FAILED, CANCELLED, SKIPPED)
TERMINAL = frozenset({SUCCEEDED, FAILED, CANCELLED, SKIPPED})

KIND_RUN, KIND_TRACE = "run", "trace"


@dataclass(slots=True)
class Attempt:
    """One try of a task run. number counts from 1."""

    number: int
    status: str
    started_ns: int = 0
    finished_ns: int = 0
    error: str = ""


@dataclass(slots=True)
class TaskRun:
    """A node's execution. attempt: the newest try's number, from 1. inferred: its end follows from the run's end, nobody reported it."""

    node: str
    task_key: str
    task_name: str
    status: str
    started_ns: int = 0
    finished_ns: int = 0
    error: str = ""
    attempt: int = 1
    attempts: list[Attempt] = field(default_factory=list)
    inferred: bool = False
    priority: int | None = None
    tags: Sequence[Any] = ()
    run_in: str = ""
    description: str = ""
    upstream: Sequence[Any] = ()


@dataclass(slots=True)
class Run:
    """One execution of a flow, or a plain trace (kind). tasks_declared: what the sender announced, never waited for.

    counts: task runs by state. hidden: a provisional trace with no span of its own, named runs have claimed them; it is not listed.
    recheck_ns: when time alone may change the state, 0 = never. processes: those whose spans are open.
    partly_deleted: facts of earlier days were too old and are gone; everything else here is as it was before.
    """

    run_key: bytes
    source: str
    run_id: str
    generation: int
    kind: str
    status: str
    flow_key: str = ""
    flow_name: str = ""
    flow_id: str = ""
    description: str = ""
    started_ns: int = 0
    finished_ns: int = 0
    first_ns: int = 0
    params: Any = None
    metadata: Any = None
    tags: Sequence[Any] = ()
    error: str = ""
    tasks_declared: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    hidden: bool = False
    trace_ids: Sequence[bytes] = ()
    first_day: int = 0
    last_day: int = 0
    recheck_ns: int = 0
    processes: Sequence[str] = ()
    partly_deleted: bool = False


@dataclass(slots=True)
class RunPicture:
    """A run as folded from its facts.

    owners: (trace_id, span_id) of every span of the run -> the node it belongs to, "" = the run itself.
    own_traces: those in which whatever names no run is this run's.
    """

    run: Run
    tasks: list[TaskRun]
    owners: Mapping[tuple[bytes, bytes], str]
    own_traces: frozenset[bytes] = frozenset()


# Where a task run stands among those of its run: its start, or LAST_NS if it has none, and its node.
TaskKey = tuple[int, str]
LAST_NS = 2**63 - 1


def place_of(task: TaskRun) -> TaskKey:
    """Return where a task run stands among those of its run: by start, those not started last."""
    return (min(task.started_ns or LAST_NS, LAST_NS), task.node)


class Extent(NamedTuple):
    """The stretch of time a run and its task runs cover, as far as it is known: from the first start to the last end, 0 = none."""

    start_ns: int = 0
    end_ns: int = 0


def extent_of(run: Run, tasks: Iterable[TaskRun]) -> Extent:
    """Return what a run and all its task runs cover."""
    times = [(run.started_ns, run.finished_ns), *((task.started_ns, task.finished_ns) for task in tasks)]
    return Extent(min((start for start, _ in times if start), default=0), max(end for _, end in times))


def first_failed(tasks: Iterable[TaskRun]) -> TaskRun | None:
    """Return the task run that failed first, one with an error rather than one without; None if none has failed."""
    failed = [task for task in tasks if task.status == FAILED]
    return min(failed, key=lambda task: (not task.error, task.finished_ns, task.node), default=None)


def culprit_of(tasks: Iterable[TaskRun]) -> str:
    """Return the node of the task run that failed first; empty if none has failed."""
    failed = first_failed(tasks)
    return failed.node if failed else ""


def choose_tasks(tasks: Sequence[TaskRun], most: int) -> list[TaskRun]:
    """Return at most so many task runs, in order of start: if there are more, the failed first, then those at work, then the earliest."""
    if len(tasks) <= most:
        return list(tasks)
    weight = {FAILED: 0, RUNNING: 1, PAUSED: 1}
    places = sorted(range(len(tasks)), key=lambda place: (weight.get(tasks[place].status, 2), place))
    return [tasks[place] for place in sorted(places[:most])]
