"""What a pipeline is and what it reports while it runs: words every engine has. No wire and no threads here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Line(NamedTuple):
    """A log line a task writes, and how long it works after it (seconds at pace 1.0). level: as in Python's logging."""

    message: str
    then_s: float = 0.0
    level: int = logging.INFO


# What a task does: given the number of the attempt, from 1, it works from line to line and may raise.
Work = Callable[[int], Iterator[Line]]


@dataclass(frozen=True)
class Task:
    """One node of the pipeline. upstream: nodes that must have succeeded before. tries: how often it is tried at most."""

    node: str
    name: str
    work: Work
    upstream: Sequence[str] = ()
    tries: int = 1
    description: str = ""

    def is_retried(self, number: int, error: Exception | None) -> bool:
        """Return whether another attempt follows the one with this number and end."""
        return error is not None and number < self.tries


@dataclass(frozen=True)
class Run:
    """One execution of the pipeline, as its sender knows it."""

    run_id: str
    flow: str
    tasks: Sequence[Task]
    params: Mapping[str, str | int]
    tags: Sequence[str]
    environment: str


class Reporter(Protocol):
    """Hears of everything that happens in one run, each thing once, with its time in ns since the epoch.

    Called from several threads, and must not keep them waiting; only `flush` and `close` may. Attempts are told of tasks with tries > 1 only.
    """

    def run_began(self, at_ns: int) -> None:
        """Take note that the run began."""
        ...

    def task_announced(self, task: Task, at_ns: int) -> None:
        """Take note that this task belongs to the run; it may never begin."""
        ...

    def task_queued(self, task: Task, at_ns: int) -> None:
        """Take note that the task could begin and waits for a worker."""
        ...

    def task_began(self, task: Task, at_ns: int) -> None:
        """Take note that the task began."""
        ...

    def attempt_began(self, task: Task, number: int, at_ns: int) -> None:
        """Take note that an attempt began."""
        ...

    def attempt_ended(self, task: Task, number: int, error: Exception | None, at_ns: int) -> None:
        """Take note that an attempt ended; task.is_retried says whether another follows."""
        ...

    def task_logged(self, task: Task, line: Line, at_ns: int) -> None:
        """Take note of a log line of a task."""
        ...

    def task_ended(self, task: Task, error: Exception | None, at_ns: int) -> None:
        """Take note that the task ended, after its last attempt."""
        ...

    def run_ended(self, error: Exception | None, at_ns: int) -> None:
        """Take note that the run ended. error: the first that a task failed with."""
        ...

    def flush(self) -> None:
        """Return when everything told so far is with the server. Raises Undelivered."""
        ...

    def close(self) -> None:
        """Flush and let go of threads and connections; nothing is told afterwards. Raises Undelivered."""
        ...


class Undelivered(Exception):
    """The server did not take what was reported; the text says why."""


def describe(error: Exception) -> str:
    """Return an error as one line of text: its type and what it says."""
    return f"{type(error).__name__}: {error}"
