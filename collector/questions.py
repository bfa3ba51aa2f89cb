"""The questions a Reader is asked: which run, which page of a list, how much of a run. The answers are in answers.py."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import NamedTuple

LARGEST_PAGE = 1000


class BadCursor(ValueError):
    """This cursor was not made by this server: begin again without one."""


class RunRef(NamedTuple):
    """A run as an address names it.

    Of several that fit, a named run comes before a trace, then the greatest generation is meant, then the one first heard of last.
    """

    run_id: str
    source: str | None = None
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs to list, newest first. kind: picture.KIND_RUN, KIND_TRACE, or None for both. cursor: a Page's next_cursor.

    limit: what is less than 1 or more than LARGEST_PAGE is taken for that, here as in every list.
    """

    kind: str | None = None
    flow_key: str | None = None
    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which log lines of a run to read, by time. min_severity: an OTel severity number; node: "" = the run's own lines, None = all.

    since, until: cursors; only lines that are news after the one and stored by the other. A second delivery is no new line. newest: the
    last page first; a page is always in order of time.
    """

    min_severity: int = 0
    node: str | None = None
    since: str | None = None
    until: str | None = None
    newest: bool = False
    limit: int = 200
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which task runs of a run to read, in the order of a picture. cursor: a Page's next_cursor."""

    limit: int = LARGEST_PAGE
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class ViewQuery:
    """How much of a run to show. tasks: at most so many of its task runs, chosen by picture.choose_tasks; lines: a page of its log.

    Of a large run no more than LARGEST_PAGE task runs are shown, whatever is asked.
    """

    tasks: int
    lines: LogQuery | None = None


# All task runs, no lines.
WHOLE = ViewQuery(sys.maxsize)
