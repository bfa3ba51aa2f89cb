"""Dialects: tables that recognise runs and tasks in any OTLP stream. The built-in ones are ours (pipeline.py) and plain traces (plain.py).

Which run a span belongs to that names none is not decided here but at read, from its ancestors (collector/lineage.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from otel_bridge import conventions
from otel_bridge.facts import Attributes, LogLine, Resource, Scope, SpanEnd, SpanMoment, Work


class Recogniser(Protocol):
    """Says what a span or log record is in a workflow."""

    def __call__(self, fact: SpanEnd | SpanMoment | LogLine, /) -> Work | None:
        """Return the fact's Work, or None if this dialect does not speak of it. Must not change the fact."""
        ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way of naming runs and tasks. order: lower is asked first (ours 0, named systems 100, conventions 200, plain traces 1000).

    table: what `recognise` is a method of, found by itself. If it is a Table, the spans of large requests are recognised a column at a time
    (collector/otlp/columns/); a dialect that is a function costs these a call a span, and the rows that go with it.
    """

    name: str
    order: int
    recognise: Recogniser
    table: object | None = None

    def __post_init__(self) -> None:
        """Find the table. It stays when `recognise` is wrapped, as plugins.py does."""
        if self.table is None:
            object.__setattr__(self, "table", getattr(self.recognise, "__self__", None))


# Where an end says how it ended: the conventions keep a word for the run and one for the task run.
_RESULT_KEYS = {
    conventions.ROLE_RUN: conventions.PIPELINE_RESULT,
    conventions.ROLE_TASK: conventions.TASK_RUN_RESULT,
    conventions.ROLE_ATTEMPT: conventions.TASK_RUN_RESULT,
}


def interpret(fact: SpanEnd | SpanMoment | LogLine, dialects: Sequence[Dialect]) -> None:
    """Set fact.work from the first dialect, in order, that recognises it; and an end's result, where its attributes state one."""
    for dialect in dialects:
        work = dialect.recognise(fact)
        if work is not None:
            work.dialect = dialect.name
            fact.work = work
            break
    if isinstance(fact, SpanEnd) and fact.work.role in _RESULT_KEYS:
        stated = fact.attributes.get(_RESULT_KEYS[fact.work.role])
        fact.result = stated if isinstance(stated, str) and stated in conventions.RESULTS else ""


__all__ = ["Attributes", "Dialect", "LogLine", "Recogniser", "Resource", "Scope", "SpanEnd", "SpanMoment", "Work", "interpret"]
