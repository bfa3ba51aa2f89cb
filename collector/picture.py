"""What people see of a run: the shapes the fold makes, the storages cache and the viewer shows. Seed 000's entities, in our words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
