"""What a Reader answers: pages, a run's view, its news, lists. The questions are in questions.py."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from collector.model import LogRow, MomentRow, ResourceRow, ScopeRow, SpanRow
from collector.picture import Extent, Run, TaskRun
from collector.questions import RunRef

Item = TypeVar("Item")


class Resync(Exception):
    """The cursor is older than what is kept: take a new snapshot and go on from its cursor."""


@dataclass(slots=True)
class Page(Generic[Item]):
    """Part of a list. next_cursor is None on the last page. cursor: where a list of runs is followed from (Reader.list_changes)."""

    items: list[Item]
    next_cursor: str | None = None
    cursor: str = ""


@dataclass(slots=True)
class Heard:
    """What is known of the senders of a run.

    last_ns: when its last fact came. beating_until_ns: by when each of its processes must be heard again, which is two of its intervals
    after it was last heard; 0 if it said that it exits and was not heard since. A process that never said its interval is left out.
    """

    last_ns: int = 0
    beating_until_ns: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class RunView:
    """A run at one moment of the store, as far as was asked (ViewQuery).

    tasks: in the order of a picture; run.counts says how many there are. extent: of all of them. culprit: the node that failed first, if any.
    version: rises with every write of facts; of two views the greater version is the newer. cursor: where to read news from: what this
    view does not show is news after it. flow_id, task_ids (by task_key): ids of the catalogue rows, empty until the fold has made them.
    is_large: the run is shown as it was last folded, by fold() and not for this view; its news come with the folds. facts: how many ends and
    moments are folded for such a view, which is what it costs; 0 where that is next to nothing.
    kept: the storage's own, which spares read_news() work; nobody else looks at it.
    """

    run: Run
    tasks: list[TaskRun]
    version: int
    cursor: str
    heard: Heard
    flow_id: str = ""
    task_ids: dict[str, str] = field(default_factory=dict)
    extent: Extent = field(default_factory=Extent)
    culprit: str = ""
    lines: Page[LogEntry] = field(default_factory=lambda: Page([]))
    is_large: bool = False
    facts: int = 0
    kept: object = None


@dataclass(frozen=True, slots=True)
class RunNews:
    """What changed in a run: its new view, the task runs that differ from before, and the log lines that came."""

    view: RunView
    tasks: Sequence[TaskRun]
    lines: Sequence[LogEntry]


@dataclass(slots=True)
class TaskPage(Page[TaskRun]):
    """Part of a run's task runs, in the order of a picture. task_ids: as in a view."""

    task_ids: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class RunSummary:
    """A run as the lists show it: the cached fold. version: of the view it was made from. place: RunQuery.cursor of what is listed after it."""

    run: Run
    version: int
    heard: Heard
    flow_id: str = ""
    place: str = ""


@dataclass(slots=True)
class FlowSummary:
    """A flow of the catalogue, described by its newest run. run_counts: its named runs by state; latest: its newest run, if any is left.

    id: the sender's if it gave one, else the storage's own, always the same. created_ns, updated_ns: when it was first known, when its
    description last changed.
    """

    id: str
    flow_key: str
    name: str
    description: str
    tags: Sequence[Any]
    created_ns: int
    updated_ns: int
    run_counts: dict[str, int]
    latest: RunSummary | None


@dataclass(slots=True)
class LogEntry:
    """A line of a run's log: a log record, or a finished span's event. An exception is a line of level ERROR, another event one of INFO.

    id: unique in the run and the same on every delivery. node: "" = the run itself. message: a body that is no text is its JSON. payload:
    flowspan.log.payload, else the attributes that do not name run and task, else None.
    """

    id: str
    time_ns: int
    severity_number: int
    severity_text: str
    message: str
    event: str
    node: str
    payload: Any


@dataclass(slots=True)
class TraceFacts:
    """All facts with one trace id, as stored, and the catalogue rows they point to."""

    spans: list[SpanRow]
    moments: list[MomentRow]
    logs: list[LogRow]
    resources: dict[bytes, ResourceRow]
    scopes: dict[bytes, ScopeRow]


@dataclass(slots=True)
class Changes:
    """News since a cursor: the keys of runs that new facts name, and the traces those facts are in.

    A fact that names no run is news of its trace's provisional run; whoever watches another run in one of these traces looks again, too.
    """

    run_keys: Collection[bytes]
    trace_ids: Collection[bytes]
    cursor: str


@dataclass(slots=True)
class ListChanges:
    """What fold() changed in the lists since a cursor: these runs are as here, newest first; those that are gone were listed, perhaps."""

    runs: list[RunSummary]
    gone: list[RunRef]
    cursor: str


@dataclass(frozen=True, slots=True)
class Expired:
    """What one step of retention took away. runs: of those that were listed. freed_bytes: given back to the disk, as far as is known."""

    facts: int = 0
    runs: int = 0
    freed_bytes: int = 0
