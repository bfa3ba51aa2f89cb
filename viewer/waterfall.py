"""Task runs as rows of a table with a bar each: which rows a page shows, and where the bars are. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from collector.answers import RunView
from collector.picture import FAILED, PAUSED, RUNNING, SUCCEEDED, Attempt, TaskRun
from viewer.texts import TEXT_CHARS, Moment, clip, duration_text, elapsed_text, moment

# Task runs a page shows: 500 rows make a page of 300 kB, and a browser lays it out at once.
MOST_ROWS = 500

# Before these nothing was tried: there is no attempt to count.
BEGUN = frozenset({RUNNING, PAUSED, SUCCEEDED, FAILED})

# Bars are drawn on a scale this long; one unit would be invisible.
SCALE = 1000
LEAST_WIDTH = 3.0


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch of time bars are laid out on. now_ns: where bars of what still runs end."""

    start_ns: int
    end_ns: int
    now_ns: int


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the waterfall. end_us: 0 while it runs. x, width: on a scale of 1,000."""

    state: str
    start_us: int
    end_us: int
    x: str
    width: str


@dataclass(frozen=True, slots=True)
class AttemptLine:
    """One try of a task run."""

    number: str
    state: str
    duration: str
    error: str


@dataclass(frozen=True, slots=True)
class TaskLine:
    """A row of the task table. row_id: an element id that no name can break."""

    row_id: str
    name: str
    node: str
    description: str
    state: str
    inferred: bool
    start_us: int
    started: Moment
    offset: str
    duration: str
    is_open: bool
    attempt: str
    attempts: list[AttemptLine]
    error: str
    bars: list[Bar]


def window_of(view: RunView, now_ns: int) -> Window:
    """Return the stretch of time a run's bars are laid out on: from its first start to its last end, or to now while it runs."""
    start_ns, end_ns = view.extent.start_ns or view.run.first_ns or now_ns, view.extent.end_ns
    if view.run.status in (RUNNING, PAUSED):
        end_ns = max(end_ns, now_ns)
    return Window(start_ns, max(end_ns, start_ns + 1), now_ns)


def task_line(task: TaskRun, window: Window) -> TaskLine:
    """Return a task run as a row of the table, its bars laid out on the window."""
    is_open = task.status in (RUNNING, PAUSED)
    return TaskLine(
        row_id=row_id(task.node),
        name=clip(task.task_name or task.node),
        node=clip(task.node) if task.node != task.task_name else "",
        description=clip(task.description),
        state=task.status,
        inferred=task.inferred,
        start_us=task.started_ns // 1000,
        started=moment(task.started_ns),
        offset=f"+{duration_text(task.started_ns - window.start_ns)}" if task.started_ns else "",
        duration=elapsed_text(task.started_ns, task.finished_ns, window.now_ns, is_open=is_open),
        is_open=is_open,
        attempt=clip(str(task.attempt), 20) if task.started_ns or task.attempts or task.status in BEGUN else "–",
        attempts=[_attempt_line(attempt, window.now_ns) for attempt in task.attempts] if len(task.attempts) > 1 else [],
        error=clip(task.error, TEXT_CHARS),
        bars=_bars(task, window),
    )


def row_id(node: str) -> str:
    """Return the element id of a task run's row."""
    return "t-" + sha256(node.encode("utf-8", "replace")).hexdigest()[:16]


def _attempt_line(attempt: Attempt, now_ns: int) -> AttemptLine:
    is_open = attempt.status in (RUNNING, PAUSED)
    duration = elapsed_text(attempt.started_ns, attempt.finished_ns, now_ns, is_open=is_open)
    return AttemptLine(clip(str(attempt.number), 20), attempt.status, duration, clip(attempt.error, TEXT_CHARS))


def _bars(task: TaskRun, window: Window) -> list[Bar]:
    tries: Sequence[TaskRun | Attempt] = task.attempts if len(task.attempts) > 1 else [task]
    return [_bar(one, window) for one in tries if one.started_ns]


def _bar(one: TaskRun | Attempt, window: Window) -> Bar:
    is_open = one.status in (RUNNING, PAUSED)
    end_ns = window.now_ns if is_open else max(one.finished_ns, one.started_ns)
    span_ns = window.end_ns - window.start_ns
    width = min(max((end_ns - one.started_ns) / span_ns * SCALE, LEAST_WIDTH), SCALE)
    x = min(max((one.started_ns - window.start_ns) / span_ns * SCALE, 0.0), SCALE - width)
    return Bar(one.status, one.started_ns // 1000, 0 if is_open else end_ns // 1000, f"{x:.1f}", f"{width:.1f}")
