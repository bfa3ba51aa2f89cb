"""What is kept of a large run beside its cached row, so that its page is read from there and pages of its task runs by one look each.

Made by large_runs.py, read by large_views.py; here are its shape and its text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

from collector.attributes import from_json, to_json
from collector.picture import Attempt, Extent, Run, TaskRun
from collector.winners import SpanKey
from storage_plugins.sql.large_run_tasks import TaskRule
from storage_plugins.sql.run_events import Newest

# The text for a run that is large and whose outline cannot be made: it is folded whole wherever it is looked at.
WHOLE_ONLY = "null"

# Attributes as the sender gave them: their text keeps the types.
_SENDERS = ("priority", "tags", "upstream")
_PLAIN = [column.name for column in fields(TaskRun) if column.name not in (*_SENDERS, "attempts")]


@dataclass(slots=True)
class Outline:
    """A large run at one moment of the store, without most of its task runs.

    run: as the fold has it. shown, first: the task runs a page chooses, and the first in order; LARGEST_PAGE at most. folded: those that
    are not simple. rule: which the others are. doubled: spans with two facts of a kind, which are among the folded alone. has_open: whether
    spans that have not ended may be simple. roots: the run's own spans. newest: the spans that its newest lines are of.
    """

    run: Run
    extent: Extent
    culprit: str
    shown: Sequence[TaskRun]
    first: Sequence[TaskRun]
    folded: Sequence[TaskRun]
    rule: TaskRule
    doubled: Sequence[SpanKey]
    has_open: bool
    roots: Sequence[SpanKey]
    newest: Newest

    @property
    def total(self) -> int:
        """Return how many task runs it has."""
        return sum(self.run.counts.values())


def to_text(outline: Outline | None, version: int) -> str:
    """Return what the cached row with this version keeps beside the run's own columns. None: see WHOLE_ONLY."""
    if outline is None:
        return WHOLE_ONLY
    run, rule = outline.run, outline.rule
    kept = {
        "version": version,
        "run": [run.flow_id, run.description, run.first_ns],
        "extent": outline.extent,
        "culprit": outline.culprit,
        "shown": [_task_to_json(task) for task in outline.shown],
        "first": [_task_to_json(task) for task in outline.first] if outline.first is not outline.shown else None,
        "folded": [_task_to_json(task) for task in outline.folded],
        "rule": [rule.by_node, list(rule.odd) if rule.by_node else _hex(rule.odd), _hex(rule.roots), rule.with_orphans],
        "doubled": [_hex(key) for key in outline.doubled],
        "has_open": outline.has_open,
        "roots": [_hex(key) for key in outline.roots],
        "newest": [[_hex(key) for key in outline.newest.keys], outline.newest.since_ns],
    }
    return json.dumps(kept, separators=(",", ":"))


def from_text(text: str, version: int, run: Run) -> Outline | None:
    """Return the outline of a run whose other columns have been read; None if this text has none, or is of another fold than the row.

    Another: a process from before there were outlines may still fold.
    """
    kept = json.loads(text) if text else None
    if kept is None or kept["version"] != version:
        return None
    run.flow_id, run.description, run.first_ns = kept["run"]
    shown = [_task_from_json(task) for task in kept["shown"]]
    by_node, odd, roots, with_orphans = kept["rule"]
    newest, since_ns = kept["newest"]
    return Outline(
        run=run,
        extent=Extent(*kept["extent"]),
        culprit=kept["culprit"],
        shown=shown,
        first=shown if kept["first"] is None else [_task_from_json(task) for task in kept["first"]],
        folded=[_task_from_json(task) for task in kept["folded"]],
        rule=TaskRule(by_node, odd if by_node else _bytes(odd), _bytes(roots), with_orphans),
        doubled=[_key(key) for key in kept["doubled"]],
        has_open=kept["has_open"],
        roots=[_key(key) for key in kept["roots"]],
        newest=Newest([_key(key) for key in newest], since_ns),
    )


def _task_to_json(task: TaskRun) -> list[Any]:
    senders = [to_json(value) if value not in (None, ()) else "" for value in (getattr(task, name) for name in _SENDERS)]
    return [*(getattr(task, name) for name in _PLAIN), *senders, [astuple(attempt) for attempt in task.attempts]]


def _task_from_json(kept: list[Any]) -> TaskRun:
    *values, priority, tags, upstream, attempts = kept
    task = TaskRun(**dict(zip(_PLAIN, values, strict=True)), attempts=[Attempt(*attempt) for attempt in attempts])
    task.priority = from_json(priority) if priority else None
    task.tags, task.upstream = (from_json(text) if text else () for text in (tags, upstream))
    return task


def _hex(ids: Sequence[bytes]) -> list[str]:
    return [one.hex() for one in ids]


def _bytes(texts: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def _key(texts: Sequence[str]) -> SpanKey:
    trace_id, span_id = texts
    return bytes.fromhex(trace_id), bytes.fromhex(span_id)
